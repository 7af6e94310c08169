"""Pumps that only filter and pass columns on, over Arrow without DuckDB: a statement costs as much as fifty thousand rows of it.

What is taken over is little, and gives exactly what DuckDB gives: columns; text that is cut, where none is too long;
comparisons of whole numbers and text with constants, AND, OR, NOT, IN, IS NULL; the remainder of a whole number by a constant,
and its product with a decimal one. A row that could fail, or a type that is not DuckDB's own, is left to the statement.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from analytics.plan import RowQuery

_CUT = re.compile(r"CASE WHEN strlen\(t0\.(\w+)\) <= (\d+) THEN t0\.\1 ELSE left\(t0\.\1, \2\) END")
_WHOLE = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_TYPES = (*_WHOLE, pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.binary(), pa.date32(), pa.timestamp("ms"))
"""Types that DuckDB gives back as it gets them."""
_COMPARE: dict[type[exp.Expr], str] = {
    exp.EQ: "equal",
    exp.NEQ: "not_equal",
    exp.LT: "less",
    exp.LTE: "less_equal",
    exp.GT: "greater",
    exp.GTE: "greater_equal",
}

Value = Any
"""An Arrow array, in one chunk or many."""
Compute = Callable[[pa.Table], Value]
"""From the rows to a value of each; raises `_Left`."""


class _Left(Exception):
    """This is for DuckDB to do."""


@dataclass(slots=True)
class Direct:
    """A compiled row query. `checked` is the schema of rows for which DuckDB was asked what types come out."""

    columns: Sequence[tuple[str, Compute]]
    condition: Compute | None
    checked: pa.Schema | None = None

    def rows(self, source: pa.Table, asked: Callable[[], pa.Schema]) -> pa.Table | None:
        """The rows that come out; None where DuckDB has to make them. `asked` gives the schema that it would give them."""
        try:
            if self.condition is not None:
                mask = self.condition(source)
                every = mask.null_count == 0 and pc.all(mask).as_py()
                source = source if every else source.select(self._read(source)).filter(mask)
            made = pa.table({name: compute(source) for name, compute in self.columns})
        except _Left:
            return None
        if self.checked != source.schema:
            if made.schema != asked():
                return None
            self.checked = source.schema
        return made

    def _read(self, source: pa.Table) -> list[str]:
        """The columns that come out, so that no other is filtered."""
        read = {column for _, compute in self.columns for column in getattr(compute, "reads", source.column_names)}
        return [name for name in source.column_names if name in read]


def compiled(query: RowQuery) -> Direct | None:
    """None where some part is for DuckDB."""
    if query.joins:
        return None
    try:
        condition = None if query.condition is None else _condition(_parsed(query.condition))
        return Direct([(name, _output(sql)) for name, sql in query.columns], condition)
    except (_Left, SqlglotError):
        return None


def _parsed(sql: str) -> exp.Expr:
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    assert isinstance(tree, exp.Expr)
    return tree


def _output(sql: str) -> Compute:
    cut = _CUT.fullmatch(sql)
    if cut is None:
        return _value(_parsed(sql))
    name, length = cut[1], int(cut[2])

    def short(rows: pa.Table) -> Value:
        column = rows.column(name)
        if column.type != pa.string() or (pc.max(pc.binary_length(column)).as_py() or 0) > length:
            raise _Left
        return column

    return _reads(short, name)


def _reads(compute: Compute, *names: str) -> Compute:
    compute.reads = names  # type: ignore[attr-defined]  # what a function reads, noted on it
    return compute


def _value(tree: exp.Expr) -> Compute:
    tree = tree.unnest()
    if isinstance(tree, exp.Column):
        return _column(tree)
    if isinstance(tree, exp.Mod):
        return _remainder(tree)
    if isinstance(tree, exp.Mul):
        return _product(tree)
    raise _Left


def _column(tree: exp.Expr, *types: pa.DataType) -> Compute:
    if not isinstance(tree, exp.Column) or tree.table != "t0" or not isinstance(tree.this, exp.Identifier):
        raise _Left
    name = tree.name

    def column(rows: pa.Table) -> Value:
        found = rows.column(name)
        if found.type not in (types or _TYPES):
            raise _Left
        return found

    return _reads(column, name)


def _whole(tree: exp.Expr) -> int:
    tree = tree.unnest()
    if isinstance(tree, exp.Neg):
        return -_whole(tree.this)
    if not isinstance(tree, exp.Literal) or tree.is_string or not tree.name.isdigit():
        raise _Left
    return int(tree.name)


def _remainder(tree: exp.Mod) -> Compute:
    """With the sign of the dividend, as in DuckDB."""
    of, divisor = _column(tree.this.unnest(), pa.int64()), _whole(tree.expression)
    if not 0 < divisor < 2**31:
        raise _Left

    def remainder(rows: pa.Table) -> Value:
        values = of(rows)
        return pc.subtract(values, pc.multiply(pc.divide(values, divisor), divisor))

    return _reads(remainder, *of.reads)  # type: ignore[attr-defined]  # see _reads


def _product(tree: exp.Mul) -> Compute:
    """A decimal constant times a whole number: exact, and never too long for the type."""
    factor, column = tree.this.unnest(), tree.expression.unnest()
    if not isinstance(factor, exp.Literal) or factor.is_string or not re.fullmatch(r"\d+\.\d+", factor.name):
        raise _Left
    of = _column(column, pa.int64())
    _, digits, exponent = Decimal(factor.name).as_tuple()
    scale, number = -int(exponent), int("".join(map(str, digits)))
    precision = len(factor.name) - 1 + 19
    if not 0 < number < 2**31 or precision > 38:
        raise _Left

    def product(rows: pa.Table) -> Value:
        values = of(rows)
        if values.null_count:
            raise _Left
        whole = values.to_numpy()
        if len(whole) and max(abs(int(whole.min())), abs(int(whole.max()))) > (2**63 - 1) // number:
            raise _Left
        wide = np.empty((len(whole), 2), np.int64)
        np.multiply(whole, number, out=wide[:, 0])
        np.right_shift(wide[:, 0], 63, out=wide[:, 1])
        return pa.Array.from_buffers(pa.decimal128(precision, scale), len(whole), [None, pa.py_buffer(wide)])

    return _reads(product, *of.reads)  # type: ignore[attr-defined]  # see _reads


def _condition(tree: exp.Expr) -> Compute:
    tree = tree.unnest()
    if isinstance(tree, exp.And | exp.Or):
        left, right = _condition(tree.this), _condition(tree.expression)
        both = pc.and_kleene if isinstance(tree, exp.And) else pc.or_kleene
        return lambda rows: both(left(rows), right(rows))
    if isinstance(tree, exp.Not):
        inner = _condition(tree.this)
        return lambda rows: pc.invert(inner(rows))
    if isinstance(tree, exp.Is) and isinstance(tree.expression, exp.Null):
        of = _column(tree.this.unnest())
        return lambda rows: pc.is_null(of(rows))
    if isinstance(tree, exp.In) and tree.expressions and tree.args.get("query") is None:
        tests = [_compared(tree.this, each, "equal") for each in tree.expressions]
        return lambda rows: _any([test(rows) for test in tests])
    if type(tree) in _COMPARE:
        return _compared(tree.this, tree.expression, _COMPARE[type(tree)])
    raise _Left


def _any(values: Sequence[Value]) -> Value:
    found = values[0]
    for value in values[1:]:
        found = pc.or_kleene(found, value)
    return found


def _compared(left: exp.Expr, right: exp.Expr, kernel: str) -> Compute:
    """A column, or a remainder, beside a constant of its type."""
    left, right = left.unnest(), right.unnest()
    if isinstance(right, exp.Literal) and right.is_string:
        text, of = right.name, _column(left, pa.string())
        return lambda rows: pc.call_function(kernel, [of(rows), pa.scalar(text)])
    value = _whole(right)
    number = _remainder(left) if isinstance(left, exp.Mod) else _column(left, *_WHOLE)

    def compared(rows: pa.Table) -> Value:
        found = number(rows)
        try:
            return pc.call_function(kernel, [found, pa.scalar(value, found.type)])
        except (pa.ArrowInvalid, OverflowError):
            raise _Left from None

    return compared
