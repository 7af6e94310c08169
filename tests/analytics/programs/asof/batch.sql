SELECT t.symbol AS "SYMBOL", t.price AS "PRICE", q.bid AS "BID", t.at - q.at AS "AGE_MS"
FROM (SELECT symbol, price, epoch_ms(CAST("ROWTIME" AS TIMESTAMP)) AS at FROM trades) AS t
ASOF JOIN (SELECT symbol, epoch_ms(CAST("ROWTIME" AS TIMESTAMP)) AS at, max(bid) AS bid FROM quotes GROUP BY symbol, "ROWTIME") AS q ON t.symbol = q.symbol AND t.at >= q.at
WHERE t.price > 1 AND t.at - q.at <= 60000
