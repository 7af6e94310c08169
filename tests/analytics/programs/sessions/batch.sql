-- into SESSIONS
-- No window outlives its key, which is a window of ROWTIME of the same length.
SELECT UPPER(CAST(user_id AS VARCHAR) || '_' || SUBSTRING(device_id, 1, 3) || CAST(CAST(epoch(step) AS BIGINT) AS VARCHAR)) AS "session", user_id AS "user",
  COUNT(client_event) AS "events", strftime(MIN(c.at), '%Y-%m-%dT%H:%M:%S.%g') AS "begin", date_diff('millisecond', MIN(c.at), MAX(c.at)) AS "ms",
  first(client_event ORDER BY "OFFSET") AS "FIRST"
FROM (SELECT * REPLACE (CAST("at" AS TIMESTAMP) AS "at"), STEP(CAST("ROWTIME" AS TIMESTAMP) BY INTERVAL '30' SECOND) AS step FROM clicks) AS c
GROUP BY user_id, device_id, step

-- into CHANGES
SELECT left(device_id, 4) AS "TICKER", CAST(AVG(user_id) OVER w AS DECIMAL(10,2)) AS "MEAN", LAG(user_id, 1, user_id) OVER p AS "BACK",
  user_id > LAG(user_id, 1, user_id) OVER p AS "UP"
FROM clicks WHERE ABS(user_id) > 0 WINDOW p AS (PARTITION BY device_id ORDER BY "OFFSET"), w AS (PARTITION BY device_id ORDER BY "OFFSET" ROWS 2 PRECEDING)

-- into SHARES
SELECT device_id AS "DEVICE", strftime(step + INTERVAL 1 MINUTE, '%H:%M:%S') AS "MINUTE", COUNT(*) AS "N", COUNT(*) FILTER (user_id > 1) / COUNT(*) * 100 AS "SHARE"
FROM (SELECT *, STEP(CAST("ROWTIME" AS TIMESTAMP) BY INTERVAL '60' SECOND) AS step FROM clicks) GROUP BY device_id, step
HAVING COUNT(*) >= 1 AND MAX(client_event) IS NOT NULL
