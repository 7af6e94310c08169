-- The two dearest bids of each minute and item, when the minute is over.
CREATE STREAM dearest (minute TIMESTAMP, item VARCHAR(2), bidder VARCHAR(2), price INTEGER, place INTEGER, at TIMESTAMP);
CREATE PUMP p1 AS INSERT INTO dearest
SELECT STREAM minute, item, bidder, price, rn, at FROM (
  SELECT STREAM FLOOR(b.ROWTIME TO MINUTE) AS minute, item, bidder, price, b.ROWTIME AS at,
    ROW_NUMBER() OVER (PARTITION BY item, FLOOR(b.ROWTIME TO MINUTE) ORDER BY price DESC) AS rn
  FROM bids AS b WHERE price > 1)
WHERE rn <= 2;

-- The item with the most bids of each minute: over the groups of a window.
CREATE STREAM hottest (item VARCHAR(2), bids INTEGER);
CREATE PUMP p2 AS INSERT INTO hottest
SELECT STREAM item, bids FROM (
  SELECT STREAM item, bids, ROW_NUMBER() OVER (PARTITION BY g.ROWTIME ORDER BY bids DESC, item) AS rn FROM (
    SELECT STREAM item, COUNT(*) AS bids FROM bids AS b GROUP BY item, FLOOR(b.ROWTIME TO MINUTE)) AS g)
WHERE rn = 1;

-- The dearest bids of each item so far, the last bid of each bidder, and the dearest of all: tables.
CREATE TABLE records (item VARCHAR(2), price INTEGER, bidder VARCHAR(2), place INTEGER) RETAIN 2 KEYS;
CREATE PUMP p3 AS INSERT INTO records
SELECT STREAM item, price, bidder, rn FROM (
  SELECT STREAM b.*, ROW_NUMBER() OVER (PARTITION BY item ORDER BY price DESC) AS rn FROM bids AS b)
WHERE rn < 3 AND price < 100;
CREATE TABLE latest (bidder VARCHAR(2), item VARCHAR(2), price INTEGER) RETAIN INTERVAL '1' HOUR;
CREATE PUMP p4 AS INSERT INTO latest
SELECT STREAM bidder, item, price FROM (
  SELECT STREAM *, ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY b.ROWTIME DESC) AS rn FROM bids AS b)
WHERE rn = 1;
CREATE TABLE record (item VARCHAR(2), price INTEGER) RETAIN 1 KEY;
CREATE PUMP p5 AS INSERT INTO record
SELECT STREAM item, price FROM (SELECT STREAM *, ROW_NUMBER() OVER (ORDER BY price DESC) AS rn FROM bids) WHERE 1 >= rn;

-- A bid that was made in the thirty seconds before is not made again.
CREATE STREAM once (bidder VARCHAR(2), item VARCHAR(2), price INTEGER);
CREATE PUMP p6 AS INSERT INTO once
SELECT STREAM bidder, item, price FROM (
  SELECT STREAM *, ROW_NUMBER() OVER (PARTITION BY bidder, item ORDER BY b.ROWTIME RANGE INTERVAL '30' SECOND PRECEDING) AS rn
  FROM bids AS b)
WHERE rn = 1;
