"""Queries of the first rows of a key, whose result is a table: what it holds in the end is compared."""

from __future__ import annotations

from benchmarks.nexmark.query import Query

_BID = (
    '"auction" BIGINT, "bidder" BIGINT, "price" BIGINT, "channel" VARCHAR(32), "url" VARCHAR(128), "dateTime" TIMESTAMP'
)
_NAMES = '"auction", "bidder", "price", "channel", "url", "dateTime", "extra"'
_NOTE = "into a table that keeps a day"


def _table(columns: str, names: str, keys: str, order: str, most: int) -> str:
    return f"""CREATE TABLE result ({_BID}, {columns}) RETAIN INTERVAL '1' DAY;
CREATE PUMP q AS INSERT INTO result SELECT STREAM {names} FROM (
  SELECT STREAM *, ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {order}) AS place
  FROM SOURCE_SQL_STREAM_001 AS b WHERE b."event_type" = 2)
WHERE place <= {most};
"""


QUERIES = (
    Query(
        "q18",
        "last bid of a person on an auction",
        _table('"extra" VARCHAR(256)', _NAMES, '"bidder", "auction"', "b.ROWTIME DESC", 1),
        "SELECT auction, bidder, price, channel, url, dateTime, extra FROM events WHERE event_type = 2 "
        "QUALIFY row_number() OVER (PARTITION BY bidder, auction ORDER BY dateTime DESC, n DESC) = 1",
        "SELECT auction, bidder, price, channel, url, `dateTime`, extra FROM (SELECT *, ROW_NUMBER() OVER "
        "(PARTITION BY bidder, auction ORDER BY `dateTime` DESC) AS place FROM bid) WHERE place <= 1",
        note=_NOTE,
        generated=True,
    ),
    Query(
        "q19",
        "ten highest bids of an auction",
        _table('"extra" VARCHAR(256), "place" BIGINT', f"{_NAMES}, place", '"auction"', '"price" DESC', 10),
        "SELECT auction, bidder, price, channel, url, dateTime, extra, "
        "row_number() OVER (PARTITION BY auction ORDER BY price DESC, dateTime, n) AS place "
        "FROM events WHERE event_type = 2 QUALIFY place <= 10",
        "SELECT auction, bidder, price, channel, url, `dateTime`, extra, place FROM (SELECT *, ROW_NUMBER() OVER "
        "(PARTITION BY auction ORDER BY price DESC) AS place FROM bid) WHERE place <= 10",
        note=_NOTE,
        generated=True,
    ),
)
