"""GROUP BY and WINDOWED BY STAGGER: which window a row belongs to, where an operator has to say it, and its groups."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from analytics import grouping
from analytics.errors import SqlError
from analytics.expressions import Expressions
from analytics.monotonic import direction
from analytics.operators.runs import Runs
from analytics.operators.stagger import Stagger
from analytics.operators.work import Operator
from analytics.places import place_of
from analytics.relation import Relation, physical
from analytics.resolved import Query
from analytics.stages.base import TIME, Final, Stages, columns_of, renamed, shown, used
from analytics.stages.wide import wide_window, widen


def group(stages: Stages, query: Query) -> Final:
    """The groups of a query; where it has none, the query as it is."""
    window = wide_window(query)
    if not query.grouped:
        return Final(query, Expressions(stages.types, query.source), None)
    if window is not None:
        return widen(stages, query, window)
    found = _fixed(stages, query)
    return Final(query, found.finals, found)


def _fixed(stages: Stages, query: Query) -> grouping.Grouped:
    """Groups whose window is a key, of which every row has one."""
    if query.stagger_ms is not None:
        return _staggered(stages, query, query.stagger_ms)
    window, others = grouping.window_of(query)
    if window is None:
        values = [number for number, key in enumerate(query.keys) if direction(key) not in (None, 0)]
        if not values:
            raise grouping.endless(query)
        return _by_runs(stages, query, values)
    return grouping.group(query, window, others, stages.types)


def _by_runs(stages: Stages, query: Query, values: Sequence[int]) -> grouping.Grouped:
    """Groups by monotonic expressions, the keys of the numbers `values`: they end when one of them changes."""
    relation, names = _materialized(stages, query, query.keys)
    run = [names[number] for number in values]
    operator = Runs(stages.buffer(columns_of(relation)), run, stages.table())
    return _with_window(stages, query, relation, operator, names, f"CAST(w + INTERVAL '1 MILLISECOND' AS {TIME})", "w")


def _staggered(stages: Stages, query: Query, length_ms: int) -> grouping.Grouped:
    if length_ms == 0:
        raise SqlError("a stagger window of no length", place_of(query.tree))
    relation, names = _materialized(stages, query, query.keys)
    operator = Stagger(stages.buffer(columns_of(relation)), names, stages.table(), length_ms)
    end = f"CAST(w + to_milliseconds({length_ms}) AS {TIME})"
    return _with_window(stages, query, relation, operator, names, end, end)


def _with_window(
    stages: Stages,
    query: Query,
    relation: Relation,
    operator: Operator,
    names: Sequence[str],
    over: str,
    stamp: str,
) -> grouping.Grouped:
    """Groups of the rows that an operator has told their window, in column ``w``."""
    target = stages.stream(shown(relation), [("w", TIME)])
    stages.operate(operator, target, relation)
    query.stream = target
    query.keys = [physical("t0", name) for name in names]
    return grouping.group(query, grouping.Key(physical("t0", "w"), over, stamp), query.keys, stages.types)


def _materialized(stages: Stages, query: Query, keys: Sequence[exp.Expr]) -> tuple[Relation, list[str]]:
    """A hidden stream of the keys, of what aggregates are of, and of every column that the rest of the query names; its trees
    are rewritten. So a row that fails does so before it can open a window or end one."""
    columns = list(used(query).values())
    arguments: list[exp.Expr] = []
    for tree in query.trees():
        for node in tree.walk():
            if _is_argument(node) and node not in arguments and node not in keys:
                arguments.append(node)
    known = [*keys, *arguments]
    trees = [*known, *columns]
    final = Final(query, Expressions(stages.types, query.source), None)
    relation = stages.project(final, [(str(t.meta.get("name", "")), t) for t in trees])
    names = [f"c{i}" for i in range(len(keys))]
    rename = renamed({(c.args["table"].name, c.name): f"c{len(known) + i}" for i, c in enumerate(columns)})

    def change(tree: exp.Expr) -> exp.Expr:
        def keyed(node: exp.Expr) -> exp.Expr:
            if isinstance(node, exp.Column) and node.meta.get("bare"):
                return node
            if node in keys:
                column = physical("t0", names[keys.index(node)])
            elif _is_argument(node):
                column = physical("t0", f"c{known.index(node)}")
            else:
                return node
            column.meta["settled"] = True
            return column

        marked = tree.copy().transform(keyed, copy=False)
        settled = [(c, c.name) for c in marked.find_all(exp.Column) if c.meta.get("settled")]
        for column, _ in settled:
            column.meta["bare"] = True
        changed = rename(marked)
        for column in changed.find_all(exp.Column):
            if column.meta.pop("settled", False):
                column.meta["bare"] = False
        return changed

    query.where = None
    query.change(change)
    query.stream, query.joins = relation, ""
    return relation, names


def _is_argument(node: exp.Expr) -> bool:
    """Whether an aggregate is of an expression, and this is it."""
    within = node.parent.parent if isinstance(node.parent, exp.Distinct) else node.parent
    return (
        isinstance(within, exp.AggFunc)
        and not isinstance(node, exp.Distinct | exp.Star | exp.Column | exp.Literal)
        and node.find(exp.Column) is not None
    )
