"""AS ROWTIME, DISTINCT and ORDER BY, over the values of the select list."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from analytics.errors import SqlError
from analytics.expressions import Expressions
from analytics.monotonic import direction, time_window
from analytics.operators.distinct import Distinct
from analytics.operators.reached import Reached
from analytics.operators.runs import Runs
from analytics.operators.timing import Ordered, Retimed
from analytics.operators.work import Operator
from analytics.places import place_of
from analytics.relation import physical
from analytics.stages.base import TIME, Final, Stages, columns_of, shown


def arrange(stages: Stages, final: Final) -> Final:
    """AS ROWTIME, DISTINCT and ORDER BY, over the values of the select list."""
    query = final.query
    items = [(name or f"EXPR${i}", tree) for i, (name, tree) in enumerate(query.items)]
    trees = [tree for _, tree in items]
    for tree, _ in query.order:
        if tree not in trees:
            trees.append(tree)
    if query.distinct and len(trees) > len(items):
        raise SqlError("SELECT DISTINCT is ordered by what it selects", place_of(query.tree))
    if query.rowtime is not None:
        trees.append(query.rowtime)
    named = [items[i] if i < len(items) else ("", tree) for i, tree in enumerate(trees)]
    relation = stages.project(final, named)
    columns = columns_of(relation)
    if query.distinct:
        values = [f"c{i}" for i, (_, tree) in enumerate(items) if direction(tree) not in (None, 0) and not _bare(tree)]
        if not values:
            what = (
                "SELECT DISTINCT of a stream never forgets a row unless it selects an expression that goes on with time"
            )
            raise SqlError(
                what, place_of(query.tree), expected="STEP(ROWTIME BY …) or FLOOR(ROWTIME TO …) in the select list"
            )
        target = stages.stream(shown(relation))
        stages.operate(Distinct(stages.buffer(columns), values, stages.table()), target, relation)
        relation = target
    if query.rowtime is not None:
        time = f"c{len(trees) - 1}"
        if dict(columns)[time] != TIME:
            raise SqlError("ROWTIME is a TIMESTAMP", place_of(query.rowtime), expected="a TIMESTAMP AS ROWTIME")
        target = stages.stream(shown(relation))
        own = direction(query.rowtime) is None
        stages.operate(Retimed(stages.buffer(columns), time, Reached(stages.table()), own), target, relation)
        relation = target
    if query.order:
        target = stages.stream(shown(relation))
        names = [f"c{trees.index(tree)}" for tree, _ in query.order]
        stages.operate(_ordering(stages, final, columns, names), target, relation)
        relation = target
    query.stream, query.joins, query.where = relation, "", None
    query.items = [(name, physical("t0", f"c{i}")) for i, (name, _) in enumerate(items)]
    query.order, query.rowtime = [], None
    return Final(query, Expressions(stages.types, query.source), None)


def _bare(tree: exp.Expr) -> bool:
    return isinstance(tree, exp.Column)


def _ordering(stages: Stages, final: Final, columns: Sequence[tuple[str, str]], names: Sequence[str]) -> Operator:
    query = final.query
    first, descending = query.order[0]
    by = ", ".join(
        [f"{name}{' DESC' if down else ''}" for name, (_, down) in zip(names, query.order, strict=True)] + ["rt", "n"]
    )
    buffer = stages.buffer(columns)
    if descending or direction(first) in (None, 0):
        raise SqlError(
            "the first key of ORDER BY does not go on with time",
            place_of(first) or place_of(query.tree),
            expected="ROWTIME, FLOOR(ROWTIME TO unit) or STEP(ROWTIME BY …), ascending",
        )
    if final.grouped:
        return Ordered(buffer, "rt", by)
    window = time_window(first)
    if window is None or window.value is not None:
        return Runs(buffer, [names[0]], stages.table(), timed=False, order=by)
    return Ordered(buffer, window.over.replace("CAST(w ", f"CAST({names[0]} "), by)
