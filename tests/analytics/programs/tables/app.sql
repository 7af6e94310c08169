-- Table functions that count and rank: the most frequent items of a window, the number of different ones, ranks of an instant.
CREATE STREAM top (item VARCHAR(8), n DOUBLE);
CREATE PUMP t AS INSERT INTO top SELECT STREAM ITEM, ITEM_COUNT
FROM TABLE(TOP_K_ITEMS_TUMBLING(CURSOR(SELECT STREAM * FROM sales), 'ITEM', 2, 60));
CREATE STREAM different (n BIGINT);
CREATE PUMP d AS INSERT INTO different SELECT STREAM NUMBER_OF_DISTINCT_ITEMS
FROM TABLE(COUNT_DISTINCT_ITEMS_TUMBLING(CURSOR(SELECT STREAM item AS it FROM sales WHERE price > 1), 'it', 60));
CREATE STREAM ranks (item VARCHAR(8), price INTEGER, place INTEGER);
CREATE PUMP r AS INSERT INTO ranks SELECT STREAM g.item, g.price, g."place"
FROM TABLE(GROUP_RANK(CURSOR(SELECT STREAM item, price FROM sales), 'price', 'place', 'desc', 'asc', 1000, 2)) AS g;
