-- into HOURLY
SELECT strftime(STEP(t BY INTERVAL '60' MINUTE), '%Y-%m-%d %H:%M:%S.%g') AS "START", carrier AS "CARRIER",
  count(*) AS "FLIGHTS", sum(delay) AS "TOTAL", sum(delay) // count(delay) AS "MEAN", min(km) AS "LOW", max(km) AS "HIGH",
  strftime(STEP(t BY INTERVAL '60' MINUTE) + INTERVAL '60' MINUTE, '%Y-%m-%d %H:%M:%S.%g') AS "ENDED"
FROM input WHERE t < TIMESTAMP '2100-01-01' AND NOT (t = TIMESTAMP '2013-01-01 05:30:00') GROUP BY 1, 2, 8
