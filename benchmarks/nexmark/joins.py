"""Queries that join streams. Where the published query would keep every event for ever, rows wait for an hour."""

from __future__ import annotations

from benchmarks.nexmark.query import BIDS, Query, program, stream

_SOURCE = 'FROM SOURCE_SQL_STREAM_001 AS b WHERE b."event_type"'
_HOUR = "OVER (RANGE INTERVAL '1' HOUR PRECEDING)"
_WAITS = "rows wait an hour for each other"
_BID = '"auction" BIGINT, "bidder" BIGINT, "price" BIGINT, "dateTime" TIMESTAMP'
_BIDS = stream("bids", _BID, f'"auction", "bidder", "price", "dateTime" {BIDS}')
_AUCTIONS = stream(
    "auctions",
    '"id" BIGINT, "category" BIGINT, "dateTime" TIMESTAMP, "expires" TIMESTAMP',
    f'"id", "category", "dateTime", "expires" {_SOURCE} = 1',
)
_OFFERS = stream(
    "offers",
    '"id" BIGINT, "category" BIGINT, "bidder" BIGINT, "price" BIGINT, "at" TIMESTAMP',
    """a."id", a."category", b."bidder", b."price", b."dateTime"
    FROM auctions OVER (RANGE INTERVAL '1' SECOND PRECEDING) AS a JOIN bids OVER (RANGE INTERVAL '1' SECOND PRECEDING) AS b
    ON a."id" = b."auction" AND b."dateTime" >= a."dateTime" AND b."dateTime" <= a."expires\"""",
)
_HOP = "HOP(b.ROWTIME, INTERVAL '2' SECOND, INTERVAL '10' SECOND)"
_WINNERS = stream(
    "firsts",
    '"id" BIGINT, "price" BIGINT, "bidder" BIGINT, "at" TIMESTAMP',
    '"id", "price", FIRST_VALUE("bidder"), FIRST_VALUE("at") FROM offers AS o GROUP BY "id", "price", FLOOR(o.ROWTIME TO DAY)',
) + stream(
    "finals",
    '"id" BIGINT, "price" BIGINT',
    '"id", MAX("price") FROM offers AS o GROUP BY "id", FLOOR(o.ROWTIME TO DAY)',
)
_ON_DAY = "a row when the day is over, not at each bid"


