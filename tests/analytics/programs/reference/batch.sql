-- into NAMED
SELECT a.name AS "CARRIER", COUNT(*) AS "N", AVG(s.delay) AS "MEAN" FROM input AS s JOIN read_csv('airlines.csv') AS a ON s.carrier = a.carrier
GROUP BY a.name, STEP(CAST(s.t AS TIMESTAMP) BY INTERVAL '1' HOUR)

-- into PLAIN
SELECT s.carrier AS "CODE", a.name AS "NAME" FROM input AS s LEFT JOIN read_csv('airlines.csv') AS a ON s.carrier = a.carrier
