-- The worked examples of the developer guide and of the SQL reference, by the names of their pages, each over rows as its page
-- has them. Sources have names of their own here, since one program has them all.

-- Guide, "Replacing a Substring using Regex". Its ingest time is left out: it is the arrival.
CREATE OR REPLACE STREAM "REPLACED" ("referrer" VARCHAR(32));
CREATE OR REPLACE PUMP "replacing" AS INSERT INTO "REPLACED"
SELECT STREAM REGEX_REPLACE("REFERRER", 'http://', 'https://', 1, 0) FROM "REFERRERS";

-- Guide, "Extracting a Portion of a String". The page has "referrer" in quotes where its column is REFERRER.
CREATE OR REPLACE STREAM "COMPANIES" ("referrer" VARCHAR(32));
CREATE OR REPLACE PUMP "extracting" AS INSERT INTO "COMPANIES"
SELECT STREAM SUBSTRING("REFERRER", 12, (POSITION('.com' IN "REFERRER") - POSITION('www.' IN "REFERRER") - 4)) FROM "REFERRERS";

-- Guide, "Split Strings into Multiple Fields".
CREATE OR REPLACE STREAM "SPLIT" ("column_A" VARCHAR(16), "column_B" VARCHAR(16), "column_C" VARCHAR(16), "COL_1" VARCHAR(16),
  "COL_2" VARCHAR(16), "COL_3" VARCHAR(16));
CREATE OR REPLACE PUMP "SECOND_STREAM_PUMP" AS INSERT INTO "SPLIT"
SELECT STREAM t."Col_A", t."Col_B", t."Col_C", t.r."COL_1", t.r."COL_2", t.r."COL_3"
FROM (SELECT STREAM "Col_A", "Col_B", "Col_C",
  VARIABLE_COLUMN_LOG_PARSE ("Col_E_Unstructured", 'COL_1 TYPE VARCHAR(16), COL_2 TYPE VARCHAR(16), COL_3 TYPE VARCHAR(16)', ',') AS r
  FROM "UNSTRUCTURED") as t;

-- Guide, "Parsing Log Strings Based on Regular Expressions".
CREATE OR REPLACE STREAM "PARSED" (logentry VARCHAR(24), match1 VARCHAR(24), match2 VARCHAR(24));
CREATE OR REPLACE PUMP "parsing" AS INSERT INTO "PARSED"
SELECT STREAM T.LOGENTRY, T.REC.COLUMN1, T.REC.COLUMN2
FROM (SELECT STREAM LOGENTRY, REGEX_LOG_PARSE(LOGENTRY, '(\w.+) (\d.+) (\w.+) (\w.+)') AS REC FROM LOGS) AS T;

-- Guide, "Transforming DateTime Values".
CREATE OR REPLACE STREAM "DATES" (TICKER VARCHAR(4), event_time TIMESTAMP, five_minutes_before TIMESTAMP, event_unix_timestamp BIGINT,
  event_timestamp_as_char VARCHAR(50), event_second INTEGER);
CREATE OR REPLACE PUMP "transforming" AS INSERT INTO "DATES"
SELECT STREAM TICKER, EVENT_TIME, EVENT_TIME - INTERVAL '5' MINUTE, UNIX_TIMESTAMP(EVENT_TIME),
  TIMESTAMP_TO_CHAR('yyyy-MM-dd hh:mm:ss', EVENT_TIME), EXTRACT(SECOND FROM EVENT_TIME)
FROM "EVENTS";

-- Guide, "Retrieving the Most Frequently Occurring Values".
CREATE OR REPLACE STREAM "FREQUENT" ("TICKER" VARCHAR(4), "MOST_FREQUENT_VALUES" BIGINT);
CREATE OR REPLACE PUMP "frequent" AS INSERT INTO "FREQUENT"
SELECT STREAM * FROM TABLE (TOP_K_ITEMS_TUMBLING(
  CURSOR(SELECT STREAM * FROM "EVENTS"),
  'TICKER',         -- name of column in single quotes
  5,                       -- number of the most frequently occurring values
  60                       -- tumbling window size in seconds
));

-- Guide, "Sliding Windows": records at the seconds 1, 2, 6, 7 and three at 8, counted over five seconds. The guide counts 2 at 6
-- and 7: for it a row that is five seconds old is out. For the reference's table of the weather it is in, and so it is here;
-- INTERVAL '4.999' SECOND is the guide's window. The three at 8 come one after the other, where the guide draws one count, 5.
CREATE OR REPLACE STREAM "COUNTS" ("included" INTEGER, "excluded" INTEGER);
CREATE OR REPLACE PUMP "counting" AS INSERT INTO "COUNTS"
SELECT STREAM COUNT(*) OVER (RANGE INTERVAL '5' SECOND PRECEDING), COUNT(*) OVER (RANGE INTERVAL '4.999' SECOND PRECEDING) FROM "TICKS";

