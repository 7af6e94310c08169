-- into DESTINATION
SELECT left(i."TICKER", 4) AS "SYMBOL", i.ticker_1 AS "symbol", price AS "PRICE", price - 1 AS "CHANGE"
FROM input AS i WHERE price >= 2 AND sector LIKE 'TECH%'
