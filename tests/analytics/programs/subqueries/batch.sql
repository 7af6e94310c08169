-- into PRICED
SELECT o.code AS "CODE", (SELECT coalesce(name, '') FROM read_csv('prices.csv') AS p WHERE p.code = o.code) AS "NAME",
  o.quantity * (SELECT price FROM read_csv('prices.csv') AS p WHERE p.code = o.code) AS "AMOUNT",
  (SELECT COUNT(*) FROM read_csv('prices.csv') AS p WHERE p.price < o.quantity) AS "CHEAPER", (SELECT MAX(price) FROM read_csv('prices.csv')) AS "DEAREST"
FROM orders AS o WHERE o.code <> 'TWO'

-- into AFFORDABLE
SELECT code AS "CODE" FROM orders AS o WHERE EXISTS (SELECT * FROM read_csv('prices.csv') AS p WHERE p.code = o.code AND p.price <= o.quantity)

-- into UNLISTED
SELECT code AS "CODE" FROM orders AS o WHERE NOT EXISTS (SELECT * FROM read_csv('prices.csv') AS p WHERE p.code = o.code)

-- into DEAR
SELECT code AS "CODE", code IN (SELECT p.code FROM read_csv('prices.csv') AS p WHERE p.price > o.quantity) AS "LISTED" FROM orders AS o

-- into NUMBERED
SELECT o.code AS "CODE", CASE WHEN p.number IS NOT NULL THEN coalesce(p.name, '') END AS "NAME"
FROM orders AS o LEFT JOIN read_csv('prices.csv') AS p ON TRY_CAST(o.number AS INTEGER) = p.number
WHERE o.number IS NULL OR TRY_CAST(o.number AS INTEGER) IS NOT NULL

-- into FOUND
SELECT code AS "CODE", COUNT(*) AS "N" FROM orders AS o WHERE TRY_CAST(o.number AS INTEGER) IN (SELECT number FROM read_csv('prices.csv'))
GROUP BY code, STEP(CAST(o."ROWTIME" AS TIMESTAMP) BY INTERVAL '1' HOUR)

-- into SPENT
SELECT SUM(o.quantity * p.price) AS "TOTAL" FROM orders AS o JOIN read_csv('prices.csv') AS p ON p.code = o.code GROUP BY FLOOR(CAST(o."ROWTIME" AS TIMESTAMP) TO HOUR)

-- into UNSURE
SELECT code AS "CODE", quantity IN (SELECT number FROM read_csv('prices.csv')) AS "LISTED",
  quantity NOT IN (SELECT number FROM read_csv('prices.csv') WHERE number IS NOT NULL) AS "NOT_LISTED" FROM orders
