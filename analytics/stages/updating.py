"""Queries into a table: groups without a window, whose present state the table has, and no more than it RETAINs."""

from __future__ import annotations

from sqlglot import exp

from analytics.aggregates import Partial, plan
from analytics.errors import SqlError
from analytics.expressions import Expressions
from analytics.grouping import aggregates_in
from analytics.operators.accumulating import GONE, Accumulating, Part
from analytics.operators.retention import Retain, Retention
from analytics.partials import argument_of
from analytics.places import place_of
from analytics.plan import Pump, RowQuery
from analytics.relation import physical
from analytics.resolved import Query
from analytics.stages.base import Final, Stages, kept

_ENDS = (exp.FirstValue, exp.LastValue)


def keep(stages: Stages, query: Query, retain: Retain, changing: tuple[tuple[str, str], ...] | None) -> Final:
    """A query whose rows are a table; what comes out are the groups that have changed. `changing` are the keys of its stream,
    where that is one of groups already."""
    if query.rowtime is not None or query.distinct or query.order:
        what = "a query into a table has neither AS ROWTIME, DISTINCT nor ORDER BY: a table has no order"
        raise SqlError(what, place_of(query.tree), expected="ORDER BY where the table is queried")
    if changing is not None and not query.grouped:
        query.where = _present(query.where)
        return Final(query, Expressions(stages.types, query.source), None, changing)
    if changing is not None:
        raise SqlError(
            "the first rows of a key are not grouped again", place_of(query.tree), expected="a batch query of the table"
        )
    if not query.grouped:
        what = "a table keeps groups, and this query has none: its rows would be kept for ever"
        raise SqlError(
            what, place_of(query.tree), expected="GROUP BY, ROW_NUMBER with a bound, or a stream instead of the table"
        )
    return _accumulate(stages, query, retain)


def _accumulate(stages: Stages, query: Query, retain: Retain) -> Final:
    at = place_of(query.tree.args.get("group")) or place_of(query.tree)
    if query.stagger_ms is not None:
        raise SqlError("a stagger window goes into a stream, not into a table", at)
    trees = [*(tree for _, tree in query.items), *([] if query.having is None else [query.having])]
    rows = Expressions(stages.types, query.source)
    known: list[tuple[exp.Expr, str]] = []
    columns = [("rt", "t0.rt")]
    shape: list[tuple[str, str]] = []
    for number, key in enumerate(query.keys or [exp.Literal.number(0)]):
        sql, duck = rows.typed(key)
        columns.append((f"k{number}", sql))
        shape.append((f"k{number}", kept(duck)))
        if query.keys:
            known.append((key, f"t0.k{number}"))
    keys = tuple(shape)
    parts: list[Part] = []
    for number, tree in enumerate(aggregates_in(trees)):
        argument = None if isinstance(tree.this, exp.Star) else f"x{number}"
        if argument is not None:
            sql, duck = rows.typed(argument_of(tree))
            columns.append((argument, sql))
            shape.append((argument, kept(duck)))
        aggregate = plan(tree, argument, rows)
        if aggregate.kept or aggregate.distinct:
            name = tree.sql_name() if isinstance(tree, exp.Func) else tree.key.upper()
            name = f"{name}(DISTINCT …)" if isinstance(tree.this, exp.Distinct) else name
            what = f"{name} of a group that goes on would keep every row of it"
            raise SqlError(what, place_of(tree) or at, expected="a window in GROUP BY")
        names = []
        for part in aggregate.partials:
            name = f"a{len(parts)}"
            parts.append(_part(name, tree, argument, part))
            # Arrow has no HUGEINT, and gives a DECIMAL.
            names.append(f"CAST(t0.{name} AS {parts[-1].duck})")
        known.append((tree, names[0] if isinstance(tree, _ENDS) else aggregate.final.format(*names)))
    source = stages.stream([], shape)
    where = None if query.where is None else rows.condition(query.where, "WHERE")
    stages.pumps.append(
        Pump(stages.pump, query.stream.physical, source.physical, RowQuery(tuple(columns), query.joins, where))
    )
    result = stages.stream([], [*keys, *((part.name, part.duck) for part in parts), (GONE, "BOOLEAN")])
    operator = Accumulating(stages.buffer(shape), Retention(stages.table(), keys, retain), stages.table(), parts)
    stages.operate(operator, result, source)
    known.append((physical("t0", GONE), f"t0.{GONE}"))
    query.where = _present(query.having)
    query.stream, query.joins, query.keys, query.having = result, "", [], None
    return Final(query, Expressions(stages.types, query.source, known), None, keys)


def _part(name: str, tree: exp.Expr, argument: str | None, part: Partial) -> Part:
    """A partial aggregate. What came before comes before what comes now, so that first and last need no order beside them."""
    if not isinstance(tree, _ENDS):
        return Part(name, part.compute, part.merge.format(name), part.duck)
    which = "first" if isinstance(tree, exp.FirstValue) else "last"
    duck = part.duck.removeprefix("STRUCT(v ").removesuffix(")")
    return Part(name, f"{which}({argument} ORDER BY rt, n)", f"{which}({name} ORDER BY fresh)", duck)


def _present(condition: exp.Expr | None) -> exp.Expr:
    present = exp.Not(this=physical("t0", GONE))
    return present if condition is None else exp.And(this=present, expression=exp.Paren(this=condition))
