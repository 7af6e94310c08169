-- into TRADED
SELECT o.id AS "ID", strftime(time_bucket(INTERVAL '30 seconds', t.ROWTIME), '%Y-%m-%d %H:%M:%S.%g') AS "STARTS", count(*) AS "TRADES",
  strftime(max(t.ROWTIME), '%Y-%m-%d %H:%M:%S.%g') AS "LATEST", strftime(time_bucket(INTERVAL '30 seconds', t.ROWTIME) + INTERVAL '30 seconds', '%Y-%m-%d %H:%M:%S.%g') AS "ENDED"
FROM (SELECT * FROM HAPPENED WHERE kind = 'order') AS o JOIN (SELECT * FROM HAPPENED WHERE kind = 'trade') AS t
ON o.id = t.id AND t.ROWTIME BETWEEN o.ROWTIME AND o.ROWTIME + INTERVAL '1 minute' GROUP BY o.id, time_bucket(INTERVAL '30 seconds', t.ROWTIME)

-- into LOOKED
SELECT strftime(date_trunc('minute', t.ROWTIME), '%Y-%m-%d %H:%M:%S.%g') AS "MINUTE", count(*) AS "ROWS_", count(o.id) AS "MET"
FROM (SELECT * FROM HAPPENED WHERE kind = 'trade') AS t LEFT JOIN (SELECT * FROM HAPPENED WHERE kind = 'order') AS o
ON o.id = t.id AND t.ROWTIME BETWEEN o.ROWTIME AND o.ROWTIME + INTERVAL '1 minute' GROUP BY date_trunc('minute', t.ROWTIME)
