-- Each trade with the last quote of its symbol, at most a minute old.
CREATE STREAM quoted (symbol VARCHAR(2), price INTEGER, bid INTEGER, age_ms BIGINT);
CREATE PUMP p1 AS INSERT INTO quoted
SELECT STREAM t.symbol, t.price, q.bid, TSDIFF(t.ROWTIME, q.ROWTIME)
FROM trades AS t ASOF JOIN quotes OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS q
  ON t.symbol = q.symbol AND t.ROWTIME >= q.ROWTIME
WHERE t.price > 1;

-- A quote of the same instant does not count; trades without one come out too.
CREATE STREAM strictly (symbol VARCHAR(2), price INTEGER, bid INTEGER);
CREATE PUMP p2 AS INSERT INTO strictly
SELECT STREAM t.symbol, t.price, q.bid
FROM trades AS t ASOF LEFT JOIN quotes OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS q
  ON q.symbol = t.symbol AND q.ROWTIME < t.ROWTIME;

-- The rate that was valid at the time, from a reference table; summed by the minute.
CREATE STREAM converted (symbol VARCHAR(2), total DOUBLE);
CREATE PUMP p3 AS INSERT INTO converted
SELECT STREAM t.symbol, SUM(t.price * r."rate")
FROM trades AS t ASOF JOIN rates AS r ON t.currency = r."currency" AND t.ROWTIME >= r."valid_from"
GROUP BY t.symbol, FLOOR(t.ROWTIME TO MINUTE);
