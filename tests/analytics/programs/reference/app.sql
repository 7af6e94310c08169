CREATE STREAM named (carrier VARCHAR(32), n INTEGER, mean DOUBLE);
CREATE STREAM plain (code VARCHAR(2), name VARCHAR(32));
CREATE PUMP p1 AS INSERT INTO named
SELECT STREAM a."name", COUNT(*), AVG("delay") FROM SOURCE_SQL_STREAM_001 AS s JOIN airlines AS a ON s."carrier" = a."carrier"
GROUP BY a."name", STEP(s.ROWTIME BY INTERVAL '1' HOUR);
CREATE PUMP p2 AS INSERT INTO plain
SELECT STREAM s."carrier", a."name" FROM SOURCE_SQL_STREAM_001 AS s LEFT JOIN airlines AS a ON s."carrier" = a."carrier";
