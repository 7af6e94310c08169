-- Log lines into records, and the records' fields into columns. With the SQL reference's lines: in its first example of
-- FAST_REGEX_LOG_PARSE it prints a_little_lamb, which leaves nothing for the _ of the pattern that follows.
CREATE STREAM web (host VARCHAR(16), who VARCHAR(16), at TIMESTAMP, request VARCHAR(32), status INTEGER);
CREATE PUMP w AS INSERT INTO web
SELECT STREAM l.r.COLUMN1, l.r."COLUMN3", CHAR_TO_TIMESTAMP('[dd/MMM/yyyy:HH:mm:ss Z]', l.r.COLUMN4), l.r.COLUMN5, CAST(l.r.COLUMN6 AS INTEGER)
FROM (SELECT STREAM W3C_LOG_PARSE(line, 'COMMON') FROM lines WHERE kind = 'web') AS l (r);
CREATE STREAM pairs (a VARCHAR(8), b VARCHAR(8));
CREATE PUMP p AS INSERT INTO pairs
SELECT STREAM r.COLUMN1, r.COLUMN2 FROM (SELECT STREAM REGEX_LOG_PARSE(line, 'a=(\d+) b=(\d+)') AS r FROM lines WHERE kind = 'pair');
CREATE STREAM ports (number INTEGER, word VARCHAR(8));
CREATE PUMP f AS INSERT INTO ports SELECT STREAM CAST(t.r.COLUMN1 AS INTEGER), t.r.COLUMN2
FROM (SELECT STREAM FAST_REGEX_LOG_PARSE(line, '"port "(<1-999>)" "(<alpha>+)') FROM lines WHERE kind = 'port') AS t (r);
CREATE STREAM lambs (example VARCHAR(8), a VARCHAR(24), b VARCHAR(24));
CREATE PUMP l1 AS INSERT INTO lambs SELECT STREAM 'first', t.r."COLUMN1", t.r."COLUMN2"
FROM (SELECT STREAM FAST_REGEX_LOG_PARSE(line, '(.*)_(._.*)_.*') FROM lines WHERE kind = 'lamb') AS t (r);
CREATE PUMP l2 AS INSERT INTO lambs SELECT STREAM 'none', t.r."COLUMN1", t.r."COLUMN2"
FROM (SELECT STREAM FAST_REGEX_LOG_PARSE(line, '(.*)_(._.*)_.') FROM lines WHERE kind = 'lamb') AS t (r);
CREATE PUMP l3 AS INSERT INTO lambs SELECT STREAM 'A', t.r."COLUMN1", t.r."COLUMN2"
FROM (SELECT STREAM FAST_REGEX_LOG_PARSE(line, '(.*)_+(._.*)') FROM lines WHERE kind = 'lamb') AS t (r);
CREATE PUMP l4 AS INSERT INTO lambs SELECT STREAM 'B', t.r."COLUMN1", t.r."COLUMN2"
FROM (SELECT STREAM FAST_REGEX_LOG_PARSE(line, '(.*)_+(.*)') FROM lines WHERE kind = 'lambs') AS t (r);
CREATE PUMP l5 AS INSERT INTO lambs SELECT STREAM 'C', t.r."COLUMN1", t.r."COLUMN2"
FROM (SELECT STREAM FAST_REGEX_LOG_PARSE(line, '(.*)_+(<Alpha>.*)') FROM lines WHERE kind = 'lambs') AS t (r);
CREATE STREAM sectors (sector VARCHAR(24), match1 VARCHAR(24), match2 VARCHAR(24));
CREATE PUMP l6 AS INSERT INTO sectors SELECT STREAM t.line, t.rec.COLUMN1, t.rec.COLUMN2
FROM (SELECT STREAM line, REGEX_LOG_PARSE(line, '.*([E].).*([R].*)') AS rec FROM lines WHERE kind = 'sector') AS t;
CREATE STREAM apache (who VARCHAR(5), address VARCHAR(15), at VARCHAR(30), request VARCHAR(16), bare VARCHAR(30), size VARCHAR(4));
CREATE PUMP l7 AS INSERT INTO apache SELECT STREAM l.r.COLUMN3, l.r.COLUMN1, l.r.COLUMN4, l.r.COLUMN5, l.q.COLUMN4, l.q.COLUMN7
FROM (SELECT STREAM W3C_LOG_PARSE(line, 'COMMON'), W3C_LOG_PARSE(line, '%h %l %u [%t] \"%r\" %>s %b') FROM lines WHERE kind = 'apache') AS l (r, q);
CREATE STREAM fields (a VARCHAR(16), b INTEGER, at TIMESTAMP);
CREATE PUMP v AS INSERT INTO fields SELECT STREAM t.r.A, t.r.B, t.r.AT
FROM (SELECT STREAM VARIABLE_COLUMN_LOG_PARSE(line, 'A TYPE VARCHAR(16), B TYPE INTEGER NOT NULL, AT TYPE TIMESTAMP ''yyyy-MM-dd''', ',', '\', '"')
  FROM lines WHERE kind = 'fields') AS t (r);
CREATE STREAM two (a VARCHAR(16), b VARCHAR(16));
CREATE PUMP v2 AS INSERT INTO two SELECT STREAM t.r.COLUMN1, t.r.COLUMN2
FROM (SELECT STREAM VARIABLE_COLUMN_LOG_PARSE(line, 2, ',') FROM lines WHERE kind = 'fields') AS t (r);
CREATE STREAM delimited (a VARCHAR(16), b VARCHAR(16));
CREATE PUMP v3 AS INSERT INTO delimited SELECT STREAM t.r.COLUMN1, t.r.COLUMN2
FROM (SELECT STREAM VARIABLE_COLUMN_LOG_PARSE(line, 2, ',', '\', '[]') FROM lines WHERE kind = 'delimited') AS t (r);
CREATE STREAM tabbed (a VARCHAR(16), b VARCHAR(16));
CREATE PUMP v4 AS INSERT INTO tabbed SELECT STREAM t.r.COLUMN1, t.r.COLUMN2
FROM (SELECT STREAM VARIABLE_COLUMN_LOG_PARSE(line, 2, u&'\0009') FROM lines WHERE kind = 'delimited') AS t (r);
CREATE STREAM fixed (a VARCHAR(4), n INTEGER, rest VARCHAR(8));
CREATE PUMP x AS INSERT INTO fixed SELECT STREAM t.r.A, t.r.N, t.r.REST
FROM (SELECT STREAM FIXED_COLUMN_LOG_PARSE(line, 'a TYPE VARCHAR(4) START 0 FOR 4, n TYPE INTEGER START 4 FOR 2, rest TYPE VARCHAR(8) START 6')
  FROM lines WHERE kind = 'fixed') AS t (r);
CREATE STREAM system (at TIMESTAMP, message VARCHAR(32));
CREATE PUMP s AS INSERT INTO system SELECT STREAM t.r.COLUMN1, t.r.COLUMN2
FROM (SELECT STREAM SYS_LOG_PARSE(line) FROM lines WHERE kind = 'system') AS t (r);
