"""Aggregates as partial results: one row a group and micro-batch, merged when the window closes.

An aggregate keeps one or two partial columns; merging them is associative, so the result does not depend on how the
stream was cut into batches. Aggregates of different values keep those values, one row each (`analytics.partials`).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from analytics import decimals
from analytics.errors import SqlError
from analytics.expressions import Expressions
from analytics.places import place_of
from analytics.types import family, is_integer


@dataclass(frozen=True, slots=True)
class Partial:
    """One partial column: what computes it from the rows of a batch, what merges it (``{0}`` is the column), its type in the
    state. `order` is the column by which rows have an order, where `merge` needs it: ``o0`` or ``o1``, the least or the
    greatest of a partial row."""

    compute: str
    merge: str
    duck: str
    order: str = ""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`final` is the value from the merged partials, which stand in it as {0} and {1}. One of `distinct` values has no
    `merge`. One that cannot be merged is computed over the rows themselves, which are `kept` until the window closes, with
    their order ``o``."""

    partials: tuple[Partial, ...]
    final: str
    kept: bool = False
    distinct: bool = False


_STATISTICS: dict[type[exp.Expr], str] = {
    exp.Stddev: "stddev_samp",
    exp.StddevSamp: "stddev_samp",
    exp.StddevPop: "stddev_pop",
    exp.Variance: "var_samp",
    exp.VariancePop: "var_pop",
}


def is_distinct(node: exp.Expr) -> bool:
    """Whether an aggregate is of different values; the least and the greatest are the same of all."""
    return isinstance(node.this, exp.Distinct) and not isinstance(node, exp.Min | exp.Max)


def plan(node: exp.Expr, argument: str | None, rows: Expressions) -> Aggregate:
    """`argument` is the name of the column that holds the aggregate's argument; its type is looked up through `rows`,
    which write the argument itself."""
    distinct = isinstance(node.this, exp.Distinct)
    if isinstance(node, exp.Count):
        if len(node.expressions) > 0 or (distinct and len(node.this.expressions) > 1):
            raise SqlError("COUNT takes one argument", place_of(node))
        inside = "*" if argument is None else f"DISTINCT {argument}" if distinct else argument
        count = Partial(f"count({inside})", "sum({0})", "BIGINT")
        return Aggregate((count,), "CAST({0} AS BIGINT)", distinct=distinct)
    inner = node.this.expressions[0] if distinct else node.this
    duck = rows.type(rows.write(inner), node)
    whole = "TIMESTAMP_MS" if family(duck) == "timestamp" else "VARCHAR" if family(duck) == "null" else duck
    if isinstance(node, exp.Min | exp.Max):
        name = "min" if isinstance(node, exp.Min) else "max"
        return Aggregate((Partial(f"{name}({argument})", f"{name}({{0}})", whole),), "{0}")
    if isinstance(node, exp.FirstValue | exp.LastValue):
        name, order = ("arg_min", "o0") if isinstance(node, exp.FirstValue) else ("arg_max", "o1")
        # A row of one field is not NULL where its value is, and so is not passed over.
        packed = f"{name}(struct_pack(v := CAST({argument} AS {whole})), o)"
        return Aggregate((Partial(packed, f"{name}({{0}}, {order})", f"STRUCT(v {whole})", order),), "{0}.v")
    if isinstance(node, exp.LogicalOr | exp.LogicalAnd):
        if family(duck) != "boolean":
            raise SqlError(f"{_shown(node)} of {family(duck)}", place_of(node), expected="a condition")
        name = "bool_or" if isinstance(node, exp.LogicalOr) else "bool_and"
        return Aggregate((Partial(f"{name}({argument})", f"{name}({{0}})", "BOOLEAN"),), "{0}")
    if not isinstance(node, exp.Sum | exp.Avg) and type(node) not in _STATISTICS:
        if isinstance(node, exp.Lag | exp.NthValue):
            what = f"{_shown(node)} looks at rows of a sliding window"
            raise SqlError(what, place_of(node), expected=f"{_shown(node)}(…) OVER (… PRECEDING)")
        raise SqlError(f"the aggregate {_shown(node)} is not supported", place_of(node))
    if family(duck) != "number":
        raise SqlError(f"{_shown(node)} of {family(duck)}", place_of(node), expected="a number")
    if type(node) in _STATISTICS:
        compute = f"{_STATISTICS[type(node)]}({argument} ORDER BY o)"
        return Aggregate((Partial(compute, "", "DOUBLE"),), "{0}", kept=True)
    return _sum(node, f"DISTINCT {argument}" if distinct else str(argument), duck, distinct)


def _sum(node: exp.Expr, argument: str, duck: str, distinct: bool) -> Aggregate:
    if is_integer(duck):
        total = Partial(f"sum({argument})", "sum({0})", "HUGEINT")
        value, average = "CAST({0} AS BIGINT)", "CAST({0} // nullif({1}, 0) AS BIGINT)"
    elif duck.startswith("DECIMAL"):
        kept = f"DECIMAL(38,{duck[8:-1].split(',')[1]})"
        total = Partial(f"sum({argument})", "sum({0})", kept)
        value, average = "{0}", decimals.mean("{0}", "{1}", kept)
    else:
        total = Partial(f"sum({argument})", "sum({0})", "DOUBLE")
        value, average = "{0}", "({0} / nullif({1}, 0))"
    if isinstance(node, exp.Sum):
        return Aggregate((total,), value, distinct=distinct)
    count = Partial(f"count({argument})", "sum({0})", "BIGINT")
    return Aggregate((total, count), average, distinct=distinct)


def _shown(node: exp.Expr) -> str:
    names: dict[type[exp.Expr], str] = {exp.LogicalOr: "ANY", exp.LogicalAnd: "EVERY"}
    return names.get(type(node)) or (node.sql_name() if isinstance(node, exp.Func) else node.key.upper())
