-- A row far ahead of when it came closes no window and makes no other late; a time that is made of ROWTIME may lie anywhere.
CREATE STREAM promoted (number INTEGER);
CREATE PUMP p AS INSERT INTO promoted SELECT STREAM number, event AS ROWTIME FROM s;
CREATE STREAM minutes (total INTEGER);
CREATE PUMP m AS INSERT INTO minutes SELECT STREAM SUM(number) FROM promoted AS x GROUP BY FLOOR(x.ROWTIME TO MINUTE);
CREATE STREAM next_week (number INTEGER);
CREATE PUMP w AS INSERT INTO next_week SELECT STREAM number, s.ROWTIME + INTERVAL '7' DAY AS ROWTIME FROM s WHERE number < 3;
CREATE STREAM events (number INTEGER, event TIMESTAMP, WATERMARK FOR event AS event - INTERVAL '5' SECOND);
CREATE PUMP e AS INSERT INTO events SELECT STREAM number, event FROM s;
CREATE STREAM event_minutes (total INTEGER);
CREATE PUMP em AS INSERT INTO event_minutes SELECT STREAM SUM(number) FROM events AS x GROUP BY FLOOR(x.ROWTIME TO MINUTE);
