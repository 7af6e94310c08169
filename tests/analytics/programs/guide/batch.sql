-- into REPLACED
SELECT replace(referrer, 'http://', 'https://') AS "referrer" FROM referrers

-- into COMPANIES
SELECT regexp_extract(referrer, 'www\.(.*)\.com', 1) AS "referrer" FROM referrers

-- into SPLIT
SELECT col_a AS "column_A", col_b AS "column_B", col_c AS "column_C", split_part(col_e_unstructured, ',', 1) AS "COL_1",
  split_part(col_e_unstructured, ',', 2) AS "COL_2", split_part(col_e_unstructured, ',', 3) AS "COL_3" FROM unstructured

-- into PARSED
SELECT left(logentry, 24) AS "LOGENTRY", left(regexp_extract(logentry, '(\w.+) (\d.+) (\w.+) (\w.+)', 1), 24) AS "MATCH1",
  left(regexp_extract(logentry, '(\w.+) (\d.+) (\w.+) (\w.+)', 2), 24) AS "MATCH2" FROM logs

-- into DATES
SELECT ticker AS "TICKER", event_time AS "EVENT_TIME", event_time - INTERVAL 5 MINUTE AS "FIVE_MINUTES_BEFORE", epoch_ms(event_time) AS "EVENT_UNIX_TIMESTAMP",
  strftime(event_time, '%Y-%m-%d %I:%M:%S') AS "EVENT_TIMESTAMP_AS_CHAR", CAST(round(epoch_ms(event_time) % 60000 / 1000) AS INTEGER) AS "EVENT_SECOND"
FROM events

-- into FREQUENT
SELECT ticker AS "TICKER", n AS "MOST_FREQUENT_VALUES" FROM (
  SELECT ticker, COUNT(*) AS n, STEP(CAST("ROWTIME" AS TIMESTAMP) BY INTERVAL '60' SECOND) AS w FROM events
  GROUP BY ticker, STEP(CAST("ROWTIME" AS TIMESTAMP) BY INTERVAL '60' SECOND))
QUALIFY ROW_NUMBER() OVER (PARTITION BY w ORDER BY n DESC, ticker) <= 5

-- into COUNTS
SELECT COUNT(*) FILTER (b.at >= a.at - INTERVAL 5 SECOND) AS "included", COUNT(*) FILTER (b.at > a.at - INTERVAL 5 SECOND) AS "excluded"
FROM (SELECT "OFFSET", CAST("ROWTIME" AS TIMESTAMP) AS at FROM ticks) AS a
JOIN (SELECT "OFFSET", CAST("ROWTIME" AS TIMESTAMP) AS at FROM ticks) AS b ON b."OFFSET" <= a."OFFSET" GROUP BY a."OFFSET"

-- into MOVING
SELECT a.ticker_symbol AS "TICKER_SYMBOL", MIN(b.price) FILTER (b.at >= a.at - INTERVAL 1 MINUTE) AS "MIN_PRICE",
  MAX(b.price) FILTER (b.at >= a.at - INTERVAL 1 MINUTE) AS "MAX_PRICE", AVG(b.price) FILTER (b.at >= a.at - INTERVAL 1 MINUTE) AS "AVG_PRICE",
  AVG(b.change / (b.price - b.change)) FILTER (b.at >= a.at - INTERVAL 10 SECOND) AS "AVG_PERCENT_CHANGE",
  AVG(b.price) FILTER (b.n >= a.n - 2) AS "AVERAGE_LAST2ROWS", AVG(b.price) FILTER (b.n >= a.n - 10) AS "AVERAGE_LAST10ROWS"
FROM (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at, ROW_NUMBER() OVER (PARTITION BY ticker_symbol ORDER BY "OFFSET") AS n FROM stocks) AS a
JOIN (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at, ROW_NUMBER() OVER (PARTITION BY ticker_symbol ORDER BY "OFFSET") AS n FROM stocks) AS b
ON a.ticker_symbol = b.ticker_symbol AND b.n <= a.n GROUP BY a.ticker_symbol, a.n

-- into CALC_COUNT_SQL_STREAM
SELECT ticker AS "TICKER", FLOOR(event_time TO MINUTE) AS "TRADETIME", CAST(COUNT(*) AS DOUBLE) AS "TICKERCOUNT" FROM events
GROUP BY FLOOR(CAST("ROWTIME" AS TIMESTAMP) TO MINUTE), FLOOR(event_time TO MINUTE), ticker

-- into AGGREGATED
SELECT ticker AS "TICKER", trade AS "TRADETIME", SUM(n) OVER (PARTITION BY trade ORDER BY w, ticker ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS "TICKERCOUNT"
FROM (SELECT ticker, FLOOR(event_time TO MINUTE) AS trade, FLOOR(CAST("ROWTIME" AS TIMESTAMP) TO MINUTE) AS w, CAST(COUNT(*) AS DOUBLE) AS n FROM events
  GROUP BY FLOOR(CAST("ROWTIME" AS TIMESTAMP) TO MINUTE), FLOOR(event_time TO MINUTE), ticker)

-- into SECTORS
SELECT ticker_symbol AS "TICKER_SYMBOL", replace(sector, 'TECHNOLOGY', 'INFORMATION TECHNOLOGY') AS "SECTOR", change AS "CHANGE", price AS "PRICE" FROM stocks

-- into PREVIOUS
SELECT a.ticker_symbol AS "TICKER_SYMBOL", a.price AS "PRICE", (list(b.price ORDER BY b."OFFSET" DESC) FILTER (b.price IS NOT NULL AND b.at IS NOT NULL))[1] AS "PREVIOUS_PRICE",
  (list(b.price ORDER BY b."OFFSET" DESC) FILTER (b.price IS NOT NULL))[2] AS "PREVIOUS_PRICE_2"
FROM (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM stocks) AS a LEFT JOIN (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM stocks) AS b
ON a.ticker_symbol = b.ticker_symbol AND b."OFFSET" < a."OFFSET" AND b.at >= a.at - INTERVAL 1 MINUTE GROUP BY a."OFFSET", a.ticker_symbol, a.price

-- into HALVES
SELECT STEP(event_time BY INTERVAL '30' MINUTE) AS "HALF", ticker AS "TICKER" FROM events
