"""Hive's types, as a table of the data catalog writes them → Arrow types."""

from __future__ import annotations

import re

import pyarrow as pa

DEPTH_MAX = 64
"""Types inside types: deeper than any table, and no stack ends before."""

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
_DECIMAL = re.compile(r"decimal\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")
_TEXT = re.compile(r"(?:var)?char\s*\(\s*\d+\s*\)")
_PLAIN = re.compile(r"[^<>,:]*\([^()]*\)|[^<>,:]*")
_NAME = re.compile(r"\s*(?:`([^`]+)`|([^<>,:`]+))\s*:")


def arrow_type(text: str) -> pa.DataType:
    """``array<…>``, ``map<…>`` and ``struct<name:…>`` of any depth included. Raises ValueError that says what is wrong."""
    reader = _Reader(text)
    kind = reader.type(0)
    if reader.rest():
        raise ValueError(f"type {text} does not end at {reader.rest()!r}")
    return kind


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def rest(self) -> str:
        return self._text[self._at :].strip()

    def type(self, depth: int) -> pa.DataType:
        if depth > DEPTH_MAX:
            raise ValueError(f"type {self._text[:80]}… is nested more than {DEPTH_MAX} deep")
        found = _PLAIN.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        name = found[0].strip().lower()
        if name not in ("array", "map", "struct"):
            return self._plain(name, found[0].strip())
        self._expect("<")
        kind: pa.DataType
        if name == "array":
            kind = pa.list_(pa.field("element", self.type(depth + 1)))
        elif name == "map":
            key = self.type(depth + 1)
            if pa.types.is_nested(key):
                raise ValueError(f"type {self._text}: the keys of a map are of a primitive type")
            self._expect(",")
            kind = pa.map_(key, self.type(depth + 1))
        else:
            kind = self._struct(depth)
        self._expect(">")
        return kind

    def _struct(self, depth: int) -> pa.DataType:
        fields: list[pa.Field] = []
        while not fields or self._next(","):
            found = _NAME.match(self._text, self._at)
            if found is None:
                raise ValueError(f"type {self._text}: a struct needs name:type at {self.rest()!r}")
            self._at = found.end()
            name = found[1] or found[2].strip()
            if any(name.lower() == field.name.lower() for field in fields):
                raise ValueError(f"type {self._text}: a struct has {name} twice")
            fields.append(pa.field(name, self.type(depth + 1)))
        return pa.struct(fields)

    def _plain(self, name: str, shown: str) -> pa.DataType:
        if name in _TYPES:
            return _TYPES[name]
        decimal = _DECIMAL.fullmatch(name)
        if decimal is not None and 1 <= int(decimal[1]) <= 38 and int(decimal[2] or 0) <= int(decimal[1]):
            return pa.decimal128(int(decimal[1]), int(decimal[2] or 0))
        if _TEXT.fullmatch(name):
            return pa.string()
        raise ValueError(f"type {shown or self._text} is not supported")

    def _next(self, mark: str) -> bool:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1
        if self._text[self._at : self._at + 1] != mark:
            return False
        self._at += 1
        return True

    def _expect(self, mark: str) -> None:
        if not self._next(mark):
            raise ValueError(f"type {self._text} needs {mark!r} at {self.rest()!r}")
