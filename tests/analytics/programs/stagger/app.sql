-- The guide's data of stagger windows: one row of 11:00 with 3, one of 11:01 with 1.
CREATE STREAM out (minute TIMESTAMP, ticker VARCHAR(4), n INTEGER, low INTEGER, first INTEGER, last INTEGER);
CREATE PUMP p AS INSERT INTO out
SELECT STREAM FLOOR(event TO MINUTE), ticker, COUNT(*), MIN(v), FIRST_VALUE(v), LAST_VALUE(v)
FROM trades
WINDOWED BY STAGGER (PARTITION BY FLOOR(event TO MINUTE), ticker RANGE INTERVAL '1' MINUTE);
CREATE STREAM busy (ticker VARCHAR(4), n INTEGER);
CREATE PUMP q AS INSERT INTO busy
SELECT STREAM ticker, COUNT(*) FROM trades WHERE v > 0 WINDOWED BY STAGGER (PARTITION BY ticker RANGE INTERVAL '30' SECOND) HAVING COUNT(*) > 1;
-- The same trades in the guide's tumbling windows of arrival: the minute of their events in parts.
CREATE STREAM partial (ticker VARCHAR(4), minute TIMESTAMP, ticker_count DOUBLE);
CREATE PUMP r AS INSERT INTO partial
SELECT STREAM ticker, FLOOR(event TO MINUTE), COUNT(ticker) AS ticker_count FROM trades WHERE ticker = 'AMZN'
GROUP BY ticker, FLOOR(event TO MINUTE), STEP(trades.ROWTIME BY INTERVAL '1' MINUTE);
