"""What a query of the benchmark is."""

from __future__ import annotations

from dataclasses import dataclass

SIDE_KEYS = 10_000
"""Rows of the reference table SIDE of query 13: key → value."""

BIDS = 'FROM SOURCE_SQL_STREAM_001 AS b WHERE b."event_type" = 2'


@dataclass(frozen=True, slots=True)
class Query:
    """`program` fills the stream RESULT. `batch` gives the same rows in DuckDB over a table `events` of all events in their
    order, with their number `n` and their arrival; `flink` is the published query over the views `person`, `auction` and
    `bid`. `arrival`: rows have the time at which they arrived, not that of the event. `generated`: Flink's
    generator, which makes bids without event time, will do. `note` is what differs from the published query."""

    name: str
    title: str
    program: str
    batch: str
    flink: str
    arrival: bool = False
    generated: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """A query that cannot be expressed, and why."""

    name: str
    title: str
    reason: str


def program(columns: str, select: str, before: str = "") -> str:
    """Statements `before`, the stream RESULT and the pump into it."""
    return f"{before}CREATE STREAM result ({columns});\nCREATE PUMP q AS INSERT INTO result SELECT STREAM {select};\n"


def stream(name: str, columns: str, select: str) -> str:
    """A stream between, with its pump."""
    return f"CREATE STREAM {name} ({columns});\nCREATE PUMP into_{name} AS INSERT INTO {name} SELECT STREAM {select};\n"
