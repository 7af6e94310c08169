-- into inner
WITH o AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM orders), s AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM shipments)
SELECT o.id AS "ID", o.item AS "ITEM", s.box AS "BOX" FROM o JOIN s
ON o.id = s.id AND s.at BETWEEN o.at - INTERVAL 1 MINUTE AND o.at + INTERVAL 10 MINUTE

-- into left
WITH o AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM orders), s AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM shipments)
SELECT o.id AS "ID", s.box AS "BOX", s.id IS NULL AS "LATE" FROM o LEFT JOIN s
ON o.id = s.id AND s.box <> 'none' AND s.at BETWEEN o.at AND o.at + INTERVAL 10 MINUTE

-- into right
WITH o AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM orders), s AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM shipments)
SELECT s.id AS "ID", o.item AS "ITEM", s.box AS "BOX" FROM o RIGHT JOIN s
ON o.id = s.id AND s.at BETWEEN o.at AND o.at + INTERVAL 5 MINUTE

-- into full
WITH o AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM orders), s AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM shipments)
SELECT o.id AS "OID", s.id AS "SID" FROM o FULL JOIN s
ON o.id = s.id AND s.at BETWEEN o.at - INTERVAL 2 MINUTE AND o.at + INTERVAL 2 MINUTE

-- into now
WITH o AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM orders), s AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM shipments)
SELECT o.id AS "ID", s.box AS "BOX", o.at AS "AT" FROM o JOIN s ON o.at = s.at

-- into SHARED
WITH o AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM orders), s AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM shipments)
SELECT o.id AS "ID", o.item AS "ITEM" FROM o JOIN s ON o.id = s.id AND s.at BETWEEN o.at AND o.at + INTERVAL 10 MINUTE

-- into SELF
WITH o AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM orders)
SELECT a.id AS "A", b.id AS "B" FROM o AS a JOIN o AS b
ON a.item = b.item AND a.id < b.id AND b.at BETWEEN a.at AND a.at + INTERVAL 2 MINUTE

-- into THREE
WITH o AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM orders), s AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM shipments)
SELECT o.id AS "ID", o.item AS "ITEM", s.box AS "BOX", x.id AS "OTHER" FROM o JOIN s
ON o.id = s.id AND s.at BETWEEN o.at - INTERVAL 10 MINUTE AND o.at + INTERVAL 10 MINUTE JOIN o AS x
ON x.item = o.item AND x.at BETWEEN greatest(o.at, s.at) AND least(o.at, s.at) + INTERVAL 10 MINUTE
