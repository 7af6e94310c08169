-- into ONE
WITH o AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM source_sql_stream_001 WHERE orders = 1),
  s AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM source_sql_stream_001 WHERE shipments = 2)
SELECT greatest(o.at, s.at) AS "resultrowtime", s.orderid, s.at AS "shipmenttime", o.at AS "ordertime" FROM o JOIN s
ON o.orderid = s.orderid AND s.at BETWEEN o.at - INTERVAL 0 MINUTE AND o.at + INTERVAL 1 MINUTE

-- into TWO
WITH o AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM source_sql_stream_001 WHERE orders = 1),
  s AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM source_sql_stream_001 WHERE shipments = 2)
SELECT greatest(o.at, s.at) AS "resultrowtime", s.orderid, s.at AS "shipmenttime", o.at AS "ordertime" FROM o JOIN s
ON o.orderid = s.orderid AND s.at BETWEEN o.at - INTERVAL 1 MINUTE AND o.at + INTERVAL 1 MINUTE

-- into THREE
WITH o AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM source_sql_stream_001 WHERE orders = 1),
  s AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM source_sql_stream_001 WHERE shipments = 2)
SELECT greatest(o.at, s.at) AS "resultrowtime", s.orderid, o.at AS "ordertime" FROM o RIGHT JOIN s
ON o.orderid = s.orderid AND s.at BETWEEN o.at - INTERVAL 0 MINUTE AND o.at + INTERVAL 1 MINUTE

-- into FOUR
WITH o AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM source_sql_stream_001 WHERE orders = 1),
  s AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM source_sql_stream_001 WHERE shipments = 2)
SELECT CASE WHEN o.at IS NULL THEN s.at + INTERVAL 1 MINUTE ELSE greatest(o.at, s.at) END AS "resultrowtime", s.orderid, s.at AS "shipmenttime", o.at AS "ordertime" FROM o RIGHT JOIN s
ON o.orderid = s.orderid AND s.at BETWEEN o.at - INTERVAL 1 MINUTE AND o.at + INTERVAL 1 MINUTE

-- into FIVE
WITH o AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM source_sql_stream_001 WHERE orders = 1),
  s AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM source_sql_stream_001 WHERE shipments = 2)
SELECT CASE WHEN s.at IS NULL THEN o.at + INTERVAL 1 MINUTE ELSE greatest(o.at, s.at) END AS "resultrowtime", o.orderid, o.at AS "ordertime" FROM o LEFT JOIN s
ON o.orderid = s.orderid AND s.at BETWEEN o.at - INTERVAL 0 MINUTE AND o.at + INTERVAL 1 MINUTE

-- into SIX
WITH o AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM source_sql_stream_001 WHERE orders = 1),
  s AS (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM source_sql_stream_001 WHERE shipments = 2)
SELECT CASE WHEN s.at IS NULL THEN o.at + INTERVAL 1 MINUTE ELSE greatest(o.at, s.at) END AS "resultrowtime", o.orderid, s.at AS "shipmenttime", o.at AS "ordertime" FROM o LEFT JOIN s
ON o.orderid = s.orderid AND s.at BETWEEN o.at - INTERVAL 1 MINUTE AND o.at + INTERVAL 1 MINUTE
