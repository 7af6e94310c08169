"""The queries of Nexmark in the streaming language, beside what says their rows and what Flink runs.

`program` fills the stream RESULT. `batch` gives the same rows in DuckDB over a table `events` of all events, with their
arrival as `arrival`; `flink` is the published query over the views `person`, `auction` and `bid`. A query whose answer
changes with every event gives one row a group and window instead, when the window is over.
"""

from __future__ import annotations

from dataclasses import dataclass

SIDE_KEYS = 10_000
"""Rows of the reference table SIDE of query 13: key → value."""


@dataclass(frozen=True, slots=True)
class Query:
    """`arrival`: rows have the time at which they arrived, not that of the event. `note` is what differs from the
    published query."""

    name: str
    title: str
    program: str
    batch: str
    flink: str
    arrival: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """A query that cannot be expressed, and why."""

    name: str
    title: str
    reason: str


def _program(columns: str, select: str) -> str:
    return f"CREATE STREAM result ({columns});\nCREATE PUMP q AS INSERT INTO result SELECT STREAM {select};\n"


_BIDS = 'FROM SOURCE_SQL_STREAM_001 AS b WHERE b."event_type" = 2'
_IN_CENTS = "CAST(price AS DECIMAL(20, 0))"
_RANKS = """
    SUM(CASE WHEN "price" < 10000 THEN 1 ELSE 0 END),
    SUM(CASE WHEN "price" >= 10000 AND "price" < 1000000 THEN 1 ELSE 0 END),
    SUM(CASE WHEN "price" >= 1000000 THEN 1 ELSE 0 END)"""
