"""Aggregates as partial results: one row a group and micro-batch, merged when the window closes.

An aggregate keeps one or two partial columns; merging them is associative, so the result does not depend on how the
stream was cut into batches. ``p`` in the final expression stands for the merged partial columns.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from analytics.dialect import place_of
from analytics.errors import SqlError
from analytics.expressions import Expressions
from analytics.types import family, is_integer


@dataclass(frozen=True, slots=True)
class Partial:
    """One partial column: what computes it from the rows of a batch, what merges it, its type in the state."""

    compute: str
    merge: str
    duck: str


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`argument` is the row expression it is computed over (None for COUNT(*)), `final` its value from the merged
    partials, which stand in it as {0} and {1}."""

    partials: tuple[Partial, ...]
    final: str


def plan(node: exp.Expr, argument: str | None, rows: Expressions) -> Aggregate:
    """`argument` is the name of the column that holds the aggregate's argument; its type is looked up through `rows`,
    which write the argument itself."""
    inner = node.this
    if isinstance(inner, exp.Distinct):
        raise SqlError("DISTINCT in an aggregate of a stream is not supported", place_of(node))
    if isinstance(node, exp.Count):
        if len(node.expressions) > 0:
            raise SqlError("COUNT takes one argument", place_of(node))
        compute = "count(*)" if argument is None else f"count({argument})"
        return Aggregate((Partial(compute, "sum", "BIGINT"),), "CAST({0} AS BIGINT)")
    duck = rows.type(rows.write(inner), node)
    if isinstance(node, exp.Min | exp.Max):
        name = "min" if isinstance(node, exp.Min) else "max"
        return Aggregate(
            (Partial(f"{name}({argument})", name, "TIMESTAMP_MS" if family(duck) == "timestamp" else duck),), "{0}"
        )
    if family(duck) != "number":
        raise SqlError(f"{node.key.upper()} of {family(duck)}", place_of(node), expected="a number")
    if is_integer(duck):
        total = Partial(f"sum({argument})", "sum", "HUGEINT")
        value, average = "CAST({0} AS BIGINT)", "CAST({0} // nullif({1}, 0) AS BIGINT)"
    elif duck.startswith("DECIMAL"):
        kept = f"DECIMAL(38,{duck[8:-1].split(',')[1]})"
        total = Partial(f"sum({argument})", "sum", kept)
        value, average = "{0}", f"CAST({{0}} / nullif({{1}}, 0) AS {kept})"
    else:
        total = Partial(f"sum({argument})", "sum", "DOUBLE")
        value, average = "{0}", "({0} / nullif({1}, 0))"
    if isinstance(node, exp.Sum):
        return Aggregate((total,), value)
    return Aggregate((total, Partial(f"count({argument})", "sum", "BIGINT")), average)
