-- into OUT
WITH RECURSIVE t AS (
  SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at, FLOOR(CAST(event AS TIMESTAMP) TO MINUTE) AS minute FROM trades WHERE TRUE),
opened AS (
  SELECT minute, ticker, MIN(at) AS opens FROM t GROUP BY minute, ticker
  UNION ALL
  SELECT o.minute, o.ticker, (SELECT MIN(t.at) FROM t WHERE t.minute = o.minute AND t.ticker = o.ticker AND t.at >= o.opens + INTERVAL 60 SECOND) AS next
  FROM opened AS o WHERE next IS NOT NULL)
SELECT o.minute AS "MINUTE", o.ticker AS "TICKER", COUNT(*) AS "N", MIN(v) AS "LOW", first(v ORDER BY "OFFSET") AS "FIRST", last(v ORDER BY "OFFSET") AS "LAST"
FROM opened AS o JOIN t ON t.minute = o.minute AND t.ticker = o.ticker AND t.at >= o.opens AND t.at < o.opens + INTERVAL 60 SECOND
GROUP BY o.minute, o.ticker, o.opens

-- into BUSY
WITH RECURSIVE t AS (
  SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at, FLOOR(CAST(event AS TIMESTAMP) TO MINUTE) AS minute FROM trades WHERE v > 0),
opened AS (
  SELECT ticker, MIN(at) AS opens FROM t GROUP BY ticker
  UNION ALL
  SELECT o.ticker, (SELECT MIN(t.at) FROM t WHERE t.ticker = o.ticker AND t.at >= o.opens + INTERVAL 30 SECOND) AS next
  FROM opened AS o WHERE next IS NOT NULL)
SELECT o.ticker AS "TICKER", COUNT(*) AS "N" FROM opened AS o JOIN t ON t.ticker = o.ticker AND t.at >= o.opens AND t.at < o.opens + INTERVAL 30 SECOND
GROUP BY o.ticker, o.opens HAVING COUNT(*) > 1

-- into PARTIAL
SELECT ticker AS "TICKER", FLOOR(CAST(event AS TIMESTAMP) TO MINUTE) AS "MINUTE", CAST(COUNT(ticker) AS DOUBLE) AS "TICKER_COUNT" FROM trades AS t
WHERE ticker = 'AMZN' GROUP BY ticker, FLOOR(CAST(event AS TIMESTAMP) TO MINUTE), STEP(CAST(t."ROWTIME" AS TIMESTAMP) BY INTERVAL '1' MINUTE)
