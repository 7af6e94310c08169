-- into QUOTED
SELECT t.symbol AS "SYMBOL", t.price AS "PRICE", q.bid AS "BID", t.at - q.at AS "AGE_MS"
FROM (SELECT symbol, price, epoch_ms(CAST("ROWTIME" AS TIMESTAMP)) AS at FROM trades) AS t
ASOF JOIN (SELECT symbol, epoch_ms(CAST("ROWTIME" AS TIMESTAMP)) AS at, max(bid) AS bid FROM quotes GROUP BY symbol, "ROWTIME") AS q ON t.symbol = q.symbol AND t.at >= q.at
WHERE t.price > 1 AND t.at - q.at <= 60000

-- into STRICTLY
SELECT t.symbol AS "SYMBOL", t.price AS "PRICE", CASE WHEN t.at - q.at <= 60000 THEN q.bid END AS "BID"
FROM (SELECT symbol, price, epoch_ms(CAST("ROWTIME" AS TIMESTAMP)) AS at FROM trades) AS t
ASOF LEFT JOIN (SELECT symbol, epoch_ms(CAST("ROWTIME" AS TIMESTAMP)) AS at, max(bid) AS bid FROM quotes GROUP BY symbol, "ROWTIME") AS q ON t.symbol = q.symbol AND t.at > q.at

-- into CONVERTED
SELECT t.symbol AS "SYMBOL", SUM(t.price * r.rate) AS "TOTAL" FROM (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM trades) AS t
ASOF JOIN read_csv('rates.csv') AS r ON t.currency = r.currency AND t.at >= r.valid_from GROUP BY t.symbol, FLOOR(t.at TO MINUTE)
