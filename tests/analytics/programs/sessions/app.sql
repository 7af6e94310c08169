-- Stagger windows with functions of time around aggregates, as click streams are cut into sessions.
CREATE OR REPLACE STREAM "SESSIONS" ("session" VARCHAR(60), "user" INTEGER, "events" INTEGER, "begin" VARCHAR(32), "ms" INTEGER, first VARCHAR(32));
CREATE OR REPLACE PUMP "WINDOW_PUMP" AS INSERT INTO "SESSIONS"
SELECT STREAM
  UPPER(CAST("user_id" AS VARCHAR(3)) || '_' || SUBSTRING("device_id", 1, 3) || CAST(UNIX_TIMESTAMP(STEP("CLICKS".ROWTIME BY INTERVAL '30' SECOND)) / 1000 AS VARCHAR(20))) AS session_id,
  "user_id", COUNT("client_event"),
  TIMESTAMP_TO_CHAR('yyyy-MM-dd''T''HH:mm:ss.SSS', MIN("at")),
  TSDIFF(MAX("at"), MIN("at")),
  FIRST_VALUE("client_event")
FROM "CLICKS"
WINDOWED BY STAGGER (PARTITION BY "user_id", "device_id", STEP("CLICKS".ROWTIME BY INTERVAL '30' SECOND) RANGE INTERVAL '30' SECOND);
CREATE OR REPLACE STREAM "CHANGES" (ticker VARCHAR(4), mean DECIMAL(10,2), back INTEGER, up BOOLEAN);
CREATE OR REPLACE PUMP "LAST_PUMP" AS INSERT INTO "CHANGES"
SELECT STREAM "device_id", AVG("user_id" * 1.00) OVER last3, LAG("user_id", 1, "user_id") OVER last3, "user_id" > LAG("user_id", 1, "user_id") OVER last3
FROM "CLICKS" WHERE ABS("user_id") > 0 WINDOW last3 AS (PARTITION BY "device_id" ROWS 2 PRECEDING);
CREATE OR REPLACE STREAM "SHARES" (device VARCHAR(8), minute VARCHAR(16), n INTEGER, share DOUBLE);
CREATE OR REPLACE PUMP "SHARES" AS INSERT INTO "SHARES"
SELECT STREAM "device_id", TIMESTAMP_TO_CHAR('HH:mm:ss', ROWTIME), COUNT(*) n, CAST(SUM(CASE WHEN "user_id" > 1 THEN 1 ELSE 0 END) AS DOUBLE) / COUNT(*) * 100
FROM "CLICKS" c GROUP BY "device_id", STEP(c.ROWTIME BY INTERVAL '60' SECOND) HAVING COUNT(*) >= 1 AND MAX("client_event") IS NOT NULL;
