"""How a set of columns is read out of JSON text with DuckDB: the SQL of the fast look and of the second look."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from connectors.formats.duck import literal
from connectors.formats.schema import Column
from streams.core.errors import ValidationError

VALUE_SHOWN_MAX = 80
"""Characters of a faulty value that a message repeats: enough to know it, too few to flood an error stream."""

_PATH = re.compile(r"""\$(?:\.(?:[^.\[\]"'$*]+|"[^"]+"))+""")
_STEP = re.compile(r"""\.(?:([^.\[\]"'$*]+)|"([^"]+)")""")
_EXACT = 9_007_199_254_740_992
"""2⁵³: below it a double tells every whole number apart."""
_EPOCH_MS_FROM = 100_000_000_000
"""Numbers from here on are milliseconds: as seconds they would lie after the year 5138."""
_IN_CALENDAR = "BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999'"
"""Times that every tool can print; it also keeps 'infinity' out."""


def parse_path(column: Column) -> tuple[str, ...]:
    """``$.a."b.c"`` → ("a", "b.c"); a column without a path is the key of its name."""
    if column.path is None:
        return (column.name,)
    if not _PATH.fullmatch(column.path):
        raise ValidationError(
            f"column {column.name!r}: the path {column.path!r} is not of the form $.name or $.name.name; "
            "paths into arrays are not supported"
        )
    return tuple(plain or quoted for plain, quoted in _STEP.findall(column.path))


def sql_type(kind: pa.DataType) -> str:
    """DuckDB's name of a column type. `ValidationError` for types that SQL rows do not have."""
    if pa.types.is_decimal128(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    try:
        return _SQL_TYPES[kind]
    except KeyError:
        raise ValidationError(f"{kind} is not a type of a column") from None


_SQL_TYPES = {
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "REAL",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.date32(): "DATE",
    pa.timestamp("ms"): "TIMESTAMP_MS",
}


def _read_as(kind: pa.DataType) -> str:
    """The type that `json_transform` is asked for. It rounds 123.4 to an INTEGER, so integers come as doubles and are
    checked; it forgets the zone of a timestamp, so times come as text."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "DOUBLE"
    if pa.types.is_boolean(kind):
        return "BOOLEAN"
    if pa.types.is_decimal(kind):
        return sql_type(kind)
    return "VARCHAR"


def _time(raw: str) -> str:
    # Reading a zone costs three times as much as reading none, and forgetting one is wrong.
    plain = f"CASE WHEN length({raw}) <= 19 OR {raw}[-1] = 'Z' THEN TRY_CAST({raw} AS TIMESTAMP) END"
    return (
        f"coalesce({plain}, CAST(coalesce(TRY_CAST({raw} AS TIMESTAMPTZ), CASE WHEN abs(TRY_CAST({raw} AS DOUBLE)) < 1e17 THEN "
        f"to_timestamp(TRY_CAST({raw} AS DOUBLE) / CASE WHEN abs(TRY_CAST({raw} AS DOUBLE)) < {_EPOCH_MS_FROM} "
        f"THEN 1 ELSE 1000 END) END) AS TIMESTAMP))"
    )


def _fast(kind: pa.DataType, raw: str) -> str:
    """From what `json_transform` gave to the column's type; NULL where that needs a second look."""
    name = sql_type(kind)
    if pa.types.is_integer(kind):
        return f"CASE WHEN trunc({raw}) = {raw} AND abs({raw}) < {_EXACT} THEN TRY_CAST({raw} AS {name}) END"
    if pa.types.is_floating(kind):
        return f"CASE WHEN isfinite({raw}) THEN TRY_CAST({raw} AS {name}) END"
    if pa.types.is_timestamp(kind):
        return f"CASE WHEN {_time(raw)} {_IN_CALENDAR} THEN CAST({_time(raw)} AS {name}) END"
    if pa.types.is_date(kind):
        return f"CASE WHEN TRY_CAST({raw} AS DATE) {_IN_CALENDAR} THEN TRY_CAST({raw} AS DATE) END"
    if pa.types.is_binary(kind):
        return f"TRY(from_base64({raw}))"
    return raw


def _slow(kind: pa.DataType, raw: str) -> str:
    """From the value's text; NULL where it does not convert."""
    name = sql_type(kind)
    number = f"CASE lower(trim({raw})) WHEN 'true' THEN '1' WHEN 'false' THEN '0' ELSE trim({raw}) END"
    if pa.types.is_integer(kind):
        whole = f"regexp_full_match({number}, '[+-]?[0-9]+(\\.0*)?')"
        return f"CASE WHEN {whole} THEN TRY_CAST(split_part({number}, '.', 1) AS {name}) END"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        digits = f"regexp_full_match({number}, '[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?')"
        return f"CASE WHEN {digits} THEN TRY_CAST({number} AS {name}) END"
    if pa.types.is_boolean(kind):
        return f"CASE WHEN left({raw}, 1) NOT IN ('{{', '[') THEN lower({raw}) = 'true' END"
    return _fast(kind, raw)


@dataclass(slots=True)
class _Group:
    """Columns that one `json_transform` can read together: no two keys at a level that differ only in case (DuckDB's
    names ignore it), no value that is also read as an object, one type a value."""

    shape: dict[str, Any] = field(default_factory=dict)

    def take(self, path: tuple[str, ...], kind: str) -> bool:
        level, fresh = self.shape, False
        for depth, key in enumerate(path):
            last = depth == len(path) - 1
            if key not in level:
                if not fresh and key.lower() in {other.lower() for other in level}:
                    return False
                if last:
                    level[key] = kind
                    return True
                # Nothing below a new key can be in the way: the insertion cannot be half done.
                level[key], fresh = {}, True
            elif last or isinstance(level[key], str):
                return level[key] == kind and last
            level = level[key]
        raise AssertionError("a path has at least one key")


class Plan:
    """The SQL that reads `columns`. Values come out in their order, in the types of `schema`."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.schema = pa.schema([(column.name, column.type) for column in columns])
        paths = [parse_path(column) for column in columns]
        kinds = [_read_as(column.type) for column in columns]
        shapes, raws = _arrange(paths, kinds)
        texts, raw_texts = _arrange(paths, ["VARCHAR"] * len(columns))
        self._shapes, self._texts = shapes, texts
        self._fast, self._times = [], []
        for i, (column, raw) in enumerate(zip(columns, raws, strict=True)):
            value = _fast(column.type, raw)
            if pa.types.is_timestamp(column.type):
                # Computed once here: inside a CASE, DuckDB would compute it for the condition and again for the result.
                self._times.append(f"{_time(raw)} AS time{i}")
                value = f"CASE WHEN time{i} {_IN_CALENDAR} THEN CAST(time{i} AS {sql_type(column.type)}) END"
            self._fast.append(f"{value} AS value{i}")
        self._slow = [
            part
            for i, (c, raw) in enumerate(zip(columns, raw_texts, strict=True))
            for part in (f"{raw} AS raw{i}", f"{_slow(c.type, raw)} AS value{i}")
        ]

    def fast(self, table: str) -> str:
        """Over a table of one text column `t`: value0, value1, …, and `nothing`: the text is not a JSON object."""
        parsed = _parsed(self._shapes, table)
        if self._times:
            parsed = f"SELECT *, {', '.join(self._times)} FROM ({parsed})"
        return f"SELECT {', '.join([*self._fast, 's0 IS NULL AS nothing'])} FROM ({parsed})"

    def slow(self, table: str) -> str:
        """raw0, value0, raw1, …, and `kind`: the JSON type of the text, NULL where it is not JSON."""
        return f"SELECT {', '.join([*self._slow, 'kind'])} FROM ({_parsed(self._texts, table, kind=True)})"

    def complaint(self, number: int, value: str) -> str:
        """The sentence for a value that column `number` cannot hold."""
        column = self.columns[number]
        short = value if len(value) <= VALUE_SHOWN_MAX else value[:VALUE_SHOWN_MAX] + "…"
        # How fine a TIMESTAMP is, is our affair.
        kind = sql_type(column.type).removesuffix("_MS")
        return f"column {column.name}: {json.dumps(short, ensure_ascii=False)} cannot become {kind}"


def _arrange(paths: list[tuple[str, ...]], kinds: list[str]) -> tuple[list[str], list[str]]:
    """The shapes to transform into, and for each path the SQL of its value in the structs s0, s1, … that come out."""
    groups: list[_Group] = [_Group()]
    raws = []
    for path, kind in zip(paths, kinds, strict=True):
        number = next((i for i, group in enumerate(groups) if group.take(path, kind)), len(groups))
        if number == len(groups):
            groups.append(_Group())
            groups[-1].take(path, kind)
        keys = "".join(f"[{literal(key)}]" for key in path)
        raws.append(f"s{number}{keys}")
    return [json.dumps(group.shape, ensure_ascii=False) for group in groups], raws


def _parsed(shapes: list[str], table: str, *, kind: bool = False) -> str:
    parts = []
    for number, shape in enumerate(shapes):
        # Without columns there is nothing to transform into, but the text must still be an object.
        made = "CASE json_type(t) WHEN 'OBJECT' THEN 0 END" if shape == "{}" else f"json_transform(t, {literal(shape)})"
        parts.append(f"CASE WHEN json_valid(t) THEN {made} END AS s{number}")
    if kind:
        parts.append("CASE WHEN json_valid(t) THEN json_type(t) END AS kind")
    return f"SELECT {', '.join(parts)} FROM {table}"
