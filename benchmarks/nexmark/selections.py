"""Queries that look at one event at a time."""

from __future__ import annotations

from benchmarks.nexmark.query import BIDS, SIDE_KEYS, Query, program

_IN_CENTS = "CAST(price AS DECIMAL(20, 0))"
_PATH = """(
    SELECT STREAM "auction", "bidder", "price", "channel", "d1", "d2", SUBSTRING("r2" FROM 1 FOR POSITION('/' IN "r2") - 1) AS "d3"
    FROM (
        SELECT STREAM "auction", "bidder", "price", "channel", "d1", SUBSTRING("r1" FROM 1 FOR POSITION('/' IN "r1") - 1) AS "d2",
            SUBSTRING("r1" FROM POSITION('/' IN "r1") + 1) AS "r2"
        FROM (
            SELECT STREAM "auction", "bidder", "price", "channel", SUBSTRING("path" FROM 1 FOR POSITION('/' IN "path") - 1) AS "d1",
                SUBSTRING("path" FROM POSITION('/' IN "path") + 1) AS "r1"
            FROM (
                SELECT STREAM "auction", "bidder", "price", "channel", SUBSTRING("host" FROM POSITION('/' IN "host") + 1) AS "path"
                FROM (
                    SELECT STREAM "auction", "bidder", "price", "channel", SUBSTRING("url" FROM POSITION('//' IN "url") + 2) AS "host"
                    FROM SOURCE_SQL_STREAM_001 WHERE "event_type" = 2
                ) AS hosts
            ) AS paths
        ) AS firsts
    ) AS seconds
) AS thirds"""
_CHANNEL_ID = 'SUBSTRING("url" FROM POSITION(\'&channel_id=\' IN "url") + 12)'