-- Guide, "Sliding Windows", its examples 1 to 3; its AVG(change / (price - change)) too.
CREATE OR REPLACE STREAM "MOVING" (ticker_symbol VARCHAR(10), Min_Price double, Max_Price double, Avg_Price double, Avg_Percent_Change double,
  average_last2rows double, average_last10rows double);
CREATE OR REPLACE PUMP "moving" AS INSERT INTO "MOVING"
SELECT STREAM ticker_symbol, MIN(Price) OVER W1 AS Min_Price, MAX(Price) OVER W1 AS Max_Price, AVG(Price) OVER W1 AS Avg_Price,
  AVG(Change / (Price - Change)) over W10 as Avg_Percent_Change, avg(price) over last2rows, avg(price) over last10rows
FROM "STOCKS"
WINDOW
  W1 AS (PARTITION BY ticker_symbol RANGE INTERVAL '1' MINUTE PRECEDING),
  W10 AS (PARTITION BY ticker_symbol RANGE INTERVAL '10' SECOND PRECEDING),
  last2rows AS (PARTITION BY ticker_symbol ROWS 2 PRECEDING),
  last10rows AS (PARTITION BY ticker_symbol ROWS 10 PRECEDING);

-- Guide, "Aggregating Partial Results from a Query": the event time is a column here, not the arrival.
CREATE OR REPLACE STREAM "CALC_COUNT_SQL_STREAM" (TICKER VARCHAR(4), TRADETIME TIMESTAMP, TICKERCOUNT DOUBLE);
CREATE OR REPLACE STREAM "AGGREGATED" (TICKER VARCHAR(4), TRADETIME TIMESTAMP, TICKERCOUNT DOUBLE);
CREATE PUMP "CALC_COUNT_SQL_PUMP_001" AS INSERT INTO "CALC_COUNT_SQL_STREAM" ("TICKER","TRADETIME", "TICKERCOUNT")
SELECT STREAM "TICKER", STEP("EVENTS"."EVENT_TIME" BY INTERVAL '1' MINUTE) as "TradeTime", COUNT(*) AS "TickerCount"
FROM "EVENTS"
GROUP BY STEP("EVENTS".ROWTIME BY INTERVAL '1' MINUTE), STEP("EVENTS"."EVENT_TIME" BY INTERVAL '1' MINUTE), TICKER;
CREATE PUMP "AGGREGATED_SQL_PUMP" AS INSERT INTO "AGGREGATED" ("TICKER","TRADETIME", "TICKERCOUNT")
SELECT STREAM "TICKER", "TRADETIME", SUM("TICKERCOUNT") OVER W1 AS "TICKERCOUNT"
FROM "CALC_COUNT_SQL_STREAM" WINDOW W1 AS (PARTITION BY "TRADETIME" RANGE INTERVAL '10' MINUTE PRECEDING);

-- Reference, "REGEX_REPLACE", example 1. The page has a semicolon behind its call, where a comma belongs.
CREATE OR REPLACE STREAM "SECTORS" (ticker_symbol VARCHAR(4), SECTOR VARCHAR(24), CHANGE REAL, PRICE REAL);
CREATE OR REPLACE PUMP "sectors" AS INSERT INTO "SECTORS"
SELECT STREAM TICKER_SYMBOL, REGEX_REPLACE(SECTOR, 'TECHNOLOGY', 'INFORMATION TECHNOLOGY', 1, 0), CHANGE, PRICE FROM "STOCKS";

-- Reference, "LAG", example 1: the prices of the two records before, within a minute, without those that have none.
CREATE OR REPLACE STREAM "PREVIOUS" (ticker_symbol VARCHAR(4), price DOUBLE, previous_price DOUBLE, previous_price_2 DOUBLE);
CREATE OR REPLACE PUMP "previous" AS INSERT INTO "PREVIOUS"
SELECT STREAM ticker_symbol, price, LAG(price, 1) IGNORE NULLS OVER W1, LAG(price, 2) IGNORE NULLS OVER W1
FROM "STOCKS" WINDOW W1 AS (PARTITION BY ticker_symbol RANGE INTERVAL '1' MINUTE PRECEDING);

-- Reference, "EXTRACT": the floor of half an hour. The page calls it for CURRENT_ROW_TIMESTAMP, behind a parenthesis that opens
-- nowhere; here it is called for the time of the event.
CREATE or replace FUNCTION FLOOR30MIN( p_time TIMESTAMP ) RETURNS  TIMESTAMP CONTAINS SQL RETURNS NULL ON NULL INPUT RETURN
floor(p_time to HOUR) + (( EXTRACT (  MINUTE FROM p_time  ) / 30)* INTERVAL '30' MINUTE ) ;
CREATE OR REPLACE STREAM "HALVES" (half TIMESTAMP, ticker VARCHAR(4));
CREATE OR REPLACE PUMP "halves" AS INSERT INTO "HALVES" SELECT STREAM FLOOR30MIN(event_time), ticker FROM "EVENTS";
