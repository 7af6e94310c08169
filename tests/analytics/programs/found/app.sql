-- What random programs found: each pump is a case that once went wrong.

-- A column of the side that is missing is NULL, though the subquery says it is always 2.
CREATE STREAM missing (k VARCHAR(4), n INTEGER, two INTEGER);
CREATE PUMP p1 AS INSERT INTO missing
SELECT STREAM r."k", r."n", COALESCE(l.two, -1)
FROM (SELECT STREAM "k", 2 AS two FROM rows1 WHERE "n" > 0) AS l
FULL JOIN rows2 OVER (RANGE INTERVAL '2' SECOND PRECEDING) AS r ON l."k" = r."k";

-- On the way into a column a half is rounded as CAST rounds it.
CREATE STREAM halves (n SMALLINT, m INTEGER);
CREATE PUMP p2 AS INSERT INTO halves SELECT STREAM "x", CAST("x" AS INTEGER) FROM rows1;

-- A sum that is none of 64 bits fails its row; a mean of it does not.
CREATE STREAM sums (n INTEGER, total BIGINT);
CREATE PUMP p3 AS INSERT INTO sums
SELECT STREAM "n", SUM("big") OVER (PARTITION BY "k" RANGE INTERVAL '5' SECOND PRECEDING) FROM rows1;
CREATE STREAM means (n INTEGER, mean BIGINT);
CREATE PUMP p4 AS INSERT INTO means
SELECT STREAM "n", AVG("big") OVER (PARTITION BY "k" ROWS 1 PRECEDING) FROM rows1;

-- Frames of rows before 1970, in partitions that are computed by a query.
CREATE STREAM early (n INTEGER, c BIGINT);
CREATE PUMP p5 AS INSERT INTO early
SELECT STREAM "n", COUNT(*) OVER (PARTITION BY "x" RANGE INTERVAL '5' SECOND PRECEDING) FROM rows1;

-- The condition divides by zero for a row of the table that no row meets.
CREATE STREAM ratios (k VARCHAR(4), ratio DOUBLE);
CREATE PUMP p6 AS INSERT INTO ratios
SELECT STREAM s."k", t."part" / t."whole" FROM rows1 AS s LEFT JOIN t ON s."k" = t."key" WHERE t."part" / t."whole" > 0.1;

-- Of a row that meets two of the table, one pair fails and the other comes out.
CREATE STREAM pairs (k VARCHAR(4), n INTEGER);
CREATE PUMP p7 AS INSERT INTO pairs
SELECT STREAM s."k", 6 / t."n" FROM rows2 AS s JOIN t ON s."k" = t."key";

-- A row that fails opens no window.
CREATE STREAM staggered (k VARCHAR(4), c BIGINT, total INTEGER);
CREATE PUMP p8 AS INSERT INTO staggered
SELECT STREAM "k", COUNT(*), SUM(6 / "n") FROM rows1 WINDOWED BY STAGGER (PARTITION BY "k" RANGE INTERVAL '3' SECOND);

-- A comma inside is none of SUBSTRING's; NULL divided by nothing is NULL.
CREATE STREAM texts (a VARCHAR(4), b INTEGER, c DECIMAL(8,3), d DECIMAL(8,3));
CREATE PUMP p9 AS INSERT INTO texts
SELECT STREAM SUBSTRING(COALESCE("k", 'x') FROM 9 FOR 1), NULLIF("n", "n") / 0, NULLIF("x", "x") / 0, CAST("n" AS DECIMAL(4,1)) / 3.0 FROM rows2;

-- What is no number does not get into a column.
CREATE STREAM numbers (n DOUBLE);
CREATE PUMP p10 AS INSERT INTO numbers SELECT STREAM "x" * POWER(10, 308) * 10 FROM rows2;

-- Half of BETWEEN divides by zero, and the other half does not hold: no row, even beside one that fails.
CREATE STREAM halved (n INTEGER, q INTEGER);
CREATE PUMP p11 AS INSERT INTO halved SELECT STREAM "n", 6 / ("n" - 4) FROM rows1 WHERE 3 BETWEEN 6 / "n" AND "n";

-- The first row divides by zero but meets none; of the two pairs one fails.
CREATE STREAM met (n INTEGER, m INTEGER);
CREATE PUMP p12 AS INSERT INTO met
SELECT STREAM l."n", r."n" FROM rows1 AS l JOIN rows2 OVER (RANGE INTERVAL '2' SECOND PRECEDING) AS r ON l."k" = r."k"
WHERE 6 / l."n" > 0 AND 12 / (r."n" - 7) <> l."n";

-- What overflows in ON does not meet.
CREATE STREAM unmet (n INTEGER, m INTEGER);
CREATE PUMP p13 AS INSERT INTO unmet
SELECT STREAM l."n", r."n" FROM rows1 AS l LEFT JOIN rows2 OVER (RANGE INTERVAL '2' SECOND PRECEDING) AS r
ON l."k" = r."k" AND l."n" + r."n" * 1000000000 > 0;

-- The condition overflows for rows that no row of the table meets, whose part in it is NULL.
CREATE STREAM alone (n INTEGER);
CREATE PUMP p14 AS INSERT INTO alone
SELECT STREAM s."n" FROM rows1 AS s LEFT JOIN t ON s."x" = t."part" WHERE s."big" + s."big" > s."big" - t."n";

-- Beside a column of the table that no row of the batch has, what fails still fails.
CREATE STREAM lone (d DOUBLE);
CREATE PUMP p15 AS INSERT INTO lone
SELECT STREAM t."part" * (s."x" / (s."n" - 10)) FROM rows2 AS s LEFT JOIN t ON s."k" = t."key";
