"""Functions OVER a sliding window, as DuckDB computes them over rows in the order ``k`` (`analytics.operators.sliding`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from analytics import decimals
from analytics.errors import SqlError
from analytics.intervals import milliseconds
from analytics.operands import alike
from analytics.operators.running import Function
from analytics.operators.sliding import PEER_BITS, PEERS, Frame
from analytics.places import place_of
from analytics.types import family, is_integer

Named = Callable[[exp.Expr], tuple[str, str]]
"""The column that holds a tree's value, and its type."""

_STATISTICS = {
    exp.Stddev: "stddev_samp",
    exp.StddevSamp: "stddev_samp",
    exp.StddevPop: "stddev_pop",
    exp.Variance: "var_samp",
    exp.VariancePop: "var_pop",
}


@dataclass(frozen=True, slots=True)
class Sliding:
    """A window as the compiler knows it: `number` is that of its frame in the operator."""

    frame: Frame
    number: int


def frame_of(window: exp.Window, named: Named) -> Frame:
    """Raises `SqlError` for frames that the language does not have, or that would keep every row."""
    expected = "RANGE INTERVAL 'n' unit PRECEDING or ROWS n PRECEDING"
    partition = tuple(named(tree)[0] for tree in window.args.get("partition_by") or [])
    order, spec = window.args.get("order"), window.args.get("spec")
    for each in [] if order is None else order.expressions:
        if not (isinstance(each.this, exp.Column) and each.this.name == "rt") or each.args.get("desc"):
            raise SqlError("a sliding window is in the order of ROWTIME", place_of(each) or place_of(window))
    if spec is None:
        raise SqlError("a window without a frame would keep every row", place_of(window), expected=expected)
    start, side = spec.args.get("start"), spec.args.get("start_side")
    end, end_side = spec.args.get("end"), spec.args.get("end_side")
    if side == "FOLLOWING" or end_side == "FOLLOWING":
        raise SqlError("a window that reaches ahead (FOLLOWING) is not supported", place_of(window), expected=expected)
    if start == "UNBOUNDED":
        raise SqlError("an UNBOUNDED window would keep every row", place_of(window), expected=expected)
    if end is not None and end != "CURRENT ROW":
        raise SqlError("a window reaches to the current row", place_of(window), expected="AND CURRENT ROW")
    kind = str(spec.args.get("kind") or "").upper()
    if start == "CURRENT ROW":
        return Frame(partition, 0 if kind == "RANGE" else None, None if kind == "RANGE" else 0)
    if kind == "RANGE" and isinstance(start, exp.Interval):
        length = milliseconds(start)
        if length == 0:
            raise SqlError("a window of 0 PRECEDING", place_of(window), expected="CURRENT ROW")
        return Frame(partition, length, None)
    if kind == "ROWS" and isinstance(start, exp.Literal) and start.name.isdigit():
        if int(start.name) == 0:
            raise SqlError("a window of 0 PRECEDING", place_of(window), expected="CURRENT ROW")
        return Frame(partition, None, int(start.name))
    raise SqlError("this window is not supported", place_of(window), expected=expected)


WIDE = "DECIMAL(38,0)"
"""The type of a sum that goes beyond 64 bits: an operator never fails, and what reads it can."""

_BIGINT = exp.DataType(this=exp.DType.BIGINT)

_RUNNING: dict[type[exp.Expr], str] = {
    exp.Count: "COUNT",
    exp.Sum: "SUM",
    exp.Avg: "AVG",
    exp.Min: "MIN",
    exp.Max: "MAX",
}


def running(window: exp.Window, sliding: Sliding, named: Named) -> Function | None:
    """The function as one that goes on with its frame; None for others. Sums of DOUBLE are not among them: the difference
    of two running sums is not the sum."""
    node = window.this
    kind = _RUNNING.get(type(node))
    if isinstance(node, exp.Count) and node.expressions:
        raise SqlError("COUNT takes one argument", place_of(node))
    if kind is None or isinstance(node.this, exp.Distinct):
        return None
    if isinstance(node.this, exp.Star):
        return Function(kind, None, sliding.number)
    column, duck = named(node.this)
    if kind in ("SUM", "AVG") and not is_integer(duck):
        return None
    if kind in ("MIN", "MAX") and family(duck) not in ("number", "text", "timestamp"):
        return None
    return Function(kind, column, sliding.number, wide=kind == "SUM" and is_wide(duck))


