-- The SQL reference's readings of the weather and its windows of a day. A row sees what came before it, of its own time too
-- (the first rows are 29/29 and then 2/29), and the far end of the window is included.
CREATE STREAM everywhere (wmin_temp INTEGER, wmax_temp INTEGER);
CREATE PUMP everywhere AS INSERT INTO everywhere
SELECT STREAM MIN(TEMP) OVER W1 AS WMIN_TEMP, MAX(TEMP) OVER W1 AS WMAX_TEMP
FROM WEATHERSTREAM WINDOW W1 AS (RANGE INTERVAL '1' DAY PRECEDING);
CREATE STREAM by_city (city VARCHAR(16), wmin_temp INTEGER, wmax_temp INTEGER, wavg_temp INTEGER);
CREATE PUMP by_city AS INSERT INTO by_city
SELECT STREAM CITY, MIN(TEMP) OVER W1 AS WMIN_TEMP, MAX(TEMP) OVER W1 AS WMAX_TEMP, AVG(TEMP) OVER W1 AS WAVG_TEMP
FROM WEATHERSTREAM WINDOW W1 AS (PARTITION BY CITY RANGE INTERVAL '1' DAY PRECEDING);
