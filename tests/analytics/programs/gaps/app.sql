CREATE STREAM visits (username VARCHAR(8), starts TIMESTAMP, ends TIMESTAMP, clicks BIGINT, cost BIGINT, low BIGINT, pages BIGINT, first_page VARCHAR(8), last_page VARCHAR(8), mean BIGINT);
CREATE PUMP p AS INSERT INTO visits
SELECT STREAM username, SESSION_START(s.ROWTIME, INTERVAL '10' SECOND), SESSION_END(s.ROWTIME, INTERVAL '10' SECOND), COUNT(*), SUM(cost), MIN(cost), COUNT(DISTINCT page), FIRST_VALUE(page), LAST_VALUE(page), AVG(cost)
FROM clicks AS s WHERE page <> 'none'
GROUP BY username, SESSION(s.ROWTIME, INTERVAL '10' SECOND);

-- Groups of every window together, of which those of two clicks and more come out.
CREATE STREAM busy (starts TIMESTAMP, clicks BIGINT, spread DOUBLE, ended TIMESTAMP);
CREATE PUMP q AS INSERT INTO busy
SELECT STREAM SESSION(s.ROWTIME, INTERVAL '10' SECOND) AS w, COUNT(*), STDDEV_POP(cost), ROWTIME
FROM (SELECT STREAM * FROM clicks WHERE username IS NOT NULL) AS s
GROUP BY w HAVING COUNT(*) > 1 ORDER BY ROWTIME, COUNT(*);
