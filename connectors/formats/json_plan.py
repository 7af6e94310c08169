"""How a set of columns is read out of JSON text with DuckDB: its SQL, as little of it as will do.

DuckDB plans a statement in a quarter of a millisecond for each column that it casts, whatever the number of rows. So it is
asked for `json_transform` alone; types follow in Arrow (`json_values`), and `converting` is for what Arrow leaves open.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

import pyarrow as pa

from connectors.formats.duck import literal
from connectors.formats.json_scan import planned
from connectors.formats.schema import Column
from streams.core.errors import ValidationError

VALUE_SHOWN_MAX = 80
"""Characters of a faulty value that a message repeats: enough to know it, too few to flood an error stream."""

SETS_MAX = 1_024
"""Sets of columns whose SQL is remembered; the columns that hold NULLs vary little from batch to batch."""

KINDS = "SELECT CASE WHEN json_valid(t) THEN json_type(t) END AS kind FROM v"
"""The JSON type of a text; NULL where it is not JSON. Here and below, the texts are column `t` of table `v`."""

Place = tuple[int, tuple[str, ...]]
"""The number of a struct and the keys down to the value in it."""

ELEMENTS = "\0"
"""The step of a path from an array to each of its elements; no key is called so."""

_PATH = re.compile(r"""\$(?:\.(?:[^.\[\]"'$*]+|"[^"]+"))+""")
_STEP = re.compile(r"""\.(?:([^.\[\]"'$*]+)|"([^"]+)")""")
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


def is_nested(kind: pa.DataType) -> bool:
    """Whether values of `kind` hold others."""
    return bool(pa.types.is_nested(kind))


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


def read_as(kind: pa.DataType, leaf: str | None = None) -> str:
    """The type that `json_transform` is asked for. It rounds 123.4 to an INTEGER, so integers come as doubles and are
    checked; it forgets the zone of a timestamp, so times come as text. Arrays and structs are a shape in JSON. A map
    comes as JSON text: `json_transform` makes NULL of one with a value that does not fit. `leaf` is what all values that
    hold no others are read as."""
    if pa.types.is_map(kind):
        return "JSON"
    if pa.types.is_list(kind):
        return json.dumps([_shape(read_as(kind.value_type, leaf))], ensure_ascii=False)
    if pa.types.is_struct(kind):
        return json.dumps({part.name: _shape(read_as(part.type, leaf)) for part in kind}, ensure_ascii=False)
    if leaf is not None:
        return leaf
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "DOUBLE"
    if pa.types.is_boolean(kind):
        return "BOOLEAN"
    if pa.types.is_decimal(kind):
        return sql_type(kind)
    return "VARCHAR"


def _shape(kind: Any) -> Any:
    """A type for `json_transform`, out of what `read_as` answers or a group of paths holds."""
    if isinstance(kind, dict):
        if ELEMENTS in kind:
            return [_shape(kind[ELEMENTS])]
        return {key: _shape(below) for key, below in kind.items()}
    return json.loads(kind) if kind.startswith(("{", "[")) else kind


def _time(raw: str) -> str:
    # Reading a zone costs three times as much as reading none, and forgetting one is wrong.
    plain = f"CASE WHEN length({raw}) <= 19 OR {raw}[-1] = 'Z' THEN TRY_CAST({raw} AS TIMESTAMP) END"
    return (
        f"coalesce({plain}, CAST(coalesce(TRY_CAST({raw} AS TIMESTAMPTZ), CASE WHEN abs(TRY_CAST({raw} AS DOUBLE)) < 1e15 THEN "
        f"to_timestamp(TRY_CAST({raw} AS DOUBLE) / CASE WHEN abs(TRY_CAST({raw} AS DOUBLE)) < {_EPOCH_MS_FROM} "
        f"THEN 1 ELSE 1000 END) END) AS TIMESTAMP))"
    )


@cache
def converting(kind: pa.DataType) -> str:
    """From texts of values to `value`, NULL where one does not convert."""
    return f"SELECT {_converted(kind, 't')} AS value FROM v"


def _converted(kind: pa.DataType, raw: str) -> str:
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
    if pa.types.is_timestamp(kind):
        # What is finer than a millisecond is lost: a CAST would round it, and a time would lie ahead of itself.
        return f"CASE WHEN {_time(raw)} {_IN_CALENDAR} THEN CAST(date_trunc('millisecond', {_time(raw)}) AS {name}) END"
    if pa.types.is_date(kind):
        return f"CASE WHEN TRY_CAST({raw} AS DATE) {_IN_CALENDAR} THEN TRY_CAST({raw} AS DATE) END"
    if pa.types.is_binary(kind):
        return f"TRY(from_base64({raw}))"
    return raw


def complaint(where: str, value: str, kind: pa.DataType) -> str:
    """The sentence for a value at `where` that is not of type `kind`."""
    short = value if len(value) <= VALUE_SHOWN_MAX else value[:VALUE_SHOWN_MAX] + "…"
    return f"column {where}: {json.dumps(short, ensure_ascii=False)} cannot become {_name(kind)}"


def _name(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return "ARRAY"
    if pa.types.is_map(kind):
        return "MAP"
    # How fine a TIMESTAMP is, is our affair.
    return "STRUCT" if pa.types.is_struct(kind) else sql_type(kind).removesuffix("_MS")


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
    """How `columns` (one at least) are read.

    `sql` gives structs s0, s1, … in which the value of each column stands at its place, of the type `read_as`. Where
    the text is no JSON object, all of them are NULL. `trusting` does the same for half the price, and fails where a
    text is no JSON; `trusted` says whether it is worth trying, which the last batch has shown. `scan` reads plain records
    without DuckDB; None for columns of which it cannot read one.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.schema = pa.schema([(column.name, column.type) for column in columns])
        self.paths = [parse_path(column) for column in columns]
        self.sql, self.trusting, self.places = _transformed(
            tuple(self.paths), tuple(read_as(column.type) for column in columns)
        )
        self.trusted = True
        self.scan = planned(columns, self.paths)

    def look(self, numbers: Sequence[int]) -> tuple[str, Sequence[Place]]:
        """The same for the columns of these numbers, as texts."""
        return look([self.paths[number] for number in numbers], ["VARCHAR"] * len(numbers))

    def key(self, number: int) -> str:
        """The last key of the path of column `number`."""
        return self.paths[number][-1]

    def complaint(self, number: int, value: str) -> str:
        """The sentence for a value that column `number` cannot hold."""
        column = self.columns[number]
        return complaint(column.name, value, column.type)


def look(paths: Sequence[tuple[str, ...]], kinds: Sequence[str]) -> tuple[str, Sequence[Place]]:
    """The statement that reads each path as text (VARCHAR: of a string, without its quotes; or JSON), and where that
    stands in the structs that come out."""
    sql, _, places = _transformed(tuple(paths), tuple(kinds))
    return sql, places


@lru_cache(SETS_MAX)
def _transformed(paths: tuple[tuple[str, ...], ...], kinds: tuple[str, ...]) -> tuple[str, str, tuple[Place, ...]]:
    """The statement that reads the paths, the one that fails on what is no JSON, and the place of each path in the
    structs that come out."""
    groups: list[_Group] = [_Group()]
    places = []
    for path, kind in zip(paths, kinds, strict=True):
        number = next((i for i, group in enumerate(groups) if group.take(path, kind)), len(groups))
        if number == len(groups):
            groups.append(_Group())
            groups[-1].take(path, kind)
        places.append((number, path))
    shapes = [literal(json.dumps(_shape(group.shape), ensure_ascii=False)) for group in groups]
    reading = [f"json_transform(t, {shape})" for shape in shapes]
    trusting = ", ".join(f"{part} AS s{i}" for i, part in enumerate(reading))
    checking = ", ".join(f"CASE WHEN json_valid(t) THEN {part} END AS s{i}" for i, part in enumerate(reading))
    return f"SELECT {checking} FROM v", f"SELECT {trusting} FROM v", tuple(places)
