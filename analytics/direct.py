"""What pumps compute of each row, over Arrow without DuckDB: a statement costs as much as fifty thousand rows of it.

What is taken over is little, and gives exactly what DuckDB gives: columns; text that is cut, where none is too long;
comparisons of whole numbers and text with constants, AND, OR, NOT, IN, IS NULL; the remainder of a whole number by a constant,
and its product with a decimal one; of texts what `analytics.vectors` says, of numbers and windows what `analytics.wholes` does.
A row that could fail, or a type that is not DuckDB's own, is left to the statement.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from analytics.plan import RowQuery
from analytics.spans import Left, Numbers
from analytics.vectors import Condition, Rows, column_of, compared, missing, number, text, whole
from analytics.wholes import whole_numbers, window

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
_CHUNK_ROWS = 5_000
"""Batches that are smaller in the mean are put together before."""
_SKIPPED_BATCHES = 16
"""Micro-batches that DuckDB gets after one that was left to it: what a producer writes, it mostly goes on writing."""

Compute = Callable[[Rows], pa.Array]
"""A value of each row; raises `Left`."""


@dataclass(slots=True)
class Direct:
    """A compiled row query. `checked` is the schema of rows for which DuckDB was asked what types come out."""

    columns: Sequence[tuple[str, Compute]]
    condition: Condition | None
    checked: pa.Schema | None = None
    skips: int = 0

    def rows(self, source: pa.Table, asked: Callable[[], pa.Schema]) -> pa.Table | None:
        """The rows that come out; None where DuckDB has to make them. `asked` gives the schema that it would give them."""
        if self.skips:
            self.skips -= 1
            return None
        if source.column(0).num_chunks * _CHUNK_ROWS > len(source):
            source = source.combine_chunks()
        try:
            batches = source.to_batches() or [pa.RecordBatch.from_pylist([], schema=source.schema)]
            made = pa.Table.from_batches([self._batch(batch) for batch in batches])
        except Left:
            self.leave()
            return None
        if self.checked != source.schema:
            if made.schema != asked():
                self.leave()
                return None
            self.checked = source.schema
        return made

    def leave(self) -> None:
        """The next rows, too, are for DuckDB."""
        self.skips = _SKIPPED_BATCHES

    def _batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = Rows(batch)
        if self.condition is not None:
            mask = self.condition(rows)
            if mask.null_count or not pc.all(mask, min_count=0).as_py():
                rows = rows.where(mask)
        return pa.record_batch({name: compute(rows) for name, compute in self.columns})


def compiled(query: RowQuery) -> Direct | None:
    """None where some part is for DuckDB."""
    if query.joins:
        return None
    try:
        condition = None if query.condition is None else _condition(_parsed(query.condition))
        return Direct([(name, _output(sql)) for name, sql in query.columns], condition)
    except (Left, SqlglotError, RecursionError):  # the parser goes less deep than DuckDB's
        return None


def _parsed(sql: str) -> exp.Expr:
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    assert isinstance(tree, exp.Expr)
    return tree


def _output(sql: str) -> Compute:
    cut = _CUT.fullmatch(sql)
    if cut is None:
        return _value(_parsed(sql))
    name, length, shortened = cut[1], int(cut[2]), text(_parsed(sql), _condition)

    def short(rows: Rows) -> pa.Array:
        column = rows.column(name)
        if column.type != pa.string():
            raise Left
        long = (pc.max(pc.binary_length(column)).as_py() or 0) > length
        return shortened(rows).array() if long else column

    return short


def _value(tree: exp.Expr) -> Compute:
    tree = tree.unnest()
    if isinstance(tree, exp.Column):
        return _column(tree)
    if isinstance(tree, exp.Mod):
        return _remainder(tree)
    if isinstance(tree, exp.Mul):
        return _product(tree)
    if isinstance(tree, exp.Cast) and isinstance(tree.this, exp.DateBin | exp.TimestampTrunc):
        return window(tree)
    possible = []
    for compile_it in (whole_numbers, _text):
        with contextlib.suppress(Left):
            possible.append(compile_it(tree, _condition))
    if len(possible) < 2:
        return _only(possible)
    return lambda rows: _first(possible, rows)


def _text(tree: exp.Expr, condition: Callable[[exp.Expr], Condition]) -> Compute:
    made = text(tree, condition)
    return lambda rows: made(rows).array()


def _only(possible: Sequence[Compute]) -> Compute:
    if not possible:
        raise Left
    return possible[0]


def _first(possible: Sequence[Compute], rows: Rows) -> pa.Array:
    """Of CASE the columns tell whether it is a number or a text."""
    try:
        return possible[0](rows)
    except Left:
        return possible[1](rows)


def _column(tree: exp.Expr, *types: pa.DataType) -> Compute:
    name = column_of(tree)

    def column(rows: Rows) -> pa.Array:
        found = rows.column(name)
        if found.type not in (types or _TYPES):
            raise Left
        return found

    return column


def _remainder(tree: exp.Mod) -> Compute:
    """With the sign of the dividend, as in DuckDB."""
    of, divisor = _column(tree.this.unnest(), pa.int64()), whole(tree.expression)
    if not 0 < divisor < 2**31:
        raise Left

    def remainder(rows: Rows) -> pa.Array:
        values = of(rows)
        return pc.subtract(values, pc.multiply(pc.divide(values, divisor), divisor))

    return remainder


def _product(tree: exp.Mul) -> Compute:
    """A decimal constant times a whole number: exact, and never too long for the type."""
    raw, precision, scale = _scaled(tree)

    def product(rows: Rows) -> pa.Array:
        found = raw(rows)
        wide = np.empty((len(rows), 2), np.int64)
        wide[:, 0] = found.values
        np.right_shift(wide[:, 0], 63, out=wide[:, 1])
        bits = None if found.given is None else pa.py_buffer(np.packbits(found.given, bitorder="little"))
        return pa.Array.from_buffers(pa.decimal128(precision, scale), len(wide), [bits, pa.py_buffer(wide)])

    return product


def _scaled(tree: exp.Mul) -> tuple[Callable[[Rows], Numbers], int, int]:
    """A product without its point, its precision and its scale."""
    factor, column = tree.this.unnest(), tree.expression.unnest()
    if not isinstance(factor, exp.Literal) or factor.is_string or not re.fullmatch(r"\d+\.\d+", factor.name):
        raise Left
    of = _column(column, pa.int64())
    _, digits, exponent = Decimal(factor.name).as_tuple()
    scale, times = -int(exponent), int("".join(map(str, digits)))
    precision = len(factor.name) - 1 + 19
    if not 0 < times < 2**31 or precision > 38:
        raise Left

    def raw(rows: Rows) -> Numbers:
        found = Numbers.of(of(rows))
        values = found.values
        assert isinstance(values, np.ndarray)
        if len(values) and max(abs(int(values.min())), abs(int(values.max()))) > (2**63 - 1) // times:
            raise Left
        return Numbers(values * times, found.given)

    key = tree.sql(dialect="duckdb")
    return lambda rows: rows.once(key, lambda: raw(rows)), precision, scale


def _condition(tree: exp.Expr) -> Condition:
    tree = tree.unnest()
    if isinstance(tree, exp.And | exp.Or):
        left, right = _condition(tree.this), _condition(tree.expression)
        both = pc.and_kleene if isinstance(tree, exp.And) else pc.or_kleene
        return lambda rows: both(left(rows), right(rows))
    if isinstance(tree, exp.Not):
        inner = _condition(tree.this)
        return lambda rows: pc.invert(inner(rows))
    if isinstance(tree, exp.Is) and isinstance(tree.expression, exp.Null):
        if not isinstance(tree.this.unnest(), exp.Column):
            place = number(tree.this, _condition)
            return lambda rows: missing(place(rows), len(rows))
        of = _column(tree.this.unnest())
        return lambda rows: pc.is_null(of(rows))
    if isinstance(tree, exp.Case):
        return _unless(tree)
    if isinstance(tree, exp.Column):
        return _column(tree, pa.bool_())
    if isinstance(tree, exp.In) and tree.expressions and tree.args.get("query") is None:
        tests = [_compared(tree.this, each, "equal") for each in tree.expressions]
        return lambda rows: _any([test(rows) for test in tests])
    if type(tree) in _COMPARE:
        return _compared(tree.this, tree.expression, _COMPARE[type(tree)])
    raise Left


def _unless(tree: exp.Case) -> Condition:
    """``CASE WHEN a THEN FALSE ELSE b END``, as `analytics.outcomes` writes conditions of which no part is passed over."""
    (arm, *others), otherwise = tree.args["ifs"], tree.args.get("default")
    refused = arm.args["true"]
    if others or tree.this is not None or otherwise is None or not isinstance(refused, exp.Boolean) or refused.this:
        raise Left
    excepted, rest = _condition(arm.this), _condition(otherwise)

    def unless(rows: Rows) -> pa.Array:
        found, without = rest(rows), excepted(rows)
        return pc.if_else(without.fill_null(False), False, found) if pc.any(without).as_py() else found

    return unless


def _any(values: Sequence[pa.Array]) -> pa.Array:
    found = values[0]
    for value in values[1:]:
        found = pc.or_kleene(found, value)
    return found


def _compared(left: exp.Expr, right: exp.Expr, kernel: str) -> Condition:
    """A column, a remainder, a product, a text or a place in a text beside a constant of its type."""
    left, right = left.unnest(), right.unnest()
    if isinstance(right, exp.Literal) and right.is_string:
        return _text_compared(left, right.name, kernel)
    value = whole(right)
    if isinstance(left, exp.Mul):
        raw, _, scale = _scaled(left)
        wanted = value * 10**scale
        if abs(wanted) >= 2**63:
            raise Left
        return lambda rows: compared(raw(rows), kernel, wanted)
    if not isinstance(left, exp.Mod | exp.Column):
        place = number(left, _condition)
        if abs(value) >= 2**63:
            raise Left
        return lambda rows: compared(place(rows), kernel, value)
    of = _remainder(left) if isinstance(left, exp.Mod) else _column(left, *_WHOLE)

    def numbers(rows: Rows) -> pa.Array:
        found = of(rows)
        try:
            return pc.call_function(kernel, [found, pa.scalar(value, found.type)])
        except (pa.ArrowInvalid, OverflowError):
            raise Left from None

    return numbers


def _text_compared(left: exp.Expr, constant: str, kernel: str) -> Condition:
    if isinstance(left, exp.Column):
        of = _column(left, pa.string())
        return lambda rows: pc.call_function(kernel, [of(rows), pa.scalar(constant)])
    if kernel not in ("equal", "not_equal"):
        raise Left
    made, wanted = text(left, _condition), constant.encode()
    key = f"{left.sql(dialect='duckdb')} = {constant}"

    def texts(rows: Rows) -> pa.Array:
        found = made(rows)
        same = rows.once(key, lambda: found.equal(wanted))
        return pa.array(~same if kernel == "not_equal" else same, mask=None if found.given is None else ~found.given)

    return texts
