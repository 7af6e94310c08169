-- Filter and projection; names by the rules: "ticker" and TICKER are two columns.
CREATE OR REPLACE STREAM "DESTINATION" (symbol VARCHAR(4), "symbol" VARCHAR(4), price DOUBLE, change DOUBLE);
CREATE OR REPLACE PUMP "STREAM_PUMP" AS INSERT INTO "DESTINATION"  // the guide's first example, more or less
SELECT STREAM ticker, "ticker", price, price - 1 FROM "SOURCE_SQL_STREAM_001" AS s WHERE s.PRICE >= 2 AND "sector" LIKE 'TECH%';
