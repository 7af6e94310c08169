-- into LATEST
WITH t AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at, ROW_NUMBER() OVER (ORDER BY "OFFSET") AS n FROM trades),
  r AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at, ROW_NUMBER() OVER (ORDER BY "OFFSET") AS n FROM rates),
  tt AS (SELECT *, (SELECT MAX(r.n) FROM r WHERE r.at <= t.at) AS rates FROM t),
  rr AS (SELECT *, (SELECT MAX(t.n) FROM t WHERE t.at <= r.at) AS trades FROM r)
SELECT t.id AS "ID", r.rate AS "RATE" FROM tt AS t LEFT JOIN rr AS r ON r.code = t.code AND r.at <= t.at AND r.n > t.rates - 2

-- into near
WITH t AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at, ROW_NUMBER() OVER (ORDER BY "OFFSET") AS n FROM trades),
  r AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at, ROW_NUMBER() OVER (ORDER BY "OFFSET") AS n FROM rates),
  tt AS (SELECT *, (SELECT MAX(r.n) FROM r WHERE r.at <= t.at) AS rates FROM t),
  rr AS (SELECT *, (SELECT MAX(t.n) FROM t WHERE t.at <= r.at) AS trades FROM r)
SELECT t.id AS "ID", r.rate AS "RATE", t.at AS "AT" FROM tt AS t JOIN rr AS r ON r.code = t.code
  AND (r.at BETWEEN t.at - INTERVAL 20 SECOND AND t.at OR t.at <= r.at AND t.n > r.trades - 3)

-- into EITHER
WITH t AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at, ROW_NUMBER() OVER (ORDER BY "OFFSET") AS n FROM trades),
  r AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at, ROW_NUMBER() OVER (ORDER BY "OFFSET") AS n FROM rates),
  tt AS (SELECT *, (SELECT MAX(r.n) FROM r WHERE r.at <= t.at) AS rates FROM t),
  rr AS (SELECT *, (SELECT MAX(t.n) FROM t WHERE t.at <= r.at) AS trades FROM r)
SELECT t.id AS "ID", r.rate AS "RATE" FROM tt AS t FULL JOIN rr AS r ON r.code = t.code
  AND (r.at <= t.at AND r.n > t.rates - 2 OR t.at <= r.at AND t.n > r.trades - 2)
