"""JSON of a few rows without DuckDB, whose statement costs more than they do: whole numbers, truth, times, text without
anything to escape. What comes out is what DuckDB writes, byte by byte."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

_ESCAPED = r'["\\\x00-\x1f]'
_FIRST_MS, _LAST_MS = -30_610_224_000_000, 253_402_300_799_999
"""The years 1000 to 9999, which everybody writes with four digits."""


def written(rows: pa.RecordBatch) -> pa.Array | None:
    """Binary: an object a row; None where a column is for DuckDB."""
    parts: list[object] = []
    for field, column in zip(rows.schema, rows.columns, strict=True):
        text = None if re.search(_ESCAPED, field.name) else _text(column)
        if text is None:
            return None
        parts += [f'{"," if parts else "{"}"{field.name}":', pc.fill_null(text, "null") if column.null_count else text]
    if not parts:
        return None
    return pc.binary_join_element_wise(*parts, "}", "").cast(pa.binary())


def _text(column: pa.Array) -> pa.Array | None:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column.cast(pa.string())
    if pa.types.is_string(kind):
        return None if pc.any(pc.match_substring_regex(column, _ESCAPED)).as_py() else _quoted(column)
    if kind == pa.timestamp("ms"):
        span = pc.min_max(column.cast(pa.int64())).as_py()
        inside = span["min"] is None or (span["min"] >= _FIRST_MS and span["max"] <= _LAST_MS)
        return _quoted(column.cast(pa.string())) if inside else None
    return None


def _quoted(text: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise('"', text, '"', "")