def is_wide(duck: str) -> bool:
    """Whether a sum of a type may be none of 64 bits: no frame holds rows enough for one of 32."""
    return duck in ("BIGINT", "HUGEINT", "UBIGINT")


def narrowed(window: exp.Window, column: exp.Expr, named: Named) -> exp.Expr:
    """What a query makes of a function's result: of a wide sum a BIGINT, which fails for a row where it is none."""
    summed = window.this.this if isinstance(window.this, exp.Sum) else None
    if isinstance(summed, exp.Distinct):
        summed = summed.expressions[0]
    return column if summed is None or not is_wide(named(summed)[1]) else exp.Cast(this=column, to=_BIGINT.copy())


def written(window: exp.Window, sliding: Sliding, named: Named) -> str:
    """The function in DuckDB's words."""
    node, frame = window.this, sliding.frame
    ignoring = isinstance(node, exp.IgnoreNulls)
    if isinstance(node, exp.IgnoreNulls | exp.RespectNulls):
        node = node.this
    over, nulls = frame.over, " IGNORE NULLS" if ignoring else ""
    if isinstance(node, exp.Anonymous):
        return _anonymous(node, over, named)
    if isinstance(node, exp.Lag):
        return _lag(node, sliding, ignoring, named)
    if isinstance(node, exp.FirstValue | exp.LastValue):
        name = "first_value" if isinstance(node, exp.FirstValue) else "last_value"
        return f"{name}({named(node.this)[0]}{nulls}) OVER {over}"
    if isinstance(node, exp.NthValue):
        return _nth(node, over, ignoring, named)
    if type(node) in _STATISTICS:
        value, kind = named(node.this)
        _number(node, kind)
        return f"{_STATISTICS[type(node)]}({value}) OVER {over}"
    if isinstance(node, exp.LogicalOr | exp.LogicalAnd):
        name = "bool_or" if isinstance(node, exp.LogicalOr) else "bool_and"
        return f"{name}({_condition(node, *named(node.this))}) OVER {over}"
    return _aggregate(node, over, named)


def _aggregate(node: exp.Expr, over: str, named: Named) -> str:
    if not isinstance(node, exp.Count | exp.Sum | exp.Avg | exp.Min | exp.Max):
        name = node.sql_name() if isinstance(node, exp.Func) else node.key.upper()
        raise SqlError(f"{name} is not supported in a window", place_of(node))
    if isinstance(node, exp.Count) and isinstance(node.this, exp.Star):
        return f"count(*) OVER {over}"
    distinct = isinstance(node.this, exp.Distinct)
    value, kind = named(node.this.expressions[0] if distinct else node.this)
    value = f"DISTINCT {value}" if distinct else value
    name = node.key
    if isinstance(node, exp.Count | exp.Min | exp.Max):
        return f"{name}({value}) OVER {over}"
    _number(node, kind)
    if isinstance(node, exp.Sum):
        if not is_integer(kind):
            return f"sum({value}) OVER {over}"
        return f"CAST(sum({value}) OVER {over} AS {WIDE if is_wide(kind) else 'BIGINT'})"
    if is_integer(kind):
        return f"TRY_CAST((sum({value}) OVER {over}) // nullif(count({value}) OVER {over}, 0) AS BIGINT)"
    if kind.startswith("DECIMAL"):
        return f"CAST({decimals.mean(f'(sum({value}) OVER {over})', f'(count({value}) OVER {over})', kind)} AS {kind})"
    return f"avg({value}) OVER {over}"


