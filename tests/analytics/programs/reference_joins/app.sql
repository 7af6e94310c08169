-- The six examples of joins in the SQL reference, over its orders and shipments, with the rows that it prints. Order 100 comes
-- late. Examples 5 and 6 print 104, and 6 also 100, a second time without their shipments; the summary below them says that
-- only rows without a match come out so, and that holds here. Example 6 prints the order's number.
CREATE STREAM "ORDERS_STREAM" ("orderid" INT, "orderrowtime" TIMESTAMP);
CREATE PUMP "ORDERS_STREAM_PUMP" AS INSERT INTO "ORDERS_STREAM"
SELECT STREAM "orderid", "ROWTIME" FROM "SOURCE_SQL_STREAM_001" WHERE "orders" = 1;
CREATE STREAM "SHIPMENTS_STREAM" ("orderid" INT, "shipmentrowtime" TIMESTAMP);
CREATE PUMP "SHIPMENTS_STREAM_PUMP" AS INSERT INTO "SHIPMENTS_STREAM"
SELECT STREAM "orderid", "ROWTIME" FROM "SOURCE_SQL_STREAM_001" WHERE "shipments" = 2;
CREATE STREAM one ("resultrowtime" TIMESTAMP, "orderid" INT, "shipmenttime" TIMESTAMP, "ordertime" TIMESTAMP);
CREATE PUMP one AS INSERT INTO one
SELECT STREAM ROWTIME AS "resultrowtime", s."orderid", s.rowtime AS "shipmenttime", o.ROWTIME AS "ordertime"
FROM ORDERS_STREAM OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS o JOIN SHIPMENTS_STREAM AS s ON o."orderid" = s."orderid";
CREATE STREAM two ("resultrowtime" TIMESTAMP, "orderid" INT, "shipmenttime" TIMESTAMP, "ordertime" TIMESTAMP);
CREATE PUMP two AS INSERT INTO two
SELECT STREAM ROWTIME AS "resultrowtime", s."orderid", s.rowtime AS "shipmenttime", o.ROWTIME AS "ordertime"
FROM ORDERS_STREAM OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS o
JOIN SHIPMENTS_STREAM OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS s ON o."orderid" = s."orderid";
CREATE STREAM three ("resultrowtime" TIMESTAMP, "orderid" INT, "ordertime" TIMESTAMP);
CREATE PUMP three AS INSERT INTO three
SELECT STREAM ROWTIME AS "resultrowtime", s."orderid", o.ROWTIME AS "ordertime"
FROM ORDERS_STREAM OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS o RIGHT JOIN SHIPMENTS_STREAM AS s ON o."orderid" = s."orderid";
CREATE STREAM four ("resultrowtime" TIMESTAMP, "orderid" INT, "shipmenttime" TIMESTAMP, "ordertime" TIMESTAMP);
CREATE PUMP four AS INSERT INTO four
SELECT STREAM ROWTIME AS "resultrowtime", s."orderid", s.ROWTIME AS "shipmenttime", o.ROWTIME AS "ordertime"
FROM ORDERS_STREAM OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS o
RIGHT JOIN SHIPMENTS_STREAM OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS s ON o."orderid" = s."orderid";
CREATE STREAM five ("resultrowtime" TIMESTAMP, "orderid" INT, "ordertime" TIMESTAMP);
CREATE PUMP five AS INSERT INTO five
SELECT STREAM ROWTIME AS "resultrowtime", o."orderid", o.ROWTIME AS "ordertime"
FROM ORDERS_STREAM OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS o LEFT JOIN SHIPMENTS_STREAM AS s ON o."orderid" = s."orderid";
CREATE STREAM six ("resultrowtime" TIMESTAMP, "orderid" INT, "shipmenttime" TIMESTAMP, "ordertime" TIMESTAMP);
CREATE PUMP six AS INSERT INTO six
SELECT STREAM ROWTIME AS "resultrowtime", o."orderid", s.ROWTIME AS "shipmenttime", o.ROWTIME AS "ordertime"
FROM ORDERS_STREAM OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS o
LEFT JOIN SHIPMENTS_STREAM OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS s ON o."orderid" = s."orderid";
