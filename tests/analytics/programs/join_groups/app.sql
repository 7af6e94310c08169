-- Orders wait a minute for their trades: the time of a pair is the trade's, and so are windows of it.
CREATE STREAM traded (id BIGINT, starts TIMESTAMP, trades BIGINT, latest TIMESTAMP, ended TIMESTAMP);
CREATE PUMP p AS INSERT INTO traded
SELECT STREAM o.id, STEP(t.ROWTIME BY INTERVAL '30' SECOND), COUNT(*), MAX(t.ROWTIME), ROWTIME
FROM (SELECT STREAM id FROM happened WHERE kind = 'order') OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS o
JOIN (SELECT STREAM id FROM happened WHERE kind = 'trade') AS t ON o.id = t.id
GROUP BY o.id, STEP(t.ROWTIME BY INTERVAL '30' SECOND);

-- The preserved side of an outer join is in every row.
CREATE STREAM looked (minute TIMESTAMP, rows_ BIGINT, met BIGINT);
CREATE PUMP q AS INSERT INTO looked
SELECT STREAM FLOOR(t.ROWTIME TO MINUTE), COUNT(*), COUNT(o.id)
FROM (SELECT STREAM id FROM happened WHERE kind = 'trade') AS t
LEFT JOIN (SELECT STREAM id FROM happened WHERE kind = 'order') OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS o ON o.id = t.id
GROUP BY FLOOR(t.ROWTIME TO MINUTE);
