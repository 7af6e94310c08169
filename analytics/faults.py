"""``error_stream``: what became of the rows that failed."""

from __future__ import annotations

import re
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from analytics.plan import StreamPlan
from analytics.program import ERROR_STREAM, Declared
from analytics.types import SqlType

MESSAGE_SIZE_MAX = 4_096
ROW_SIZE_MAX = 24_576
"""Bytes of the row that is kept: as hexadecimal digits they fill VARCHAR(49152)."""

_TEXT = pa.string()
_TIME = SqlType("TIMESTAMP_MS", pa.timestamp("ms"))

STREAM = StreamPlan(
    ERROR_STREAM,
    ERROR_STREAM,
    (
        Declared("ERROR_TIME", _TIME),
        Declared("ERROR_LEVEL", SqlType("VARCHAR", _TEXT, 10)),
        Declared("ERROR_NAME", SqlType("VARCHAR", _TEXT, 32)),
        Declared("MESSAGE", SqlType("VARCHAR", _TEXT, MESSAGE_SIZE_MAX)),
        Declared("DATA_ROWTIME", _TIME),
        Declared("DATA_ROW", SqlType("VARCHAR", _TEXT, 2 * ROW_SIZE_MAX)),
        Declared("PUMP_NAME", SqlType("VARCHAR", _TEXT, 128)),
    ),
)

SCHEMA = pa.schema([("rt", _TIME.arrow)] + [(f"c{i}", column.type.arrow) for i, column in enumerate(STREAM.columns)])


def rows(
    now_ms: int,
    names: Sequence[str],
    messages: Sequence[str],
    times: Sequence[int | None],
    data: Sequence[bytes],
    pump: str | None = None,
) -> pa.Table:
    """A row of the error stream for each: what kind of error, the sentence, the ROWTIME and the bytes of the row."""
    count = len(names)
    now = pa.array([now_ms] * count, pa.int64()).cast(_TIME.arrow)
    return pa.Table.from_arrays(
        [
            now,
            now,
            pa.array(["ERROR"] * count, _TEXT),
            pa.array(names, _TEXT),
            pa.array([message[:MESSAGE_SIZE_MAX] for message in messages], _TEXT),
            pa.array(times, pa.int64()).cast(_TIME.arrow),
            pa.array([record[:ROW_SIZE_MAX].hex() for record in data], _TEXT),
            pa.array([pump] * count, _TEXT),
        ],
        schema=SCHEMA,
    )


def message(error: duckdb.Error) -> str:
    """What a row did wrong, in a sentence without DuckDB's own words around it."""
    text = str(error).split("\n", 1)[0]
    ours = re.search(r"Could not convert string '(.*)' to INT32", text)
    if ours:
        return ours.group(1)
    own = re.search(r"while executing the UDF: (?:ValueError|TimeIsUp): (.*)", text)
    if own:
        return own.group(1)
    if "Division by zero" in text:
        return "division by zero"
    wide = re.search(r"Failed to cast decimal value (\S+) to type (\w+)", text)
    if wide:
        return f"{wide.group(1)} is out of range of {wide.group(2)}"
    return re.sub(r"^[A-Za-z ]+ Error: | when casting from source column \w+", "", text)


def kind(message: str) -> str:
    """The name of the error behind a message."""
    if message == "division by zero":
        return "DivideByZero"
    if message.startswith("function "):
        return "FunctionError"
    if message.startswith("NULL into"):
        return "NullValue"
    if "out of range" in message.lower() or "overflow" in message.lower():
        return "NumericOverflow"
    return "RowError"
