"""What must be equal at the end: two independent ways to every number, and a table of what differs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from gateway.demo.flights import Files

Key = tuple[Any, ...]
Rows = Mapping[Key, Key]
"""Values by key."""

SHOWN_MAX = 20
"""Differences that are shown of one comparison: the first ones tell the story."""


@dataclass(frozen=True, slots=True)
class Difference:
    what: str
    key: str
    expected: str
    found: str


@dataclass(slots=True)
class Reconciliation:
    """Collects comparisons. `lines` say what was compared, with its numbers, and whether it agreed."""

    lines: list[tuple[str, str, bool]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    @property
    def agreed(self) -> bool:
        return not self.differences

    def equal(self, what: str, expected: object, found: object, shown: str | None = None) -> None:
        self.rows(
            what, {(): (expected,)}, {(): (found,)}, shown or f"{found:,}" if isinstance(found, int) else str(found)
        )

    def rows(self, what: str, expected: Rows, found: Rows, shown: str | None = None) -> None:
        """Compares values key by key; floating-point numbers to 12 digits, since sums may be made in another order."""
        missing = [
            Difference(what, _text(key), _text(expected[key]), "missing") for key in expected if key not in found
        ]
        extra = [Difference(what, _text(key), "nothing", _text(found[key])) for key in found if key not in expected]
        other = [
            Difference(what, _text(key), _text(expected[key]), _text(found[key]))
            for key in expected
            if key in found and not _same(expected[key], found[key])
        ]
        differences = missing + extra + other
        self.lines.append((what, shown or f"{len(found):,} rows", not differences))
        self.differences += differences[:SHOWN_MAX]
        if len(differences) > SHOWN_MAX:
            self.differences.append(Difference(what, f"and {len(differences) - SHOWN_MAX:,} more", "", ""))


@dataclass(frozen=True, slots=True)
class Truth:
    """What plain DuckDB says of the CSV files."""

    flights: int
    cancelled: int
    by_month: Rows
    """(month, delay class) → (flights,), of those that left."""
    hourly: Rows
    """(hour, carrier) → (airline, flights, flights that left, their mean departure delay)."""
    weather: Rows
    """(visibility class,) → (flights, mean departure delay), of those that left."""


def truth(files: Files) -> Truth:
    database = duckdb.connect()
    for name in ("flights", "airlines", "weather"):
        database.execute(f"CREATE TABLE {name} AS FROM read_csv('{getattr(files, name)}')")

    def rows(query: str, keys: int) -> Rows:
        return {row[:keys]: row[keys:] for row in database.execute(query).fetchall()}

    counts = rows("SELECT 'all', count(*), count(*) FILTER (dep_time IS NULL) FROM flights", 1)
    flights, cancelled = counts["all",]
    return Truth(
        flights,
        cancelled,
        rows(
            """SELECT month, CASE WHEN dep_delay < 15 THEN 'on time' WHEN dep_delay < 60 THEN 'late' ELSE 'very late' END,
                      count(*)
               FROM flights WHERE dep_time IS NOT NULL GROUP BY ALL""",
            2,
        ),
        rows(
            """SELECT time_hour AT TIME ZONE 'UTC', carrier, name, count(*), count(dep_delay), avg(dep_delay)
               FROM flights JOIN airlines USING (carrier) GROUP BY ALL""",
            2,
        ),
        rows(
            f"""SELECT {visibility("visib")}, count(*), avg(dep_delay)
                FROM flights JOIN weather USING (origin, time_hour) WHERE dep_time IS NOT NULL GROUP BY ALL""",
            1,
        ),
    )


def visibility(miles: str) -> str:
    """The SQL expression of the visibility class of a column in miles."""
    return f"CASE WHEN {miles} < 1 THEN 'fog' WHEN {miles} < 5 THEN 'haze' ELSE 'clear' END"


def delivered(bucket: Path) -> tuple[Rows, int]:
    """What lies in the Parquet files by (month, delay class), the month taken from the path, and the records that went
    to the error output."""
    database = duckdb.connect()
    failed = sum(len(path.read_bytes().splitlines()) for path in bucket.rglob("errors/**/*") if path.is_file())
    files = str(bucket / "flights" / "**" / "*.parquet")
    query = f"""SELECT CAST(month AS INTEGER), delay_class, count(*)
                FROM read_parquet('{files}', hive_partitioning = true) GROUP BY ALL"""
    if not any(bucket.rglob("*.parquet")):
        return {}, failed
    return {row[:2]: row[2:] for row in database.execute(query).fetchall()}, failed


def _same(expected: Key, found: Key) -> bool:
    return len(expected) == len(found) and all(map(_equal, expected, found))


def _equal(expected: Any, found: Any) -> bool:
    if isinstance(expected, float) and isinstance(found, float):
        return math.isclose(expected, found, rel_tol=1e-12, abs_tol=1e-12)
    return bool(expected == found)


def _text(values: Key) -> str:
    return ", ".join(str(value) for value in values)
