"""Queries that group events: what changes with every event in the published query is a row at the end of a day here."""

from __future__ import annotations

from benchmarks.nexmark.query import BIDS, Query, program

_RANKS = """
    SUM(CASE WHEN "price" < 10000 THEN 1 ELSE 0 END),
    SUM(CASE WHEN "price" >= 10000 AND "price" < 1000000 THEN 1 ELSE 0 END),
    SUM(CASE WHEN "price" >= 1000000 THEN 1 ELSE 0 END)"""
_RANKS_FILTERED = """
    count(*) FILTER (WHERE price < 10000),
    count(*) FILTER (WHERE price >= 10000 AND price < 1000000),
    count(*) FILTER (WHERE price >= 1000000)"""

_ON_DAY = "a row when the day is over, not at each bid"


def _distinct(column: str) -> str:
    """How many there are, in all and in each rank of prices."""
    conditions = ('"price" < 10000', '"price" >= 10000 AND "price" < 1000000', '"price" >= 1000000')
    ranks = [f'COUNT(DISTINCT CASE WHEN {condition} THEN "{column}" END)' for condition in conditions]
    return ", ".join([f'COUNT(DISTINCT "{column}")', *ranks])


def _distinct_filtered(column: str) -> str:
    conditions = ("price < 10000", "price >= 10000 AND price < 1000000", "price >= 1000000")
    ranks = [f"count(DISTINCT {column}) FILTER (WHERE {condition})" for condition in conditions]
    return ", ".join([f"count(DISTINCT {column})", *ranks])


_COUNTS = ", ".join(
    f'"{prefix}{of}" BIGINT' for of in ("bids", "bidders", "auctions") for prefix in ("", "rank1_", "rank2_", "rank3_")
)

_SESSION = "(b.ROWTIME, INTERVAL '10' SECOND)"

QUERIES = (
    Query(
        "q11",
        "bids of a person without a break of 10 s",
        program(
            '"bidder" BIGINT, "bids" BIGINT, "starts" TIMESTAMP, "ends" TIMESTAMP',
            f'"bidder", COUNT(*), SESSION_START{_SESSION}, SESSION_END{_SESSION} {BIDS} GROUP BY "bidder", SESSION{_SESSION}',
        ),
        "SELECT bidder, count(*), min(dateTime), max(dateTime) + INTERVAL 10 SECOND FROM (SELECT *, sum(begins) OVER w AS number "
        "FROM (SELECT *, CAST(coalesce(dateTime - lag(dateTime) OVER w >= INTERVAL 10 SECOND, true) AS INTEGER) AS begins "
        "FROM events WHERE event_type = 2 WINDOW w AS (PARTITION BY bidder ORDER BY dateTime, n)) "
        "WINDOW w AS (PARTITION BY bidder ORDER BY dateTime, n)) GROUP BY bidder, number",
        "SELECT bidder, count(*), window_start, window_end FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, "
        "DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end",
    ),
    Query(
        "q12",
        "bids of a person in 10 s of arrival",
        program(
            '"bidder" BIGINT, "bids" BIGINT, "starts" TIMESTAMP',
            f"\"bidder\", COUNT(*), STEP(b.ROWTIME BY INTERVAL '10' SECOND) {BIDS} "
            "GROUP BY \"bidder\", STEP(b.ROWTIME BY INTERVAL '10' SECOND)",
        ),
        "SELECT bidder, count(*), time_bucket(INTERVAL 10 SECOND, arrival) FROM events WHERE event_type = 2 GROUP BY 1, 3",
        "SELECT bidder, count(*), window_start FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(arrival), "
        "INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end",
        arrival=True,
        generated=True,
    ),
    Query(
        "q15",
        "bidding statistics of a day",
        program(
            f'"day" TIMESTAMP, {_COUNTS}',
            f"FLOOR(b.ROWTIME TO DAY), COUNT(*), {_RANKS}, {_distinct('bidder')}, {_distinct('auction')} "
            f"{BIDS} GROUP BY FLOOR(b.ROWTIME TO DAY)",
        ),
        f"SELECT date_trunc('day', dateTime), count(*), {_RANKS_FILTERED}, {_distinct_filtered('bidder')}, "
        f"{_distinct_filtered('auction')} FROM events WHERE event_type = 2 GROUP BY 1",
        f"SELECT DATE_FORMAT(`dateTime`, 'yyyy-MM-dd'), count(*), {_RANKS_FILTERED}, {_distinct_filtered('bidder')}, "
        f"{_distinct_filtered('auction')} FROM bid GROUP BY DATE_FORMAT(`dateTime`, 'yyyy-MM-dd')",
        note=_ON_DAY,
        generated=True,
    ),
    Query(
        "q16",
        "channel statistics of a day",
        program(
            f'"channel" VARCHAR(32), "day" TIMESTAMP, "minute" VARCHAR(5), {_COUNTS}',
            '"channel", FLOOR(b.ROWTIME TO DAY), MAX(SUBSTRING(CAST("dateTime" AS VARCHAR(23)) FROM 12 FOR 5)), COUNT(*), '
            f'{_RANKS}, {_distinct("bidder")}, {_distinct("auction")} {BIDS} GROUP BY "channel", FLOOR(b.ROWTIME TO DAY)',
        ),
        f"SELECT channel, date_trunc('day', dateTime), max(strftime(dateTime, '%H:%M')), count(*), {_RANKS_FILTERED}, "
        f"{_distinct_filtered('bidder')}, {_distinct_filtered('auction')} FROM events WHERE event_type = 2 GROUP BY 1, 2",
        f"SELECT channel, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd'), max(DATE_FORMAT(`dateTime`, 'HH:mm')), count(*), "
        f"{_RANKS_FILTERED}, {_distinct_filtered('bidder')}, {_distinct_filtered('auction')} "
        "FROM bid GROUP BY channel, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd')",
        note=_ON_DAY,
        generated=True,
    ),
    Query(
        "q17",
        "auction statistics of a day",
        program(
            '"auction" BIGINT, "day" TIMESTAMP, "bids" BIGINT, "rank1" BIGINT, "rank2" BIGINT, "rank3" BIGINT, '
            '"least" BIGINT, "most" BIGINT, "mean" BIGINT, "total" BIGINT',
            f'"auction", FLOOR(b.ROWTIME TO DAY), COUNT(*), {_RANKS}, MIN("price"), MAX("price"), AVG("price"), SUM("price") '
            f'{BIDS} GROUP BY "auction", FLOOR(b.ROWTIME TO DAY)',
        ),
        f"SELECT auction, date_trunc('day', dateTime), count(*), {_RANKS_FILTERED}, min(price), max(price), sum(price) // count(*), "
        "sum(price) FROM events WHERE event_type = 2 GROUP BY 1, 2",
        f"SELECT auction, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd'), count(*), {_RANKS_FILTERED}, min(price), max(price), "
        "avg(price), sum(price) FROM bid GROUP BY auction, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd')",
        note=_ON_DAY,
        generated=True,
    ),
)
