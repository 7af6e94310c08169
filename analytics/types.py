"""The types of the language: how each is kept in DuckDB and Arrow, and what may be assigned to what."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from analytics.errors import SqlError
from analytics.places import place_of

DECIMAL_DEFAULT = (18, 0)
DECIMAL_PRECISION_MAX = 38
"""DuckDB's; the language's own 18 or 19 (its pages differ) would only cut sums short."""

INTEGERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
)
_FLOATS = frozenset({"FLOAT", "REAL", "DOUBLE"})

_PLAIN: dict[exp.DType, tuple[str, pa.DataType]] = {
    exp.DType.TINYINT: ("TINYINT", pa.int8()),
    exp.DType.SMALLINT: ("SMALLINT", pa.int16()),
    exp.DType.INT: ("INTEGER", pa.int32()),
    exp.DType.BIGINT: ("BIGINT", pa.int64()),
    exp.DType.FLOAT: ("REAL", pa.float32()),
    exp.DType.DOUBLE: ("DOUBLE", pa.float64()),
    exp.DType.BOOLEAN: ("BOOLEAN", pa.bool_()),
    exp.DType.DATE: ("DATE", pa.date32()),
    exp.DType.TIME: ("TIME", pa.time64("us")),
    exp.DType.TIMESTAMP: ("TIMESTAMP_MS", pa.timestamp("ms")),
    exp.DType.VARCHAR: ("VARCHAR", pa.string()),
    exp.DType.CHAR: ("VARCHAR", pa.string()),
    exp.DType.VARBINARY: ("BLOB", pa.binary()),
    exp.DType.BINARY: ("BLOB", pa.binary()),
}

_SIZED = frozenset({exp.DType.VARCHAR, exp.DType.CHAR, exp.DType.VARBINARY, exp.DType.BINARY})


@dataclass(frozen=True, slots=True)
class SqlType:
    """`duck` and `arrow` are how a column is kept; `length` is that of VARCHAR(n), CHAR(n) and of bytes; CHAR is `padded`."""

    duck: str
    arrow: pa.DataType
    length: int | None = None
    padded: bool = False

    def __str__(self) -> str:
        name = "CHAR" if self.padded else "TIMESTAMP" if self.duck == "TIMESTAMP_MS" else self.duck
        return name if self.length is None else f"{name}({self.length})"


def declared(kind: exp.Expr, near: exp.Expr | None = None) -> SqlType:
    """The type that a declaration or a CAST names; `near` is where it stands, for want of a place of its own."""
    assert isinstance(kind, exp.DataType)
    at = place_of(kind) or place_of(near)
    if kind.this not in _PLAIN and kind.this != exp.DType.DECIMAL:
        raise SqlError(f"the type {kind.sql()} is not supported", at)
    sizes = [int(part.name) if part.name.isdigit() else 0 for part in kind.expressions]
    if kind.this in _SIZED and 0 in sizes:
        raise SqlError(f"{kind.sql()} has no length", at, expected=f"{kind.this.name}(n) with n from 1")
    if kind.this == exp.DType.DECIMAL:
        precision, scale = (*sizes, *DECIMAL_DEFAULT[len(sizes) :])
        if not 0 <= scale <= precision <= DECIMAL_PRECISION_MAX or precision == 0:
            raise SqlError(f"DECIMAL({precision},{scale}) has a precision of 1 to 38 and a scale up to it", at)
        return SqlType(f"DECIMAL({precision},{scale})", pa.decimal128(precision, scale))
    duck, arrow = _PLAIN[kind.this]
    length = sizes[0] if sizes and kind.this in _SIZED else None
    return SqlType(duck, arrow, length, padded=kind.this == exp.DType.CHAR)


def of_duck(duck: str, near: exp.Expr | None = None) -> SqlType:
    """The column type for what a query gives: for streams that nobody declared. `near` is what gives it."""
    if duck == "HUGEINT":
        return SqlType("BIGINT", pa.int64())
    if duck.startswith("DECIMAL"):
        precision, scale = (int(part) for part in duck[8:-1].split(","))
        return SqlType(duck, pa.decimal128(precision, scale))
    if duck.startswith("TIMESTAMP"):
        return SqlType("TIMESTAMP_MS", pa.timestamp("ms"))
    if duck == "FLOAT":
        return SqlType("REAL", pa.float32())
    for name, arrow in _PLAIN.values():
        if name == duck:
            return SqlType(name, arrow)
    if duck.strip('"') == "NULL":
        return SqlType("VARCHAR", pa.string())
    if duck == "INTERVAL":
        raise SqlError("no column holds an interval", place_of(near), expected="CAST((a - b) SECOND AS BIGINT)")
    if duck.startswith("STRUCT"):
        raise SqlError(
            "no column of a stream holds a row", place_of(near), expected="the columns of it, as in t.r.COLUMN1"
        )
    raise SqlError(f"a column of type {duck} cannot leave a query", place_of(near), expected="a CAST")


def family(duck: str) -> str:
    """Values of one family are assignable to each other: number, text, boolean, timestamp, date, binary, null."""
    if duck in INTEGERS or duck in _FLOATS or duck.startswith("DECIMAL"):
        return "number"
    if duck.startswith("TIMESTAMP"):
        return "timestamp"
    return {"VARCHAR": "text", "BLOB": "binary", '"NULL"': "null"}.get(duck, duck.lower())


_SAID = {
    "TIMESTAMP_MS": "TIMESTAMP",
    "STRING_LITERAL": "VARCHAR",
    "INTEGER_LITERAL": "INTEGER",
    "BLOB": "VARBINARY",
    "FLOAT": "REAL",
    "HUGEINT": "BIGINT",
}


def said(duck: str) -> str:
    """DuckDB's type in the words of the language."""
    return "a row" if duck.startswith("STRUCT") else _SAID.get(duck, duck.strip('"'))


_COLUMN = re.compile(r"t\d+\.\w+")


def assigned(sql: str, duck: str, target: SqlType) -> str | None:
    """SQL that puts an expression of type `duck` into a column of type `target`; None where the language forbids it.

    Numbers go into numbers, and one that does not fit is a row error; text is cut to the declared length, as the
    product does.
    """
    source = family(duck)
    if source != "null" and source != family(target.duck):
        return None
    if source == "binary" and target.length is not None:
        return f"({sql})[1:{target.length}]"
    if target.duck != "VARCHAR":
        if is_integer(target.duck) and duck in _FLOATS:
            sql = f"round({sql})"  # half away from zero, as CAST does
        return sql if duck == target.duck else f"CAST({sql} AS {target.duck})"
    if target.length is None:
        return f"CAST({sql} AS VARCHAR)" if source == "null" else sql
    cut = f"left({sql}, {target.length})"
    if _COLUMN.fullmatch(sql):
        # Counting bytes is free, and text that has no more bytes than characters allowed need not be copied.
        cut = f"CASE WHEN strlen({sql}) <= {target.length} THEN {sql} ELSE {cut} END"
    return f"rpad({cut}, {target.length}, ' ')" if target.padded else cut


def is_integer(duck: str) -> bool:
    return duck in INTEGERS


def is_exact(duck: str) -> bool:
    return duck in INTEGERS or duck.startswith("DECIMAL")
