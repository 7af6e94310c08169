-- The sliding windows of the SQL reference's weather table: a row sees what came before it, of its own time too, and the far
-- end of a RANGE is included.
CREATE STREAM hours (city VARCHAR(16), temp INTEGER, n INTEGER, mean DOUBLE, low INTEGER, high INTEGER);
CREATE PUMP p AS INSERT INTO hours
SELECT STREAM city, temp, COUNT(*) OVER w, AVG(temp * 1.0) OVER w, MIN(temp) OVER w, MAX(temp) OVER w
FROM weather
WINDOW w AS (PARTITION BY city RANGE INTERVAL '1' HOUR PRECEDING);
CREATE STREAM three (city VARCHAR(16), total INTEGER, sofar INTEGER, whole INTEGER, earlier INTEGER, first INTEGER, second INTEGER, spread DOUBLE);
CREATE PUMP p3 AS INSERT INTO three
SELECT STREAM city, SUM(temp) OVER (PARTITION BY city ROWS 2 PRECEDING),
  COUNT(temp) OVER (ROWS 3 PRECEDING), AVG(temp) OVER (PARTITION BY city ROWS 2 PRECEDING),
  LAG(temp, 1, -1) OVER (PARTITION BY city RANGE INTERVAL '30' MINUTE PRECEDING),
  FIRST_VALUE(temp) OVER (PARTITION BY city ROWS 2 PRECEDING),
  NTH_VALUE(temp, 2) FROM LAST OVER (PARTITION BY city ROWS 2 PRECEDING),
  STDDEV_POP(temp) OVER (PARTITION BY city ROWS 1 PRECEDING)
FROM weather WHERE temp IS NOT NULL;
