"""The input schema of records that nobody has described: JSON or CSV, its columns and their types."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from analytics.worker.messages import ColumnSpec, Discovered, SchemaSpec
from connectors.formats.csv import decode_csv
from connectors.formats.json import decode_json, infer_columns
from connectors.formats.json_rows import JsonRows
from connectors.formats.schema import Column, Decoded

SHOWN_MAX = 100
"""Rows that a discovery shows."""
NAME_SIZE_MAX = 100
"""Characters of a column's name that is taken from the data."""
LENGTHS = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384, 65535)
"""Lengths of text columns: the first that holds twice what the sample has is taken, since the sample is only one."""
DELIMITERS = (",", "|", "\t", ";")
COLUMNS_MAX = 1_000
_WORDS = (
    "ALL AND ANY AS ASC AVG BETWEEN BY CASE CAST CHAR COLUMN COUNT CREATE CURRENT DATE DAY DEFAULT DELETE DESC "
    "DISTINCT DROP ELSE END EXISTS FALSE FROM FULL FUNCTION GROUP HAVING HOUR IN INNER INSERT INTERVAL INTO IS "
    "JOIN LEFT LIKE LIMIT MAX MIN MINUTE MONTH NOT NULL ON OR ORDER OUTER OVER PARTITION POSITION PUMP RANGE "
    "RIGHT ROW ROWS ROWTIME SECOND SELECT SET STEP STREAM SUM TABLE THEN TIME TIMESTAMP TO TRUE UNION UPDATE "
    "USER USING VALUE VALUES VIEW WHEN WHERE WINDOW WITH YEAR "
)
RESERVED = frozenset(_WORDS.split())
"""What a program could not name without quotes."""

_ROW = Column("row", pa.string(), "$.row")
_TYPES = {
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("ms"): "TIMESTAMP",
}
_GUESSES = (pa.int32(), pa.int64(), pa.float64(), pa.timestamp("ms"))


def discover(records: Sequence[bytes]) -> Discovered:
    data = pa.array(records, pa.binary())
    return _json(data) or _csv(data) or Discovered(None, [])


def _json(data: pa.Array) -> Discovered | None:
    """Where at least half of the records are objects, or arrays of objects."""
    for row_path in ("$", "$[0:]"):
        texts = JsonRows([], row_path).texts(data)
        found = infer_columns(texts)
        if not found or len(decode_json(texts, []).rows) * 2 < len(texts):
            continue
        lengths = _lengths(decode_json(texts, [Column(each.name, pa.string(), each.path) for each in found]))
        named = zip(_names([each.name for each in found]), found, lengths, strict=True)
        columns = [ColumnSpec(name, _type(each.type, length), each.path) for name, each, length in named]
        return Discovered(SchemaSpec(tuple(columns), row_path=row_path), _shown(decode_json(texts, found)))
    return None


def _csv(data: pa.Array) -> Discovered | None:
    """Where all rows have as many fields, and more than one, by some delimiter."""
    for delimiter in DELIMITERS:
        rows = decode_csv(data, [_ROW], [0], "\n", "\x00").rows.column(0).to_pylist()
        counts = Counter(row.count(delimiter) for row in rows)
        if not rows or len(counts) != 1 or 0 in counts or max(counts) >= COLUMNS_MAX:
            continue
        width = next(iter(counts)) + 1
        texts = [Column(f"COL_{number}", pa.string()) for number in range(width)]
        decoded = decode_csv(data, texts, range(width), "\n", delimiter)
        kinds = [_guessed(data, number, delimiter) for number in range(width)]
        lengths = _lengths(decoded)
        columns = [
            ColumnSpec(each.name, _type(kind, length)) for each, kind, length in zip(texts, kinds, lengths, strict=True)
        ]
        return Discovered(SchemaSpec(tuple(columns), csv=True, column_delimiter=delimiter), _shown(decoded))
    return None


def _guessed(data: pa.Array, number: int, delimiter: str) -> pa.DataType:
    for kind in _GUESSES:
        found = decode_csv(data, [Column("c", kind)], [number], "\n", delimiter)
        if not found.faults and found.rows.column(0).null_count < len(found.rows):
            return kind
    return pa.string()


def _type(kind: pa.DataType, length: int) -> str:
    if kind in _TYPES:
        return _TYPES[kind]
    return f"VARCHAR({next((each for each in LENGTHS if each >= 2 * length), LENGTHS[-1])})"


def _lengths(decoded: Decoded) -> list[int]:
    return [max((len(text) for text in column.to_pylist() if text), default=0) for column in decoded.rows.columns]


def _names(found: Sequence[str]) -> list[str]:
    """Names that a program can write without quotes, each once."""
    names: list[str] = []
    for name in found:
        plain = re.sub(r"[^A-Za-z0-9_]", "", name)[:NAME_SIZE_MAX]
        if plain != name or not plain or plain[0].isdigit() or plain.upper() in RESERVED:
            plain = f"COL_{plain or len(names)}"
        taken = {each.upper() for each in names}
        unique = next(one for one in (plain, *(f"{plain}_{n}" for n in range(len(found)))) if one.upper() not in taken)
        names.append(unique)
    return names


def _shown(decoded: Decoded) -> list[list[str]]:
    return [
        ["" if value is None else str(value) for value in row.values()]
        for row in decoded.rows.slice(0, SHOWN_MAX).to_pylist()
    ]
