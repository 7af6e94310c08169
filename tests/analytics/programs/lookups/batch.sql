-- into KNOWN
SELECT code AS "CODE", code IN (SELECT carrier FROM read_csv('airlines.csv') WHERE carrier <> 'AA') AS "LISTED" FROM s
WHERE EXISTS (SELECT * FROM read_csv('airlines.csv') WHERE carrier = 'UA')

-- into UNKNOWN
SELECT code AS "CODE" FROM s WHERE code NOT IN (SELECT carrier FROM read_csv('airlines.csv'))

-- into WORDS
SELECT s.code AS "CODE", v.word AS "WORD", v.n * 2 AS "N"
FROM s LEFT JOIN (VALUES ('UA', 'united', 1), ('AA', 'american', 2)) AS v (code, word, n) ON s.code = v.code

-- into COUNTED
SELECT code IN (SELECT carrier FROM read_csv('airlines.csv')) AS "LISTED", COUNT(*) AS "N" FROM s
GROUP BY 1, STEP(CAST(s."ROWTIME" AS TIMESTAMP) BY INTERVAL '1' MINUTE)

-- into TURNED
SELECT s.code AS "CODE", left(a.name, 16) AS "NAME" FROM read_csv('airlines.csv') AS a RIGHT JOIN s ON s.code = a.carrier

-- into LISTED
SELECT s.code AS "CODE", left(a.name, 16) AS "NAME" FROM read_csv('airlines.csv') AS a, s WHERE s.code = a.carrier