_RANKS_FILTERED = """
    count(*) FILTER (WHERE price < 10000),
    count(*) FILTER (WHERE price >= 10000 AND price < 1000000),
    count(*) FILTER (WHERE price >= 1000000)"""
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
        _program(
            '"auction" BIGINT, "bidder" BIGINT, "price" BIGINT, "dateTime" TIMESTAMP, "extra" VARCHAR(256)',
            f'"auction", "bidder", "price", "dateTime", "extra" {_BIDS}',
        ),
        "SELECT auction, bidder, price, dateTime, extra FROM events WHERE event_type = 2",
        "SELECT auction, bidder, price, `dateTime`, extra FROM bid",
    ),
    Query(
        "q1",
        "currency conversion",
        _program(
            '"auction" BIGINT, "bidder" BIGINT, "price" DECIMAL(23, 3), "dateTime" TIMESTAMP, "extra" VARCHAR(256)',
            f'"auction", "bidder", 0.908 * "price", "dateTime", "extra" {_BIDS}',
        ),
        f"SELECT auction, bidder, CAST(0.908 * {_IN_CENTS} AS DECIMAL(23, 3)), dateTime, extra FROM events WHERE event_type = 2",
        "SELECT auction, bidder, 0.908 * price AS price, `dateTime`, extra FROM bid",
    ),
    Query(
        "q2",
        "selection",
        _program('"auction" BIGINT, "price" BIGINT', f'"auction", "price" {_BIDS} AND MOD(b."auction", 123) = 0'),
        "SELECT auction, price FROM events WHERE event_type = 2 AND auction % 123 = 0",
        "SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0",
    ),
    Query(
        "q10",
        "log with date and minute",
        _program(
            '"auction" BIGINT, "bidder" BIGINT, "price" BIGINT, "dateTime" TIMESTAMP, "extra" VARCHAR(256), '
            '"date" VARCHAR(10), "minute" VARCHAR(5)',
            '"auction", "bidder", "price", "dateTime", "extra", SUBSTRING(CAST("dateTime" AS VARCHAR(23)) FROM 1 FOR 10), '
            f'SUBSTRING(CAST("dateTime" AS VARCHAR(23)) FROM 12 FOR 5) {_BIDS}',
        ),
        "SELECT auction, bidder, price, dateTime, extra, strftime(dateTime, '%Y-%m-%d'), strftime(dateTime, '%H:%M') "
        "FROM events WHERE event_type = 2",
        "SELECT auction, bidder, price, `dateTime`, extra, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd'), "
        "DATE_FORMAT(`dateTime`, 'HH:mm') FROM bid",
        note="rows go to a stream, not to partitioned files",
    ),
    Query(
        "q12",
        "bids of a person in 10 s of arrival",
        _program(
            '"bidder" BIGINT, "bids" BIGINT, "starts" TIMESTAMP',
            f"\"bidder\", COUNT(*), STEP(b.ROWTIME BY INTERVAL '10' SECOND) {_BIDS} "
            "GROUP BY \"bidder\", STEP(b.ROWTIME BY INTERVAL '10' SECOND)",
        ),
        "SELECT bidder, count(*), time_bucket(INTERVAL 10 SECOND, arrival) FROM events WHERE event_type = 2 GROUP BY 1, 3",
        "SELECT bidder, count(*), window_start FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(arrival), "
        "INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end",
        arrival=True,
    ),
    Query(
        "q13",
        "join with a reference table",
        _program(
            '"auction" BIGINT, "bidder" BIGINT, "price" BIGINT, "dateTime" TIMESTAMP, "value" VARCHAR(16)',
            'b."auction", b."bidder", b."price", b."dateTime", s."value" FROM SOURCE_SQL_STREAM_001 AS b '
            f'JOIN SIDE AS s ON MOD(b."auction", {SIDE_KEYS}) = s."key" WHERE b."event_type" = 2',
        ),
        "SELECT auction, bidder, price, dateTime, CAST(auction % 10000 AS VARCHAR) FROM events WHERE event_type = 2",
        "SELECT b.auction, b.bidder, b.price, b.`dateTime`, s.`value` FROM bid AS b JOIN side AS s "
        f"ON MOD(b.auction, {SIDE_KEYS}) = s.`key`",
    ),
    Query(
        "q14",
        "calculation",
        _program(
            '"auction" BIGINT, "bidder" BIGINT, "price" DECIMAL(23, 3), "type" VARCHAR(16), "dateTime" TIMESTAMP, '
            '"extra" VARCHAR(256)',
            """"auction", "bidder", 0.908 * "price",
            CASE WHEN EXTRACT(HOUR FROM "dateTime") >= 8 AND EXTRACT(HOUR FROM "dateTime") <= 18 THEN 'dayTime'
                 WHEN EXTRACT(HOUR FROM "dateTime") <= 6 OR EXTRACT(HOUR FROM "dateTime") >= 20 THEN 'nightTime'
                 ELSE 'otherTime' END, "dateTime", "extra" """
            + _BIDS
            + ' AND 0.908 * "price" > 1000000 AND 0.908 * "price" < 50000000',
        ),
        f"SELECT auction, bidder, CAST(0.908 * {_IN_CENTS} AS DECIMAL(23, 3)), CASE WHEN hour(dateTime) BETWEEN 8 AND 18 THEN 'dayTime' "
        "WHEN hour(dateTime) <= 6 OR hour(dateTime) >= 20 THEN 'nightTime' ELSE 'otherTime' END, dateTime, extra "
        f"FROM events WHERE event_type = 2 AND 0.908 * {_IN_CENTS} > 1000000 AND 0.908 * {_IN_CENTS} < 50000000",
        "SELECT auction, bidder, 0.908 * price AS price, CASE WHEN HOUR(`dateTime`) >= 8 AND HOUR(`dateTime`) <= 18 THEN 'dayTime' "
        "WHEN HOUR(`dateTime`) <= 6 OR HOUR(`dateTime`) >= 20 THEN 'nightTime' ELSE 'otherTime' END, `dateTime`, extra "
        "FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000",
        note="without the count of a letter, for which the published query brings a function of its own",
    ),
    Query(
        "q17",
        "auction statistics of a day",
        _program(
            '"auction" BIGINT, "day" TIMESTAMP, "bids" BIGINT, "rank1" BIGINT, "rank2" BIGINT, "rank3" BIGINT, '
            '"least" BIGINT, "most" BIGINT, "mean" BIGINT, "total" BIGINT',
            f'"auction", FLOOR(b.ROWTIME TO DAY), COUNT(*), {_RANKS}, MIN("price"), MAX("price"), AVG("price"), SUM("price") '
            f'{_BIDS} GROUP BY "auction", FLOOR(b.ROWTIME TO DAY)',
        ),
        f"SELECT auction, date_trunc('day', dateTime), count(*), {_RANKS_FILTERED}, min(price), max(price), sum(price) // count(*), "
        "sum(price) FROM events WHERE event_type = 2 GROUP BY 1, 2",
        f"SELECT auction, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd'), count(*), {_RANKS_FILTERED}, min(price), max(price), "
        "avg(price), sum(price) FROM bid GROUP BY auction, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd')",
        note="a row when the day is over, not at each bid",
    ),
    Query(
        "q21",
        "channel id",
        _program(
            '"auction" BIGINT, "bidder" BIGINT, "price" BIGINT, "channel" VARCHAR(32), "channel_id" VARCHAR(32)',
            f""""auction", "bidder", "price", "channel",
            CASE WHEN LOWER("channel") = 'apple' THEN '0' WHEN LOWER("channel") = 'google' THEN '1'
                 WHEN LOWER("channel") = 'facebook' THEN '2' WHEN LOWER("channel") = 'baidu' THEN '3'
                 ELSE SUBSTRING({_CHANNEL_ID} FROM 1 FOR POSITION('&' IN {_CHANNEL_ID} || '&') - 1) END """
            + _BIDS
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
    ),
    Query(
        "q22",
        "directories of a URL",
        _program(
            '"auction" BIGINT, "bidder" BIGINT, "price" BIGINT, "channel" VARCHAR(32), "dir1" VARCHAR(32), "dir2" VARCHAR(32), '
            '"dir3" VARCHAR(32)',
            f'"auction", "bidder", "price", "channel", "d1", "d2", "d3" FROM {_PATH}',
        ),
        "SELECT auction, bidder, price, channel, split_part(url, '/', 4), split_part(url, '/', 5), split_part(url, '/', 6) "
        "FROM events WHERE event_type = 2",
        "SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3), SPLIT_INDEX(url, '/', 4), SPLIT_INDEX(url, '/', 5) "
        "FROM bid",
        note="by POSITION and SUBSTRING, not by a function that splits",
    ),
)

MISSING = (
    Missing("q3", "sellers in three states", "it joins two streams"),
    Missing("q4", "mean winning price of a category", "it joins two streams"),
    Missing("q5", "auctions with most bids", "hopping windows"),
    Missing("q6", "mean winning price of a seller", "it joins two streams; Flink has no answer either"),
    Missing("q7", "highest bid", "it joins two streams"),
    Missing("q8", "new persons who sell", "it joins two streams"),
    Missing("q9", "winning bids", "it joins two streams"),
    Missing("q11", "sessions of a person", "session windows"),
    Missing("q15", "bidding statistics of a day", "COUNT(DISTINCT …)"),
    Missing("q16", "channel statistics of a day", "COUNT(DISTINCT …)"),
    Missing("q18", "last bid of a person", "ROW_NUMBER"),
    Missing("q19", "ten highest bids of an auction", "ROW_NUMBER"),
    Missing("q20", "bids with their auction", "it joins two streams"),
)
