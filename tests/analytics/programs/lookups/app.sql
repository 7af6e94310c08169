-- Queries in expressions, VALUES as a table: what a row is compared with is at hand.
CREATE STREAM known (code VARCHAR(4), listed BOOLEAN);
CREATE PUMP a AS INSERT INTO known
SELECT STREAM s.code, s.code IN (SELECT "carrier" FROM airlines AS x WHERE x."carrier" <> 'AA') FROM s WHERE EXISTS (SELECT * FROM airlines WHERE "carrier" = 'UA');
CREATE STREAM unknown (code VARCHAR(4));
CREATE PUMP b AS INSERT INTO unknown SELECT STREAM code FROM s WHERE s.code NOT IN (SELECT "carrier" FROM airlines);
CREATE STREAM nothing (code VARCHAR(4));
CREATE PUMP c AS INSERT INTO nothing SELECT STREAM code FROM s WHERE EXISTS (SELECT 1 FROM airlines WHERE "carrier" = 'ZZ');
CREATE STREAM words (code VARCHAR(4), word VARCHAR(8), n INTEGER);
CREATE PUMP d AS INSERT INTO words SELECT STREAM s.code, v.word, v.n * 2
FROM s LEFT JOIN (VALUES ('UA', 'united', 1), ('AA', 'american', 2)) AS v (code, word, n) ON s.code = v.code;
CREATE STREAM counted (listed BOOLEAN, n INTEGER);
CREATE PUMP e AS INSERT INTO counted SELECT STREAM s.code IN (SELECT "carrier" FROM airlines) AS listed, COUNT(*) FROM s
GROUP BY listed, FLOOR(s.ROWTIME TO MINUTE);
CREATE STREAM turned (code VARCHAR(4), name VARCHAR(16));
CREATE PUMP f AS INSERT INTO turned SELECT STREAM s.code, a."name" FROM airlines AS a RIGHT JOIN s ON s.code = a."carrier";
CREATE STREAM listed (code VARCHAR(4), name VARCHAR(16));
CREATE PUMP g AS INSERT INTO listed SELECT STREAM s.code, a."name" FROM airlines AS a, s WHERE s.code = a."carrier";
