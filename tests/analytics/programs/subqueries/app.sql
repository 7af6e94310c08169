-- Queries in expressions that name columns around them, and joins with tables whose conditions can fail.
CREATE STREAM priced (code VARCHAR(4), name VARCHAR(16), amount DOUBLE, cheaper INTEGER, dearest DOUBLE);
CREATE PUMP a AS INSERT INTO priced
SELECT STREAM o.code, (SELECT p."name" FROM prices AS p WHERE p."code" = o.code),
  o.quantity * (SELECT "price" FROM prices WHERE "code" = o.code),
  (SELECT COUNT(*) FROM prices AS p WHERE p."price" < o.quantity),
  (SELECT MAX("price") FROM prices)
FROM orders AS o WHERE o.code <> 'TWO';
CREATE STREAM affordable (code VARCHAR(4));
CREATE PUMP b AS INSERT INTO affordable SELECT STREAM code FROM orders AS o
WHERE EXISTS (SELECT * FROM prices AS p WHERE p."code" = o.code AND p."price" <= o.quantity);
CREATE STREAM unlisted (code VARCHAR(4));
CREATE PUMP c AS INSERT INTO unlisted SELECT STREAM code FROM orders AS o
WHERE NOT EXISTS (SELECT 1 FROM prices AS p WHERE p."code" = o.code);
CREATE STREAM dear (code VARCHAR(4), listed BOOLEAN);
CREATE PUMP d AS INSERT INTO dear
SELECT STREAM code, o.code IN (SELECT p."code" FROM prices AS p WHERE p."price" > o.quantity) FROM orders AS o;
CREATE STREAM twice (code VARCHAR(4), name VARCHAR(16));
CREATE PUMP e AS INSERT INTO twice SELECT STREAM code, (SELECT "name" FROM prices WHERE "code" = orders.code) FROM orders;
CREATE STREAM numbered (code VARCHAR(4), name VARCHAR(16));
CREATE PUMP f AS INSERT INTO numbered
SELECT STREAM o.code, p."name" FROM orders AS o LEFT JOIN prices AS p ON CAST(o.number AS INTEGER) = p."number";
CREATE STREAM found (code VARCHAR(4), n INTEGER);
CREATE PUMP g AS INSERT INTO found
SELECT STREAM o.code, COUNT(*) FROM orders AS o WHERE CAST(o.number AS INTEGER) IN (SELECT "number" FROM prices)
GROUP BY o.code, STEP(o.ROWTIME BY INTERVAL '1' HOUR);
CREATE STREAM spent (total DOUBLE);
CREATE PUMP h AS INSERT INTO spent
WITH known AS (SELECT STREAM code, quantity FROM orders AS o WHERE EXISTS (SELECT 1 FROM prices WHERE "code" = o.code)),
  costs (code, cost) AS (SELECT STREAM k.code, k.quantity * p."price" FROM known AS k JOIN prices AS p ON p."code" = k.code)
SELECT STREAM SUM(c.cost) FROM costs AS c GROUP BY FLOOR(c.ROWTIME TO HOUR);
CREATE STREAM unsure (code VARCHAR(4), listed BOOLEAN, not_listed BOOLEAN);
CREATE PUMP i AS INSERT INTO unsure SELECT STREAM code, quantity IN (SELECT "number" FROM prices),
  quantity NOT IN (SELECT p."number" FROM prices AS p WHERE p."number" IS NOT NULL) FROM orders;
