-- into TOTALS
SELECT carrier AS "CARRIER", count(*) AS "FLIGHTS", sum(delay) AS "TOTAL", sum(delay) // count(delay) AS "MEAN",
  strftime(max(t."ROWTIME"), '%Y-%m-%d %H:%M:%S.%g') AS "LATEST", arg_max(delay, t."ROWTIME") AS "LAST_DELAY"
FROM flights AS t GROUP BY carrier

-- into EVERYTHING
SELECT COUNT(*) AS "FLIGHTS" FROM flights
