"""What columns a sample of JSON records has: schema discovery."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from connectors.formats.schema import Column

SAMPLE_ROWS_MAX = 10_000
"""Records that discovery looks at: more only confirm what these say."""

COLUMNS_MAX = 1_000
"""Columns that discovery finds: AWS allows 1,000 in a schema, and records whose keys are data have no end of them."""

DEPTH_MAX = 32
"""Objects inside objects that discovery follows; what lies deeper stays JSON text."""

_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.]\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?",
)
_PLAIN = re.compile(r"""[^.\[\]"'$*]+""")


def infer_columns(data: pa.Array) -> list[Column]:
    """The columns of JSON objects (`data` is binary), in order of first appearance; records that are none are left out.

    INTEGER and BIGINT (int32, int64), DOUBLE, BOOLEAN, TIMESTAMP (ISO text throughout) and VARCHAR, which also holds
    arrays and keys that were null throughout. A nested object gives a column for each of its values:
    ``{"a": {"b": 1}}`` is ``a_b`` with the path ``$.a.b``. Keys that differ only in case stay different columns.
    """
    found: dict[tuple[str, ...], set[str]] = {}
    for text in data.slice(0, SAMPLE_ROWS_MAX).to_pylist():
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            for path, value in _leaves(record, ()):
                if path in found or len(found) < COLUMNS_MAX:
                    found.setdefault(path, set()).update(_kind(value))
    columns: dict[str, Column] = {}
    for path, kinds in found.items():
        # A key that is an object in some records and a value in others is read whole.
        if any(other[: len(path)] == path and len(other) > len(path) for other in found):
            kinds = {"text"}
        name = "_".join(path)
        columns.setdefault(name, Column(name, _type(kinds), _path(path)))
    return list(columns.values())


def _leaves(record: dict[str, Any], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in record.items():
        if not key or '"' in key:
            continue  # no path can name it
        if isinstance(value, dict) and value and len(above) < DEPTH_MAX:
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _kind(value: Any) -> set[str]:
    if value is None:
        return set()
    if isinstance(value, bool):
        return {"bool"}
    if isinstance(value, int):
        return {"int32" if -(2**31) <= value < 2**31 else "int64" if -(2**63) <= value < 2**63 else "double"}
    if isinstance(value, float):
        return {"double"}
    if isinstance(value, str) and _ISO.fullmatch(value):
        return {"time"}
    return {"text"}


def _type(kinds: set[str]) -> pa.DataType:
    if kinds == {"bool"}:
        return pa.bool_()
    if kinds == {"time"}:
        return pa.timestamp("ms")
    if kinds and kinds <= {"int32", "int64", "double"}:
        return pa.float64() if "double" in kinds else pa.int64() if "int64" in kinds else pa.int32()
    return pa.string()


def _path(path: tuple[str, ...]) -> str:
    return "$" + "".join(f".{key}" if _PLAIN.fullmatch(key) else f'."{key}"' for key in path)
