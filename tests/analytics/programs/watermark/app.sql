-- Events carry their own time; ROWTIME of the source is when they came.
CREATE STREAM events (sensor VARCHAR(2), reading INTEGER, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '10' SECOND);
CREATE PUMP p0 AS INSERT INTO events SELECT STREAM "sensor", "reading", "time" FROM source;

CREATE STREAM minutes (sensor VARCHAR(2), readings INTEGER, total INTEGER);
CREATE PUMP p1 AS INSERT INTO minutes
SELECT STREAM sensor, COUNT(*), SUM(reading) FROM events GROUP BY sensor, FLOOR(events.ROWTIME TO MINUTE);

-- The same with the time promoted, and without a bound.
CREATE STREAM promoted (reading INTEGER, WATERMARK FOR ROWTIME AS ROWTIME);
CREATE PUMP p2 AS INSERT INTO promoted
SELECT STREAM "reading", "time" AS ROWTIME FROM source WHERE "reading" > 1;

-- Late rows are a stream like any other: they are counted by when they came too late.
CREATE STREAM missed (readings INTEGER, eldest TIMESTAMP);
CREATE PUMP p3 AS INSERT INTO missed
SELECT STREAM COUNT(*), MIN(l.LATE_ROWTIME) FROM events_late AS l GROUP BY FLOOR(l.ROWTIME TO MINUTE);
