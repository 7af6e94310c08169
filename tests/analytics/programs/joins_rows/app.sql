-- Joins whose windows are numbers of rows: the row itself and so many before it.
CREATE STREAM latest (id INTEGER, rate INTEGER);
CREATE PUMP a AS INSERT INTO latest
SELECT STREAM t.id, r.rate FROM trades AS t LEFT JOIN rates OVER (ROWS 1 PRECEDING) AS r ON r.code = t.code;
CREATE STREAM "near" (id INTEGER, rate INTEGER, at TIMESTAMP);
CREATE PUMP b AS INSERT INTO "near"
SELECT STREAM t.id, r.rate, t.ROWTIME FROM trades OVER w AS t JOIN rates OVER (ORDER BY rates.ROWTIME RANGE INTERVAL '20' SECOND PRECEDING) AS r
ON r.code = t.code WINDOW w AS (ROWS 2 PRECEDING);
CREATE STREAM either (id INTEGER, rate INTEGER);
CREATE PUMP c AS INSERT INTO either
SELECT STREAM t.id, r.rate FROM trades OVER (ROWS 1 PRECEDING) AS t FULL JOIN rates OVER (ROWS 1 PRECEDING) AS r ON r.code = t.code;
