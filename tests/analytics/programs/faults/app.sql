-- Rows that fail leave the others alone: division by zero, overflow, NULL into NOT NULL.
CREATE STREAM d (half INTEGER, ratio DOUBLE, rest INTEGER, small TINYINT, must INTEGER NOT NULL, tag CHAR(3));
CREATE PUMP p AS INSERT INTO d
SELECT STREAM "a" / 2, 10.0 / "a", MOD("a", "b"), "c", "b" + 0, "tag" FROM SOURCE_SQL_STREAM_001 WHERE 100 / "c" < 101;
CREATE STREAM w (q INTEGER);
CREATE PUMP pw AS INSERT INTO w
SELECT STREAM 100 / SUM("a") FROM SOURCE_SQL_STREAM_001 AS s GROUP BY "b", STEP(s.ROWTIME BY INTERVAL '1' DAY);
