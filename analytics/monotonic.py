"""Which expressions go on with time: windows of ROWTIME, and what the language deduces to be monotonic."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from analytics.errors import SqlError
from analytics.intervals import UNITS, interval
from analytics.nodes import Elapsed, GroupWindow, Step
from analytics.places import place_of


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """`start` gives the window of a row; `over` when a window has ended and `stamp` the ROWTIME of its groups, both over its
    value ``w``; `value` what the expression itself is, where that is not ``w``."""

    start: exp.Expr
    over: str
    stamp: str
    value: str | None = None


def is_rowtime(tree: exp.Expr) -> bool:
    tree = tree.unnest()
    return isinstance(tree, exp.Column) and tree.name == "rt"


def time_window(tree: exp.Expr) -> TimeWindow | None:
    """The window of ROWTIME that an expression is; None if it is none."""
    tree = tree.unnest()
    if _promised(tree):
        return time_window(tree.expressions[0])
    if isinstance(tree, exp.Column) and tree.name == "rt":
        return TimeWindow(tree, _later("1 MILLISECOND"), "w")
    if isinstance(tree, Step) and is_rowtime(tree.this) and isinstance(tree.expression, exp.Interval):
        amount, unit = interval(tree.expression)
        end = _later(f"{amount} {unit}")
        return TimeWindow(tree, end, end)
    if isinstance(tree, exp.Floor | exp.Ceil) and tree.args.get("to") is not None:
        unit = tree.args["to"].name.upper()
        if unit not in UNITS:
            raise SqlError(f"{unit} is no unit of time", place_of(tree), expected=" or ".join(UNITS))
        if is_rowtime(tree.this):
            if isinstance(tree, exp.Ceil):
                return TimeWindow(tree, _later("1 MILLISECOND"), "w")
            end = _later(f"1 {unit}")
            return TimeWindow(tree, end, end)
        if isinstance(tree, exp.Floor):
            return _counted(tree, unit)
    return None


def _counted(tree: exp.Floor, unit: str) -> TimeWindow | None:
    """``FLOOR((ROWTIME - TIMESTAMP '1970-01-01 00:00:00') SECOND / 10 TO SECOND)``: windows of ten seconds."""
    inner = tree.this.unnest()
    count, origin = 1, inner
    if isinstance(inner, exp.Div):
        origin = inner.this.unnest()
        if not isinstance(inner.expression, exp.Literal) or not inner.expression.name.isdigit():
            return None
        count = int(inner.expression.name)
    if not isinstance(origin, Elapsed) or origin.args["unit"].name != unit or count == 0:
        return None
    difference = origin.this.unnest()
    begin = difference.expression.unnest()
    if not is_rowtime(difference.this) or not isinstance(begin, exp.Cast) or begin.this.name[:10] != "1970-01-01":
        return None
    length = exp.Interval(this=exp.Literal.string(str(count)), unit=exp.var(unit))
    end = _later(f"{count} {unit}")
    milliseconds = "epoch_ms(CAST(t0.w AS TIMESTAMP))"
    return TimeWindow(
        Step(this=difference.this.copy(), expression=length), end, end, f"to_milliseconds({milliseconds} // {count})"
    )


def _later(interval: str) -> str:
    return f"CAST(w + INTERVAL '{interval}' AS TIMESTAMP_MS)"


def _promised(tree: exp.Expr) -> bool:
    return isinstance(tree, exp.Anonymous) and tree.name.upper() == "MONOTONIC" and len(tree.expressions) == 1


def direction(tree: exp.Expr) -> int | None:
    """1 for what never goes back, -1 for what never goes on, 0 for a constant, None for anything else."""
    tree = tree.unnest()
    if _promised(tree):
        return 1
    if isinstance(tree, exp.Column):
        known: int | None = tree.meta.get("direction")
        return 1 if tree.name == "rt" else known
    if isinstance(tree, exp.Anonymous):
        return 1 if tree.name.upper() == "CURRENT_ROW_TIMESTAMP" else None
    if isinstance(tree, exp.Literal | exp.Interval | exp.Boolean | exp.Null):
        return 0
    if isinstance(tree, exp.Cast):
        return 0 if direction(tree.this) == 0 else None
    if isinstance(tree, Step | exp.Floor | exp.Ceil | Elapsed | GroupWindow):
        return direction(tree.this)
    if isinstance(tree, exp.Substring):
        start = tree.args.get("start")
        return direction(tree.this) if isinstance(start, exp.Literal) and start.name in ("0", "1") else None
    if isinstance(tree, exp.Neg):
        inner = direction(tree.this)
        return None if inner is None else -inner
    if isinstance(tree, exp.Add | exp.Sub | exp.Mul | exp.Div):
        return _arithmetic(tree)
    return None


def _arithmetic(tree: exp.Expr) -> int | None:
    left, right = direction(tree.this), direction(tree.expression)
    if left is None or right is None:
        return None
    if isinstance(tree, exp.Add | exp.Sub):
        right = right if isinstance(tree, exp.Add) else -right
        return left or right if left == right or 0 in (left, right) else None
    constant, other = (tree.this, right) if left == 0 else (tree.expression, left)
    if 0 not in (left, right):
        return None
    sign = _sign(constant)
    if sign is None:
        return None
    return -sign * other if isinstance(tree, exp.Div) and left == 0 else sign * other


def _sign(constant: exp.Expr) -> int | None:
    constant = constant.unnest()
    if isinstance(constant, exp.Neg):
        inner = _sign(constant.this)
        return None if inner is None else -inner
    if isinstance(constant, exp.Literal) and not constant.is_string:
        return 1 if float(constant.name) > 0 else None
    return None
