-- into EVERYWHERE
SELECT MIN(b.temp) AS "WMIN_TEMP", MAX(b.temp) AS "WMAX_TEMP"
FROM (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM weatherstream) AS a JOIN (
  SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM weatherstream) AS b ON b."OFFSET" <= a."OFFSET" AND b.at >= a.at - INTERVAL 1 DAY
GROUP BY a."OFFSET"

-- into BY_CITY
SELECT a.city AS "CITY", MIN(b.temp) AS "WMIN_TEMP", MAX(b.temp) AS "WMAX_TEMP", CAST(SUM(b.temp) AS BIGINT) // COUNT(b.temp) AS "WAVG_TEMP"
FROM (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM weatherstream) AS a JOIN (
  SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM weatherstream) AS b ON b."OFFSET" <= a."OFFSET" AND b.at >= a.at - INTERVAL 1 DAY AND a.city = b.city
GROUP BY a."OFFSET", a.city
