"""``error_stream``: what became of the rows that failed."""

from __future__ import annotations

from collections.abc import Sequence

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
