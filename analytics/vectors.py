"""Expressions over texts and places in texts, without DuckDB: from the SQL of a pump to functions over `Rows`.

POSITION, SUBSTRING, LEFT, LENGTH, LOWER, UPPER, ||, CASE, a time as text, hours and minutes of a time. A part that occurs many
times, as expressions do that were put into one another, is computed once.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from analytics.spans import Left, Numbers, Texts, both, chosen
from connectors.formats import json_scan

CONSTANT_MAX = 1 << 31
"""Of whole numbers that are added to a place: nothing overflows."""
_FIRST_MS, _LAST_MS = -9_223_372_036_854, 9_223_372_036_854
"""What DuckDB can take parts of: nanoseconds that an int64 holds."""
_ARMS_MAX = 250
_MS = {"hour": (3_600_000, 24), "minute": (60_000, 60)}

Text = Callable[["Rows"], Texts]
Number = Callable[["Rows"], Numbers]
Condition = Callable[["Rows"], pa.Array]
"""A boolean for each row, NULL where it is unknown."""


class Rows:
    """Rows of a batch, all or those `numbers`. What was computed of them is remembered, also for a selection of them."""

    def __init__(self, batch: pa.RecordBatch, mask: pa.Array | None = None, before: Rows | None = None) -> None:
        self.batch = batch
        self._mask = mask
        self._before = before
        self._made: dict[str, Any] = {}
        self._numbers: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.batch) if self._mask is None else len(self._which())

    def where(self, mask: pa.Array) -> Rows:
        """Those for which it is true."""
        assert self._mask is None
        return Rows(self.batch, mask, self)

    @property
    def kernel(self) -> ModuleType:
        """Raises `Left`."""
        kernel = json_scan.texts(len(self.batch))
        if kernel is None:
            raise Left
        return kernel

    def column(self, name: str) -> pa.Array:
        def make() -> pa.Array:
            column = self.batch.column(name)
            return column if self._mask is None else _sure(column, self._mask).filter(self._mask)

        return self._once(f"column {name}", make)

    def texts(self, name: str) -> Texts:
        """A column of strings; raises `Left`. Its bytes are not copied."""
        rows = None if self._mask is None else self._which()
        return self.once(f"texts {name}", lambda: Texts.of(self.kernel, self.batch.column(name), rows))

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """What was made under this key, of these rows or of all of which they are a selection."""
        known = None if self._before is None else self._before._made.get(key)
        return self._once(key, make if known is None else lambda: known.take(self._which()))

    def _once(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _which(self) -> np.ndarray:
        if self._numbers is None:
            assert self._mask is not None
            self._numbers = np.flatnonzero(true(self._mask))
        return self._numbers


def _sure(column: pa.Array, mask: pa.Array) -> pa.Array:
    """A column without the bits that say what is NULL, where no row of the mask is: filtering those costs more than values."""
    if not column.null_count or pa.types.is_nested(column.type) or pa.types.is_dictionary(column.type):
        return column
    if pc.any(pc.and_not(mask, column.is_valid())).as_py():
        return column
    return pa.Array.from_buffers(column.type, len(column), [None, *column.buffers()[1:]], offset=column.offset)


def true(mask: pa.Array) -> np.ndarray:
    """Where a condition is true."""
    found: np.ndarray = (mask.fill_null(False) if mask.null_count else mask).to_numpy(zero_copy_only=False)
    return found


def text(tree: exp.Expr, condition: Callable[[exp.Expr], Condition]) -> Text:
    """Raises `Left`. `condition` makes those of CASE."""
    tree = tree.unnest()
    if isinstance(tree, exp.Column):
        name = column_of(tree)
        return lambda rows: rows.texts(name)
    if isinstance(tree, exp.Literal) and tree.is_string:
        constant = tree.name
        return lambda rows: Texts.all(rows.kernel, constant, len(rows))
    maker = _TEXTS.get(type(tree))
    if maker is None:
        raise Left
    return _remembered(tree, maker(tree, condition))


def number(tree: exp.Expr, condition: Callable[[exp.Expr], Condition]) -> Number:
    """Places, lengths, and sums of these with constants. Raises `Left`."""
    tree = tree.unnest()
    if isinstance(tree, exp.Literal | exp.Neg):
        constant = whole(tree)
        if abs(constant) >= CONSTANT_MAX:
            raise Left
        return lambda rows: Numbers(constant)
    maker = _NUMBERS.get(type(tree))
    if maker is None:
        raise Left
    return _remembered(tree, maker(tree, condition))


def _remembered(tree: exp.Expr, compute: Callable[[Rows], Any]) -> Callable[[Rows], Any]:
    key = tree.sql(dialect="duckdb")
    return lambda rows: rows.once(key, lambda: compute(rows))


def column_of(tree: exp.Expr) -> str:
    """The name of a column of the rows. Raises `Left`."""
    if not isinstance(tree, exp.Column) or tree.table != "t0" or not isinstance(tree.this, exp.Identifier):
        raise Left
    return tree.name


def whole(tree: exp.Expr) -> int:
    """A whole number that is written out. Raises `Left`."""
    tree = tree.unnest()
    if isinstance(tree, exp.Neg):
        return -whole(tree.this)
    if not isinstance(tree, exp.Literal) or tree.is_string or not tree.name.isdigit():
        raise Left
    return int(tree.name)


def _substring(tree: exp.Expr, condition: Any) -> Text:
    of, start = text(tree.this, condition), number(tree.args["start"], condition)
    count = None if tree.args.get("length") is None else number(tree.args["length"], condition)
    return lambda rows: of(rows).cut(start(rows), None if count is None else count(rows))


def _left(tree: exp.Expr, condition: Any) -> Text:
    of, count = text(tree.this, condition), Numbers(whole(tree.expression))
    return lambda rows: of(rows).cut(Numbers(1), count)


def _joined(tree: exp.Expr, condition: Any) -> Text:
    left, right = text(tree.this, condition), text(tree.expression, condition)
    return lambda rows: left(rows).joined(right(rows))


def _folded(tree: exp.Expr, condition: Any) -> Text:
    of, upper = text(tree.this, condition), isinstance(tree, exp.Upper)
    return lambda rows: of(rows).folded(upper)


def _time_as_text(tree: exp.Expr, _: Any) -> Text:
    if tree.args["to"].sql(dialect="duckdb") != "TEXT":
        raise Left
    times = times_of(tree.this)
    return lambda rows: Texts.times(rows.kernel, times(rows))


def _case(tree: exp.Expr, condition: Callable[[exp.Expr], Condition]) -> Text:
    if tree.this is not None or len(tree.args["ifs"]) > _ARMS_MAX:
        raise Left
    tests = [condition(arm.this) for arm in tree.args["ifs"]]
    results = [*(arm.args["true"] for arm in tree.args["ifs"]), tree.args.get("default") or exp.Null()]
    arms = [_possible(each, condition) for each in results]

    def case(rows: Rows) -> Texts:
        arm = np.full(len(rows), len(tests), np.uint8)
        for place in reversed(range(len(tests))):
            arm[true(tests[place](rows))] = place
        chances = np.bincount(arm, minlength=len(arms))
        only = arms[int(chances.argmax())]
        if only is not None and len(rows) == chances.max():
            return only(rows)
        made = []
        for place, compute in enumerate(arms):
            if not chances[place]:
                made.append(Texts.all(rows.kernel, "", len(rows)))
            elif compute is None:
                raise Left
            else:
                made.append(compute(rows))
        return chosen(made, arm)

    return case


def _possible(tree: exp.Expr, condition: Any) -> Text | None:
    """None for what DuckDB has to compute, if a row needs it: mostly what makes the row fail."""
    if isinstance(tree, exp.Null):
        return lambda rows: Texts.none(rows.kernel, len(rows))
    try:
        return text(tree, condition)
    except Left:
        return None


def _position(tree: exp.Expr, condition: Any) -> Number:
    of, sought = text(tree.this, condition), tree.args["substr"]
    if not isinstance(sought, exp.Literal) or not sought.is_string or not sought.name or not sought.name.isascii():
        raise Left
    needle = sought.name.encode()
    return lambda rows: of(rows).find(needle)


def _length(tree: exp.Expr, condition: Any) -> Number:
    if isinstance(tree, exp.Anonymous) and (tree.name.lower() != "strlen" or len(tree.expressions) != 1):
        raise Left
    of = text(tree.expressions[0] if isinstance(tree, exp.Anonymous) else tree.this, condition)
    return lambda rows: of(rows).lengths()


def _sum(tree: exp.Expr, condition: Any) -> Number:
    left, right = number(tree.this, condition), number(tree.expression, condition)
    sign = 1 if isinstance(tree, exp.Add) else -1

    def total(rows: Rows) -> Numbers:
        one, other = left(rows), right(rows)
        return Numbers(one.values + sign * other.values, both(one.given, other.given))

    return total


def _extreme(tree: exp.Expr, condition: Any) -> Number:
    """GREATEST and LEAST, for which NULL does not count."""
    parts = [number(each, condition) for each in (tree.this, *tree.expressions)]
    better = np.maximum if isinstance(tree, exp.Greatest) else np.minimum
    constant = max if isinstance(tree, exp.Greatest) else min

    def extreme(rows: Rows) -> Numbers:
        found = parts[0](rows)
        for part in parts[1:]:
            other = part(rows)
            if isinstance(found.values, int) and isinstance(other.values, int):
                found = Numbers(constant(found.values, other.values))
            elif found.given is None and other.given is None:
                found = Numbers(better(found.values, other.values))
            else:
                found = _better(better, found, other)
        return found

    return extreme


def _better(better: Any, one: Numbers, other: Numbers) -> Numbers:
    values = better(one.values, other.values)
    if one.given is not None:
        values = np.where(one.given, values, other.values)
    if other.given is not None:
        values = np.where(other.given, values, one.values)
    if one.given is None or other.given is None:
        return Numbers(values)
    return Numbers(values, one.given | other.given)


def _part(tree: exp.Expr, _: Any) -> Number:
    """``CAST(date_part('hour', t) AS BIGINT)``."""
    part = tree.this.unnest()
    if tree.args["to"].sql(dialect="duckdb") != "BIGINT" or not isinstance(part, exp.Anonymous):
        raise Left
    if part.name.lower() != "date_part" or len(part.expressions) != 2 or part.expressions[0].name not in _MS:
        raise Left
    unit, many = _MS[part.expressions[0].name]
    times = times_of(part.expressions[1])

    def parts(rows: Rows) -> Numbers:
        found = times(rows)
        return Numbers(found.values // unit % many, found.given)

    return parts


def times_of(tree: exp.Expr) -> Number:
    """Milliseconds of the years 1677 to 2262."""
    name = column_of(tree.unnest())

    def times(rows: Rows) -> Numbers:
        column = rows.column(name)
        if column.type != pa.timestamp("ms"):
            raise Left
        found = Numbers.of(column)
        assert isinstance(found.values, np.ndarray)
        if len(column) and not _FIRST_MS <= int(found.values.min()) <= int(found.values.max()) <= _LAST_MS:
            raise Left
        return found

    return lambda rows: rows.once(f"times {name}", lambda: times(rows))


def compared(found: Numbers, kernel: str, constant: int) -> pa.Array:
    """Numbers beside a constant. Raises `Left`."""
    if isinstance(found.values, int):
        raise Left
    values = getattr(np, kernel)(found.values, constant)
    return pa.array(values, mask=None if found.given is None else ~found.given)


def missing(found: Numbers, count: int) -> pa.Array:
    """Which of the numbers are NULL."""
    return pa.array(np.zeros(count, np.bool_) if found.given is None else ~found.given)


_TEXTS: dict[type[exp.Expr], Callable[[exp.Expr, Any], Text]] = {
    exp.Substring: _substring,
    exp.Left: _left,
    exp.DPipe: _joined,
    exp.Lower: _folded,
    exp.Upper: _folded,
    exp.Cast: _time_as_text,
    exp.Case: _case,
}
_NUMBERS: dict[type[exp.Expr], Callable[[exp.Expr, Any], Number]] = {
    exp.StrPosition: _position,
    exp.Length: _length,
    exp.Anonymous: _length,
    exp.Add: _sum,
    exp.Sub: _sum,
    exp.Greatest: _extreme,
    exp.Least: _extreme,
    exp.Cast: _part,
}
