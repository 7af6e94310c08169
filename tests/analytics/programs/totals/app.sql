-- Groups without a window: what they are now is a table.
CREATE TABLE totals (carrier VARCHAR(2), flights INTEGER, total BIGINT, mean INTEGER, latest TIMESTAMP, last_delay INTEGER) RETAIN 100 KEYS;
CREATE PUMP p1 AS INSERT INTO totals
SELECT STREAM carrier, COUNT(*), SUM(delay), AVG(delay), ROWTIME, LAST_VALUE(delay) FROM flights GROUP BY carrier;

-- Only carriers that flew within the last hour, with their names.
CREATE TABLE recent (name VARCHAR(20), flights INTEGER) RETAIN INTERVAL '1' HOUR;
CREATE PUMP p2 AS INSERT INTO recent
SELECT STREAM a."name", COUNT(*) FROM flights AS f JOIN airlines AS a ON f.carrier = a."carrier" GROUP BY a."name";

-- The two that flew last. A row that fails goes to the error stream, and its group is not in the table.
CREATE TABLE two (carrier VARCHAR(2), per_flight INTEGER) RETAIN 2 KEYS, INTERVAL '1' DAY;
CREATE PUMP p3 AS INSERT INTO two
SELECT STREAM carrier, 100 / SUM(delay) FROM flights GROUP BY carrier;

-- One row for all, and windows before they are over.
CREATE TABLE everything (flights INTEGER) RETAIN 1 KEY;
CREATE PUMP p4 AS INSERT INTO everything SELECT STREAM COUNT(*) FROM flights;
CREATE TABLE hours (hour TIMESTAMP, flights INTEGER) RETAIN INTERVAL '2' HOUR;
CREATE PUMP p5 AS INSERT INTO hours
SELECT STREAM FLOOR(f.ROWTIME TO HOUR), COUNT(*) FROM flights AS f GROUP BY FLOOR(f.ROWTIME TO HOUR) HAVING COUNT(*) > 1;
