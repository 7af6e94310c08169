-- What statements may say beside the necessary, and names that differ only in case. The last one ends without a semicolon.
CREATE STREAM "Foo" (a INTEGER); ;
CREATE STREAM FOO (a INTEGER);
CREATE PUMP p1 AS INSERT INTO "Foo" SELECT STREAM n FROM s WHERE t <> ';'; -- in a comment; and /* here; */
CREATE PUMP p2 AS INSERT INTO FOO SELECT STREAM a + 100 FROM "Foo";

-- Functions: every option, and overloads by the types of their parameters. What is missing calls one of them and not the other.
CREATE FUNCTION size (x INTEGER) RETURNS INTEGER LANGUAGE SQL SPECIFIC size_of_number NOT DETERMINISTIC CONTAINS SQL READS SQL DATA
  MODIFIES SQL DATA CALLED ON NULL INPUT RETURN COALESCE(x, -1);
CREATE FUNCTION size (x VARCHAR(16)) RETURNS INTEGER SPECIFIC size_of_text DETERMINISTIC NO SQL RETURNS NULL ON NULL INPUT
  RETURN COALESCE(CHAR_LENGTH(x), -1);
CREATE FUNCTION size () RETURNS INTEGER RETURN 7;
CREATE STREAM sizes (number INTEGER, "text" INTEGER, nothing INTEGER);
CREATE PUMP p3 AS INSERT INTO sizes SELECT STREAM size(n), size(t), size() FROM s;

-- A column of bytes is cut to its length, as text is.
CREATE STREAM bytes (a VARBINARY(2), b BINARY VARYING(4), c CHAR VARYING(2));
CREATE PUMP p4 AS INSERT INTO bytes SELECT STREAM X'414243', X'4142', t FROM s WHERE n = 1;

-- Windows that add to others, and sets of queries in parentheses.
CREATE STREAM moving (n INTEGER, two INTEGER, "minute" INTEGER);
CREATE PUMP p5 AS INSERT INTO moving
SELECT STREAM n, COUNT(*) OVER (w ROWS 1 PRECEDING), COUNT(*) OVER v FROM s
WINDOW w AS (PARTITION BY t), v AS (w RANGE INTERVAL '1' MINUTE PRECEDING);
CREATE STREAM both (n INTEGER);
CREATE PUMP p6 AS INSERT INTO both (SELECT STREAM n FROM s) UNION ALL (SELECT STREAM n * 10 FROM s WHERE n > 1);

-- What a subquery promises to be monotonic is so outside of it, and CEILING is CEIL.
CREATE STREAM promised (w TIMESTAMP, n INTEGER);
CREATE PUMP p7 AS INSERT INTO promised
SELECT STREAM w, COUNT(*) FROM (SELECT STREAM monotonic(STEP(CHAR_TO_TIMESTAMP('yyyy-MM-dd HH:mm:ss', CAST(event AS VARCHAR(23))) by interval '1' minute)) AS w FROM s) AS x
GROUP BY w;
CREATE STREAM ceilings (n INTEGER);
CREATE PUMP p8 AS INSERT INTO ceilings SELECT STREAM COUNT(*) FROM s GROUP BY CEILING(s.ROWTIME TO MINUTE);

-- CROSS JOIN, of rows of one instant, and every name of a deviation.
CREATE STREAM crossed (a INTEGER, b INTEGER);
CREATE PUMP p9 AS INSERT INTO crossed SELECT STREAM x.n, y.n FROM s AS x CROSS JOIN s AS y;
CREATE STREAM deviations (a DOUBLE, b DOUBLE, c DOUBLE, d DOUBLE, e DOUBLE, f DOUBLE);
CREATE PUMP p10 AS INSERT INTO deviations
SELECT STREAM STDDEV_POP(n), STDDEV_SAMP(n), STDDEV(n), STD_DEV(n), VAR_POP(n), VAR_SAMP(n) FROM s GROUP BY STEP(s.ROWTIME BY INTERVAL '1' HOUR)
