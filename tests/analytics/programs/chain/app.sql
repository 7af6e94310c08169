-- A pump that reads what a grouped pump writes: rows of a window carry its end as their time.
CREATE STREAM minutes (k VARCHAR(4), n INTEGER);
CREATE STREAM fives ("from" TIMESTAMP, k VARCHAR(4), minutes INTEGER, n INTEGER, half DOUBLE);
CREATE PUMP later AS INSERT INTO fives
SELECT STREAM FLOOR(m.ROWTIME TO HOUR) AS w, k, COUNT(*), SUM(n), SUM(n) / 2.0 FROM minutes AS m
GROUP BY w, k HAVING SUM(n) > 1;
CREATE PUMP sooner AS INSERT INTO minutes (n, k)
SELECT COUNT(*), x.key FROM (SELECT STREAM ROWTIME AS r, UPPER("k") AS key FROM SOURCE_SQL_STREAM_001 WHERE "v" > 0) AS x
GROUP BY x.key, STEP(x.r BY INTERVAL '1' MINUTE);
