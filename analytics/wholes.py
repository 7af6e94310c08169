"""Whole numbers and windows of time, without DuckDB: from the SQL of a pump to columns with DuckDB's types.

Columns, constants, CASE WHEN of these, bits that are put together, and of a time STEP and FLOOR to units that have a length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from sqlglot import exp

from analytics.intervals import FIELD_MS
from analytics.spans import Left, Numbers, both
from analytics.vectors import Condition, Rows, column_of, number, times_of, true, whole

UNITS_MS = {"MILLISECOND": 1, **FIELD_MS}
"""Units of time of one length."""

Conditions = Callable[[exp.Expr], Condition]


@dataclass(frozen=True, slots=True)
class _Whole:
    """Numbers and their type in DuckDB, INTEGER or BIGINT."""

    numbers: Numbers
    type: pa.DataType


def whole_numbers(tree: exp.Expr, condition: Conditions) -> Callable[[Rows], pa.Array]:
    """Raises `Left`. `condition` makes those of CASE."""
    compute = _made(tree, condition)

    def column(rows: Rows) -> pa.Array:
        found = compute(rows)
        numbers, given = found.numbers, found.numbers.given
        values = np.full(len(rows), numbers.values) if isinstance(numbers.values, int) else numbers.values
        values = values.astype(found.type.to_pandas_dtype(), copy=False)
        return pa.array(values, mask=None if given is None else ~given)

    return column


def _made(tree: exp.Expr, condition: Conditions) -> Callable[[Rows], _Whole]:
    tree = tree.unnest()
    if isinstance(tree, exp.Literal | exp.Neg):
        constant = whole(tree)
        if abs(constant) >= 2**31:
            raise Left
        return lambda rows: _Whole(Numbers(constant), pa.int32())
    if isinstance(tree, exp.Column):
        return _column(column_of(tree))
    if isinstance(tree, exp.Case):
        made = _case(tree, condition)
    elif isinstance(tree, exp.BitwiseOr):
        made = _together(_made(tree.this, condition), _made(tree.expression, condition))
    elif isinstance(tree, exp.Cast) and tree.to.is_type("bigint") and not isinstance(tree.this.unnest(), exp.Anonymous):
        inner = _made(tree.this, condition)
        return lambda rows: _Whole(inner(rows).numbers, pa.int64())
    else:
        place = number(tree, condition)
        return lambda rows: _Whole(place(rows), pa.int64())
    key = tree.sql(dialect="duckdb")
    return lambda rows: rows.once(key, lambda: made(rows))


def _column(name: str) -> Callable[[Rows], _Whole]:
    def column(rows: Rows) -> _Whole:
        found = rows.column(name)
        if found.type not in (pa.int32(), pa.int64()):
            raise Left
        return _Whole(Numbers.of(found), found.type)

    return column


def _together(left: Callable[[Rows], _Whole], right: Callable[[Rows], _Whole]) -> Callable[[Rows], _Whole]:
    def together(rows: Rows) -> _Whole:
        one, other = left(rows), right(rows)
        values = _narrow(one.numbers.values) | _narrow(other.numbers.values)
        numbers = Numbers(values, both(one.numbers.given, other.numbers.given))
        return _Whole(numbers, _wider(one.type, other.type))

    return together


def _case(tree: exp.Case, condition: Conditions) -> Callable[[Rows], _Whole]:
    if tree.this is not None:
        raise Left
    tests = [_tested(arm.this, condition) for arm in tree.args["ifs"]]
    arms = [_made(arm.args["true"], condition) for arm in tree.args["ifs"]]
    otherwise = tree.args.get("default")
    rest = None if otherwise is None or isinstance(otherwise, exp.Null) else _made(otherwise, condition)

    def case(rows: Rows) -> _Whole:
        found = _Whole(Numbers(0, np.zeros(len(rows), np.bool_)), pa.int32()) if rest is None else rest(rows)
        values, given, kind = found.numbers.values, found.numbers.given, found.type
        for test, arm in zip(reversed(tests), reversed(arms), strict=True):
            met, made = test(rows), arm(rows)
            values = _chosen(met, made.numbers.values, values)
            kind = _wider(kind, made.type)
            if given is not None or made.numbers.given is not None:
                here = True if made.numbers.given is None else made.numbers.given
                given = np.where(met, here, True if given is None else given)
        return _Whole(Numbers(values, given), kind)

    return case


def _tested(tree: exp.Expr, condition: Conditions) -> Callable[[Rows], np.ndarray]:
    """Where a condition is true, computed once for all that ask it."""
    test, key = condition(tree), f"test {tree.sql(dialect='duckdb')}"
    return lambda rows: true(rows.once(key, lambda: test(rows)))


def _chosen(met: np.ndarray, one: np.ndarray | int, other: np.ndarray | int) -> np.ndarray:
    """`one` where it is `met`, otherwise the `other`."""
    if isinstance(one, int) and isinstance(other, int) and abs(one) < 64 and abs(other) < 64:
        return met.view(np.int8) * np.int8(one - other) + np.int8(other)  # a tenth of what a choice costs
    return np.where(met, _narrow(one), _narrow(other))


def _narrow(values: np.ndarray | int) -> Any:
    """A constant in as few bytes as hold it: columns of such are put together several times faster."""
    if not isinstance(values, int):
        return values
    return next(kind(values) for kind in (np.int8, np.int16, np.int32) if abs(values) <= np.iinfo(kind).max)


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    return pa.int64() if pa.int64() in (one, other) else pa.int32()


def window(tree: exp.Expr) -> Callable[[Rows], pa.Array]:
    """``CAST(time_bucket(INTERVAL '10 SECOND', t, TIMESTAMP '1970-01-01') AS TIMESTAMP_MS)`` and the same of ``date_trunc``.
    Raises `Left`."""
    if not isinstance(tree, exp.Cast) or tree.to.sql(dialect="duckdb") != "TIMESTAMP_MS":
        raise Left
    start = tree.this
    if isinstance(start, exp.TimestampTrunc):
        length_ms, of = UNITS_MS.get(start.args["unit"].name.upper(), 0), start.this
    elif isinstance(start, exp.DateBin) and start.args["unit"].this.name == "1970-01-01":
        length_ms, of = _length_ms(start.this), start.expression
    else:
        raise Left
    if isinstance(of, exp.Cast) and of.to.sql(dialect="duckdb") == "TIMESTAMP":
        of = of.this
    if length_ms == 0:
        raise Left
    times = times_of(of)

    def windows(rows: Rows) -> pa.Array:
        found = times(rows)
        values, given = found.values, found.given
        assert isinstance(values, np.ndarray)
        if len(values):
            first, last = (int(each) // length_ms * length_ms for each in (values.min(), values.max()))
            values = np.full(len(values), first) if first == last else values // length_ms * length_ms
        return pa.array(values, mask=None if given is None else ~given).cast(pa.timestamp("ms"))

    return windows


def _length_ms(tree: exp.Expr) -> int:
    """Of ``INTERVAL '10 SECOND'`` or ``to_milliseconds(2000)``; 0 for what has no one length."""
    if isinstance(tree, exp.Interval) and tree.this.name.isdigit():
        return int(tree.this.name) * UNITS_MS.get(tree.args["unit"].name.upper(), 0)
    if isinstance(tree, exp.Anonymous) and tree.name.lower() == "to_milliseconds":
        return whole(tree.expressions[0])
    return 0
