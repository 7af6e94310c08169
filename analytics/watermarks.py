"""WATERMARK FOR … of a stream: rows in any order within a bound, and a stream beside it for those that come later.

    CREATE STREAM rides (city VARCHAR(3), at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '5' SECOND)

The named column is the ROWTIME of the rows; with ``FOR ROWTIME`` it is what the pumps promote (``AS ROWTIME``), or the time
that their rows have. Rows that come later than the bound go to ``RIDES_LATE``, with the time they had in LATE_ROWTIME.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from analytics.dialect import WATERMARK
from analytics.errors import SqlError, closest
from analytics.intervals import milliseconds
from analytics.nodes import Watermark
from analytics.places import place_of

ROWTIME = "ROWTIME"
LATE_SUFFIX = "_LATE"
LATE_ROWTIME = "LATE_ROWTIME"


@dataclass(frozen=True, slots=True)
class Bound:
    """`column` is the number of the column that is the time, None for ROWTIME; rows may lie `late_ms` behind."""

    column: int | None
    late_ms: int


def bound_of(node: Watermark, name: exp.Identifier, folded: str, columns: dict[str, str]) -> Bound:
    """`name` and `folded` are what the watermark is for; `columns` the stream's by name, with their types."""
    place = place_of(name)
    if folded != ROWTIME and folded not in columns:
        near = closest(folded, [*columns, ROWTIME])
        raise SqlError(f"WATERMARK FOR {folded}, which is no column of the stream", place, suggestion=near)
    if folded != ROWTIME and columns[folded] != "TIMESTAMP_MS":
        raise SqlError(f"WATERMARK FOR {folded}, which is no TIMESTAMP", place, expected="ROWTIME or a TIMESTAMP")
    value = node.expression.unnest()
    late_ms = 0
    if isinstance(value, exp.Sub) and isinstance(value.expression, exp.Interval):
        late_ms, value = milliseconds(value.expression), value.this.unnest()
    if not _is(value, name):
        raise SqlError("a watermark is the time less a fixed interval", place, expected=WATERMARK)
    number = None if folded == ROWTIME else list(columns).index(folded)
    return Bound(number, late_ms)


def _is(value: exp.Expr, name: exp.Identifier) -> bool:
    if not isinstance(value, exp.Column) or value.args.get("table") is not None:
        return False
    found = value.this
    return bool(found.quoted) == bool(name.quoted) and (
        found.name == name.name if name.quoted else found.name.upper() == name.name.upper()
    )