QUERIES = (
    Query(
        "q0",
        "pass through",
        program(
            '"auction" BIGINT, "bidder" BIGINT, "price" BIGINT, "dateTime" TIMESTAMP, "extra" VARCHAR(256)',
            f'"auction", "bidder", "price", "dateTime", "extra" {BIDS}',
        ),
        "SELECT auction, bidder, price, dateTime, extra FROM events WHERE event_type = 2",
        "SELECT auction, bidder, price, `dateTime`, extra FROM bid",
        generated=True,
    ),
    Query(
        "q1",
        "currency conversion",
        program(
            '"auction" BIGINT, "bidder" BIGINT, "price" DECIMAL(23, 3), "dateTime" TIMESTAMP, "extra" VARCHAR(256)',
            f'"auction", "bidder", 0.908 * "price", "dateTime", "extra" {BIDS}',
        ),
        f"SELECT auction, bidder, CAST(0.908 * {_IN_CENTS} AS DECIMAL(23, 3)), dateTime, extra FROM events WHERE event_type = 2",
        "SELECT auction, bidder, 0.908 * price AS price, `dateTime`, extra FROM bid",
        generated=True,
    ),
    Query(
        "q2",
        "selection",
        program('"auction" BIGINT, "price" BIGINT', f'"auction", "price" {BIDS} AND MOD(b."auction", 123) = 0'),
        "SELECT auction, price FROM events WHERE event_type = 2 AND auction % 123 = 0",
        "SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0",
        generated=True,
    ),
    Query(
        "q10",
        "log with date and minute",
        program(
            '"auction" BIGINT, "bidder" BIGINT, "price" BIGINT, "dateTime" TIMESTAMP, "extra" VARCHAR(256), '
            '"date" VARCHAR(10), "minute" VARCHAR(5)',
            '"auction", "bidder", "price", "dateTime", "extra", SUBSTRING(CAST("dateTime" AS VARCHAR(23)) FROM 1 FOR 10), '
            f'SUBSTRING(CAST("dateTime" AS VARCHAR(23)) FROM 12 FOR 5) {BIDS}',
        ),
        "SELECT auction, bidder, price, dateTime, extra, strftime(dateTime, '%Y-%m-%d'), strftime(dateTime, '%H:%M') "
        "FROM events WHERE event_type = 2",
        "SELECT auction, bidder, price, `dateTime`, extra, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd'), "
        "DATE_FORMAT(`dateTime`, 'HH:mm') FROM bid",
        note="rows go to a stream, not to partitioned files",
        generated=True,
    ),
    Query(
        "q13",
        "join with a reference table",
        program(
            '"auction" BIGINT, "bidder" BIGINT, "price" BIGINT, "dateTime" TIMESTAMP, "value" VARCHAR(16)',
            'b."auction", b."bidder", b."price", b."dateTime", s."value" FROM SOURCE_SQL_STREAM_001 AS b '
            f'JOIN SIDE AS s ON MOD(b."auction", {SIDE_KEYS}) = s."key" WHERE b."event_type" = 2',
        ),
        "SELECT auction, bidder, price, dateTime, CAST(auction % 10000 AS VARCHAR) FROM events WHERE event_type = 2",
        "SELECT b.auction, b.bidder, b.price, b.`dateTime`, s.`value` FROM bid AS b JOIN side AS s "
        f"ON MOD(b.auction, {SIDE_KEYS}) = s.`key`",
        generated=True,
    ),
    Query(
        "q14",
        "calculation",
        program(
            '"auction" BIGINT, "bidder" BIGINT, "price" DECIMAL(23, 3), "type" VARCHAR(16), "dateTime" TIMESTAMP, '
            '"extra" VARCHAR(256)',
            """"auction", "bidder", 0.908 * "price",
            CASE WHEN EXTRACT(HOUR FROM "dateTime") >= 8 AND EXTRACT(HOUR FROM "dateTime") <= 18 THEN 'dayTime'
                 WHEN EXTRACT(HOUR FROM "dateTime") <= 6 OR EXTRACT(HOUR FROM "dateTime") >= 20 THEN 'nightTime'
                 ELSE 'otherTime' END, "dateTime", "extra" """
            + BIDS
            + ' AND 0.908 * "price" > 1000000 AND 0.908 * "price" < 50000000',
        ),
        f"SELECT auction, bidder, CAST(0.908 * {_IN_CENTS} AS DECIMAL(23, 3)), CASE WHEN hour(dateTime) BETWEEN 8 AND 18 THEN 'dayTime' "
        "WHEN hour(dateTime) <= 6 OR hour(dateTime) >= 20 THEN 'nightTime' ELSE 'otherTime' END, dateTime, extra "
        f"FROM events WHERE event_type = 2 AND 0.908 * {_IN_CENTS} > 1000000 AND 0.908 * {_IN_CENTS} < 50000000",
        "SELECT auction, bidder, 0.908 * price AS price, CASE WHEN HOUR(`dateTime`) >= 8 AND HOUR(`dateTime`) <= 18 THEN 'dayTime' "
        "WHEN HOUR(`dateTime`) <= 6 OR HOUR(`dateTime`) >= 20 THEN 'nightTime' ELSE 'otherTime' END, `dateTime`, extra "
        "FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000",
        note="without the count of a letter, for which the published query brings a function of its own",
        generated=True,
    ),
    Query(
        "q21",
        "channel id",
        program(
            '"auction" BIGINT, "bidder" BIGINT, "price" BIGINT, "channel" VARCHAR(32), "channel_id" VARCHAR(32)',
            f""""auction", "bidder", "price", "channel",
            CASE WHEN LOWER("channel") = 'apple' THEN '0' WHEN LOWER("channel") = 'google' THEN '1'
                 WHEN LOWER("channel") = 'facebook' THEN '2' WHEN LOWER("channel") = 'baidu' THEN '3'
                 ELSE SUBSTRING({_CHANNEL_ID} FROM 1 FOR POSITION('&' IN {_CHANNEL_ID} || '&') - 1) END """
            + BIDS
            + " AND (POSITION('&channel_id=' IN \"url\") > 0 OR LOWER(\"channel\") IN ('apple', 'google', 'facebook', 'baidu'))",
        ),
        "SELECT auction, bidder, price, channel, CASE lower(channel) WHEN 'apple' THEN '0' WHEN 'google' THEN '1' WHEN 'facebook' "
        "THEN '2' WHEN 'baidu' THEN '3' ELSE regexp_extract(url, '(&|^)channel_id=([^&]*)', 2) END FROM events WHERE event_type = 2 "
        "AND (regexp_matches(url, '(&|^)channel_id=([^&]*)') OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu'))",
        "SELECT auction, bidder, price, channel, CASE WHEN LOWER(channel) = 'apple' THEN '0' WHEN LOWER(channel) = 'google' THEN '1' "
        "WHEN LOWER(channel) = 'facebook' THEN '2' WHEN LOWER(channel) = 'baidu' THEN '3' "
        "ELSE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) END FROM bid "
        "WHERE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) IS NOT NULL "
        "OR LOWER(channel) IN ('apple', 'google', 'facebook', 'baidu')",
        note="by POSITION and SUBSTRING, not by a regular expression",
        generated=True,
    ),
    Query(
        "q22",
        "directories of a URL",
        program(
            '"auction" BIGINT, "bidder" BIGINT, "price" BIGINT, "channel" VARCHAR(32), "dir1" VARCHAR(32), "dir2" VARCHAR(32), '
            '"dir3" VARCHAR(32)',
            f'"auction", "bidder", "price", "channel", "d1", "d2", "d3" FROM {_PATH}',
        ),
        "SELECT auction, bidder, price, channel, split_part(url, '/', 4), split_part(url, '/', 5), split_part(url, '/', 6) "
        "FROM events WHERE event_type = 2",
        "SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3), SPLIT_INDEX(url, '/', 4), SPLIT_INDEX(url, '/', 5) "
        "FROM bid",
        note="by POSITION and SUBSTRING, not by a function that splits",
        generated=True,
    ),
)