def _lag(node: exp.Lag, sliding: Sliding, ignoring: bool, named: Named) -> str:
    """LAG sees rows of the frame only: another gives the default."""
    value, kind = named(node.this)
    offset = node.args.get("offset")
    if offset is not None and not (isinstance(offset, exp.Literal) and offset.name.isdigit()):
        raise SqlError("LAG's offset is a whole number", place_of(node))
    back = 1 if offset is None else int(offset.name)
    default = node.args.get("default")
    otherwise = "NULL"
    if default is not None:
        given, type_given = named(default)
        if not isinstance(default.unnest(), exp.Null):
            alike([(node.this, kind), (default, type_given)], "LAG is of one type, not of {} and {}", node)
        otherwise = f"CAST({given} AS {kind})"
    frame = sliding.frame
    packed = f"{{'v': {value}, 'k': k, 'i': i{sliding.number}}}"
    if ignoring:
        packed = f"CASE WHEN {value} IS NULL THEN NULL ELSE {packed} END"
    found = f"(lag({packed}, {back}{' IGNORE NULLS' if ignoring else ''}) OVER {frame.order})"
    if frame.rows is not None:
        inside = f"i{sliding.number} - {found}.i <= {frame.rows}"
    else:
        inside = f"{found}.k >= k - {(frame.range_ms or 0) << PEER_BITS} - (k & {PEERS})"
    return f"CASE WHEN {inside} THEN {found}.v ELSE {otherwise} END"


def _nth(node: exp.NthValue, over: str, ignoring: bool, named: Named) -> str:
    offset = node.args.get("offset")
    if not isinstance(offset, exp.Literal) or not offset.name.isdigit() or int(offset.name) == 0:
        raise SqlError("NTH_VALUE counts from 1", place_of(node), expected="NTH_VALUE(x, n)")
    value = named(node.this)[0]
    if node.args.get("from_first") is False:
        every = f"list({value}){f' FILTER (WHERE {value} IS NOT NULL)' if ignoring else ''} OVER {over}"
        return f"list_extract({every}, -{offset.name})"
    return f"nth_value({value}, {offset.name}{' IGNORE NULLS' if ignoring else ''}) OVER {over}"


def _anonymous(node: exp.Anonymous, over: str, named: Named) -> str:
    name = node.name.upper()
    if name == "STD_DEV" and len(node.expressions) == 1:
        return f"stddev_samp({named(node.expressions[0])[0]}) OVER {over}"
    if name == "EVERY" and len(node.expressions) == 1:
        return f"bool_and({_condition(node, *named(node.expressions[0]))}) OVER {over}"
    if name != "EXP_AVG":
        raise SqlError(f"{name} is not supported in a window", place_of(node))
    if len(node.expressions) != 2 or not isinstance(node.expressions[1], exp.Interval):
        raise SqlError("EXP_AVG takes a value and the interval in which its weight halves", place_of(node))
    value, kind = named(node.expressions[0])
    _number(node, kind)
    half = milliseconds(node.expressions[1])
    if half == 0:
        raise SqlError("EXP_AVG needs an interval of more than nothing", place_of(node))
    ms = f"(k >> {PEER_BITS})"
    rows = f"(list({{'x': CAST({value} AS DOUBLE), 't': {ms}}}) FILTER (WHERE {value} IS NOT NULL) OVER {over})"
    weight = f"pow(2, (e.t - {ms}) / {half}.0)"
    return f"list_sum(list_transform({rows}, lambda e: e.x * {weight})) / list_sum(list_transform({rows}, lambda e: {weight}))"


def _condition(node: exp.Expr, value: str, kind: str) -> str:
    if family(kind) not in ("boolean", "null"):
        name = "ANY" if isinstance(node, exp.LogicalOr) else "EVERY"
        raise SqlError(f"{name} of {family(kind)}", place_of(node), expected="a condition")
    return value


def _number(node: exp.Expr, kind: str) -> None:
    if family(kind) not in ("number", "null"):
        raise SqlError(f"{node.key.upper()} of {family(kind)}", place_of(node), expected="a number")