QUERIES = (
    Query(
        "q3",
        "sellers in three states",
        program(
            '"name" VARCHAR(64), "city" VARCHAR(64), "state" VARCHAR(2), "id" BIGINT',
            f'p."name", p."city", p."state", a."id" FROM auctions {_HOUR} AS a JOIN persons {_HOUR} AS p ON a."seller" = p."id"',
            stream("auctions", '"id" BIGINT, "seller" BIGINT', f'"id", "seller" {_SOURCE} = 1 AND "category" = 10')
            + stream(
                "persons",
                '"id" BIGINT, "name" VARCHAR(64), "city" VARCHAR(64), "state" VARCHAR(2)',
                f'"id", "name", "city", "state" {_SOURCE} = 0 AND "state" IN (\'OR\', \'ID\', \'CA\')',
            ),
        ),
        "SELECT p.name, p.city, p.state, a.id FROM events AS a JOIN events AS p ON a.seller = p.id "
        "WHERE a.event_type = 1 AND p.event_type = 0 AND a.category = 10 AND p.state IN ('OR', 'ID', 'CA')",
        "SELECT p.name, p.city, p.state, a.id FROM auction AS a JOIN person AS p ON a.seller = p.id "
        "WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA')",
        note=_WAITS,
    ),
    Query(
        "q4",
        "mean winning price of a category",
        program(
            '"category" BIGINT, "price" BIGINT',
            '"category", AVG("final") FROM finals AS f GROUP BY "category", FLOOR(f.ROWTIME TO DAY)',
            _BIDS
            + _AUCTIONS
            + _OFFERS
            + stream(
                "finals",
                '"category" BIGINT, "final" BIGINT',
                '"category", MAX("price") FROM offers AS o GROUP BY "id", "category", FLOOR(o.ROWTIME TO DAY)',
            ),
        ),
        "SELECT category, sum(final) // count(*) FROM (SELECT max(b.price) AS final, a.category FROM events AS a JOIN events AS b "
        "ON a.id = b.auction AND b.dateTime BETWEEN a.dateTime AND a.expires WHERE a.event_type = 1 AND b.event_type = 2 "
        "GROUP BY a.id, a.category) GROUP BY category",
        "SELECT category, AVG(final) FROM (SELECT MAX(b.price) AS final, a.category FROM auction AS a, bid AS b "
        "WHERE a.id = b.auction AND b.`dateTime` BETWEEN a.`dateTime` AND a.expires GROUP BY a.id, a.category) GROUP BY category",
        note=_ON_DAY,
    ),
    Query(
        "q5",
        "auctions with most bids in 10 s",
        program(
            '"auction" BIGINT, "bids" BIGINT, "starts" TIMESTAMP',
            'c."auction", c."bids", c."starts" FROM hops AS c JOIN most AS m ON c."bids" = m."bids"',
            stream(
                "hops",
                '"auction" BIGINT, "bids" BIGINT, "starts" TIMESTAMP',
                f'"auction", COUNT(*), {_HOP} {BIDS} GROUP BY "auction", {_HOP}',
            )
            + stream("most", '"bids" BIGINT', 'MAX("bids") FROM hops AS h GROUP BY h.ROWTIME'),
        ),
        "WITH hops AS (SELECT auction, count(*) AS bids, time_bucket(INTERVAL 2 SECOND, dateTime) "
        "+ to_seconds(2 * hop) - INTERVAL 8 SECOND AS starts FROM events, range(5) AS hops(hop) WHERE event_type = 2 GROUP BY 1, 3) "
        "SELECT auction, bids, starts FROM hops QUALIFY bids = max(bids) OVER (PARTITION BY starts)",
        "WITH hops AS (SELECT auction, count(*) AS bids, window_start AS starts, window_end AS ends FROM TABLE(HOP(TABLE bid, "
        "DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) GROUP BY auction, window_start, window_end) "
        "SELECT c.auction, c.bids FROM hops AS c JOIN (SELECT MAX(bids) AS bids, starts, ends FROM hops GROUP BY starts, ends) AS m "
        "ON c.starts = m.starts AND c.ends = m.ends AND c.bids >= m.bids",
    ),
    Query(
        "q6",
        "mean winning price of a seller",
        program(
            '"seller" BIGINT, "price" BIGINT',
            '"seller", AVG("price") OVER (PARTITION BY "seller" ROWS 10 PRECEDING) FROM winners AS w',
            _BIDS
            + stream(
                "auctions",
                '"id" BIGINT, "category" BIGINT, "seller" BIGINT, "dateTime" TIMESTAMP, "expires" TIMESTAMP',
                f'"id", "category", "seller", "dateTime", "expires" {_SOURCE} = 1',
            )
            + _OFFERS
            + _WINNERS
            + stream(
                "won",
                '"id" BIGINT, "price" BIGINT, "at" TIMESTAMP',
                'f."id", f."price", f."at" FROM firsts AS f JOIN finals AS m ON f."id" = m."id" AND f."price" = m."price"',
            )
            + stream(
                "winners",
                '"seller" BIGINT, "price" BIGINT',
                'a."seller", w."price" FROM won AS w JOIN auctions OVER (RANGE INTERVAL \'1\' DAY PRECEDING) AS a '
                'ON w."id" = a."id" ORDER BY ROWTIME, w."at", w."id"',
            ),
        ),
        "SELECT seller, sum(price) OVER w // count(*) OVER w FROM (SELECT a.seller, a.id, b.price, b.dateTime FROM events AS a "
        "JOIN events AS b ON a.id = b.auction AND b.dateTime BETWEEN a.dateTime AND a.expires WHERE a.event_type = 1 AND "
        "b.event_type = 2 QUALIFY row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.dateTime, b.n) = 1) "
        "WINDOW w AS (PARTITION BY seller ORDER BY dateTime, id ROWS BETWEEN 10 PRECEDING AND CURRENT ROW)",
        "SELECT seller, AVG(price) OVER (PARTITION BY seller ORDER BY `at` ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) FROM ("
        "SELECT a.seller, b.price, b.`dateTime` AS `at`, ROW_NUMBER() OVER (PARTITION BY a.id, a.seller ORDER BY b.price DESC) "
        "AS place FROM auction AS a, bid AS b WHERE a.id = b.auction AND b.`dateTime` BETWEEN a.`dateTime` AND a.expires) "
        "WHERE place <= 1",
        note=_ON_DAY,
    ),
    Query(
        "q7",
        "highest bid of 10 s",
        program(
            _BID,
            'b."auction", b."bidder", b."price", b."dateTime" FROM highest AS h '
            'JOIN bids OVER (RANGE INTERVAL \'10\' SECOND PRECEDING) AS b ON b."price" = h."price"',
            _BIDS
            + stream(
                "highest",
                '"price" BIGINT',
                "MAX(\"price\") FROM bids AS b GROUP BY STEP(b.ROWTIME BY INTERVAL '10' SECOND)",
            ),
        ),
        "SELECT auction, bidder, b.price, dateTime FROM events AS b JOIN (SELECT max(price) AS price, "
        "time_bucket(INTERVAL 10 SECOND, dateTime) + INTERVAL 10 SECOND AS ends FROM events WHERE event_type = 2 GROUP BY 2) AS h "
        "ON b.price = h.price WHERE b.event_type = 2 AND b.dateTime BETWEEN ends - INTERVAL 10 SECOND AND ends",
        "SELECT b.auction, b.bidder, b.price, b.`dateTime` FROM bid AS b JOIN (SELECT MAX(price) AS price, window_end AS `at` "
        "FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND)) GROUP BY window_start, window_end) AS h "
        "ON b.price = h.price WHERE b.`dateTime` BETWEEN `at` - INTERVAL '10' SECOND AND `at`",
    ),
    Query(
        "q8",
        "new persons who sell within 10 s",
        program(
            '"id" BIGINT, "name" VARCHAR(64), "starts" TIMESTAMP',
            'p."id", p."name", p."starts" FROM persons AS p JOIN sellers AS s ON p."id" = s."seller"',
            stream(
                "persons",
                '"id" BIGINT, "name" VARCHAR(64), "starts" TIMESTAMP',
                f'"id", "name", STEP(b.ROWTIME BY INTERVAL \'10\' SECOND) {_SOURCE} = 0 '
                'GROUP BY "id", "name", STEP(b.ROWTIME BY INTERVAL \'10\' SECOND)',
            )
            + stream(
                "sellers",
                '"seller" BIGINT',
                f'"seller" {_SOURCE} = 1 GROUP BY "seller", STEP(b.ROWTIME BY INTERVAL \'10\' SECOND)',
            ),
        ),
        "SELECT DISTINCT p.id, p.name, time_bucket(INTERVAL 10 SECOND, p.dateTime) FROM events AS p JOIN events AS a "
        "ON p.id = a.seller AND time_bucket(INTERVAL 10 SECOND, p.dateTime) = time_bucket(INTERVAL 10 SECOND, a.dateTime) "
        "WHERE p.event_type = 0 AND a.event_type = 1",
        "SELECT p.id, p.name, p.starts FROM (SELECT id, name, window_start AS starts, window_end AS ends FROM TABLE(TUMBLE("
        "TABLE person, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND)) GROUP BY id, name, window_start, window_end) AS p JOIN ("
        "SELECT seller, window_start AS starts, window_end AS ends FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(`dateTime`), "
        "INTERVAL '10' SECOND)) GROUP BY seller, window_start, window_end) AS a "
        "ON p.id = a.seller AND p.starts = a.starts AND p.ends = a.ends",
    ),
    Query(
        "q9",
        "winning bids",
        program(
            '"id" BIGINT, "bidder" BIGINT, "price" BIGINT, "at" TIMESTAMP',
            'f."id", f."bidder", f."price", f."at" FROM firsts AS f JOIN finals AS m ON f."id" = m."id" AND f."price" = m."price"',
            _BIDS + _AUCTIONS + _OFFERS + _WINNERS,
        ),
        "SELECT a.id, b.bidder, b.price, b.dateTime FROM events AS a JOIN events AS b ON a.id = b.auction "
        "AND b.dateTime BETWEEN a.dateTime AND a.expires WHERE a.event_type = 1 AND b.event_type = 2 "
        "QUALIFY row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.dateTime, b.n) = 1",
        "SELECT id, bidder, price, `at` FROM (SELECT a.id, b.bidder, b.price, b.`dateTime` AS `at`, ROW_NUMBER() OVER ("
        "PARTITION BY a.id ORDER BY b.price DESC, b.`dateTime` ASC) AS place FROM auction AS a, bid AS b "
        "WHERE a.id = b.auction AND b.`dateTime` BETWEEN a.`dateTime` AND a.expires) WHERE place <= 1",
        note=f"{_ON_DAY}; four columns of the fourteen",
    ),
    Query(
        "q20",
        "bids with their auction",
        program(
            '"auction" BIGINT, "bidder" BIGINT, "price" BIGINT, "dateTime" TIMESTAMP, "itemName" VARCHAR(32), "seller" BIGINT',
            'b."auction", b."bidder", b."price", b."dateTime", a."itemName", a."seller" '
            f'FROM bids {_HOUR} AS b JOIN auctions {_HOUR} AS a ON b."auction" = a."id"',
            _BIDS
            + stream(
                "auctions",
                '"id" BIGINT, "itemName" VARCHAR(32), "seller" BIGINT',
                f'"id", "itemName", "seller" {_SOURCE} = 1 AND "category" = 10',
            ),
        ),
        "SELECT b.auction, b.bidder, b.price, b.dateTime, a.itemName, a.seller FROM events AS b JOIN events AS a "
        "ON b.auction = a.id WHERE b.event_type = 2 AND a.event_type = 1 AND a.category = 10",
        "SELECT b.auction, b.bidder, b.price, b.`dateTime`, a.itemName, a.seller FROM bid AS b JOIN auction AS a "
        "ON b.auction = a.id WHERE a.category = 10",
        note=f"{_WAITS}; six columns of the sixteen",
    ),
)
