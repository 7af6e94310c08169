"""Hive types, as a table of the data catalog writes them → Arrow types."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pyarrow as pa

from connectors.formats.schema import Column
from firehose.conversion import Conversion
from firehose.events import ColumnSpec
from firehose.rows import RowReader

_TYPES: dict[str, pa.DataType] = {
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("ms"),
    "decimal": pa.decimal128(10, 0),
}
_DECIMAL = re.compile(r"decimal\((\d+)(?:,(\d+))?\)")
_TEXT = re.compile(r"(?:var)?char\(\d+\)")


def arrow_type(hive: str) -> pa.DataType:
    """Raises ValueError for a type that rows cannot have (yet): arrays, maps, structs."""
    text = hive.lower().replace(" ", "")
    if text in _TYPES:
        return _TYPES[text]
    decimal = _DECIMAL.fullmatch(text)
    if decimal is not None and 1 <= int(decimal[1]) <= 38 and int(decimal[2] or 0) <= int(decimal[1]):
        return pa.decimal128(int(decimal[1]), int(decimal[2] or 0))
    if _TEXT.fullmatch(text):
        return pa.string()
    raise ValueError(f"type {hive} is not supported")


def row_reader(specs: Sequence[ColumnSpec], conversion: Conversion) -> RowReader:
    """What reads rows of these columns as the conversion says."""
    columns = columns_of(specs, conversion.column_paths)
    return RowReader(columns, ignore_case=conversion.ignore_case, dots=conversion.dots)


def columns_of(specs: Sequence[ColumnSpec], paths: Mapping[str, str]) -> list[Column]:
    """`paths` are the JSON paths of columns that are not fed by the key of their name."""
    return [Column(spec.name, arrow_type(spec.type), paths.get(spec.name)) for spec in specs]
