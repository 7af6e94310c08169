"""Reference tables beside a stream: joins with them, and queries over them in expressions, where rows are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from analytics import aggregates
from analytics.errors import SqlError
from analytics.expressions import Expressions
from analytics.outcomes import met
from analytics.places import place_of
from analytics.relation import physical
from analytics.resolved import Inner, Join, Query, aggregates_of, harmless
from analytics.stages.base import Final, Stages, columns_in, renamed, used

_CONDITIONS = (exp.And, exp.Or, exp.Not, exp.Paren, exp.Is, exp.Predicate)


def refer(stages: Stages, query: Query, join: Join) -> None:
    """Adds a join with a table to the query's source."""
    if join.side not in ("", "LEFT"):
        what = f"{join.side} JOIN with a reference table is not supported"
        raise SqlError(what, place_of(join.node), expected="INNER JOIN or LEFT JOIN")
    if join.inner is not None:
        query.joins += f" LEFT JOIN LATERAL ({_searched(stages, query, join.inner)}) AS {join.alias} ON TRUE"
        return
    relation, alias = join.relation, join.alias
    if join.on is None:
        query.joins += f" CROSS JOIN {relation.physical} AS {alias}"
        return
    writer = Expressions(stages.types, f"{query.source} CROSS JOIN {relation.physical} AS {alias}")
    query.joins += (
        f" {join.side or 'INNER'} JOIN {relation.physical} AS {alias} ON {_condition(stages, writer, join.on)}"
    )


def settle(stages: Stages, query: Query, joins: Sequence[Join]) -> None:
    """What joins with tables compute of the stream becomes columns of a hidden stream before them, if it can fail: a row for
    which it does so goes to the error stream, where in a join it would end the statement."""
    trees: list[exp.Expr] = []
    outside = {"t0"}
    for join in joins:
        for tree in _conditions(join):
            trees += [found for found in _fallible(tree, outside) if found not in trees]
    if not trees:
        return
    columns = [column for key, column in used(query).items() if key[0] in outside and key[1] != "rt"]
    where, query.where, query.before = query.where, query.before, None
    final = Final(query, Expressions(stages.types, query.source), None)
    relation = stages.project(final, [(str(t.meta.get("name", "")), t) for t in [*columns, *trees]])
    query.where = where
    rename = renamed({(c.args["table"].name, c.name): f"c{i}" for i, c in enumerate(columns)})

    def change(tree: exp.Expr) -> exp.Expr:
        def settled(node: exp.Expr) -> exp.Expr:
            if node not in trees:
                return node
            column = physical("t0", f"c{len(columns) + trees.index(node)}")
            column.meta["bare"] = True  # not to be renamed as a column of the source
            return column

        changed = rename(tree.copy().transform(settled, copy=False))
        for column in changed.find_all(exp.Column):
            if column.name != "rt":
                column.meta["bare"] = False
        return changed

    query.change(change)
    query.stream, query.joins = relation, ""


def _conditions(join: Join) -> Iterator[exp.Expr]:
    if join.on is not None:
        yield join.on
    if join.inner is not None:
        yield from (tree for _, tree in join.inner.items)
        if join.inner.where is not None:
            yield join.inner.where


def _fallible(tree: exp.Expr, outside: set[str]) -> Iterator[exp.Expr]:
    """The largest parts that may fail and name columns of the stream only."""
    if harmless(tree):
        return
    aliases = {alias for alias, _ in columns_in(tree)}
    if aliases and aliases <= outside and not isinstance(tree, _CONDITIONS) and not tree.find(exp.AggFunc):
        yield tree
        return
    for part in tree.iter_expressions():
        yield from _fallible(part, outside)


def _condition(stages: Stages, writer: Expressions, tree: exp.Expr) -> str:
    """A condition between a stream and a table; a part that fails does not hold."""
    parts = list(tree.flatten()) if isinstance(tree, exp.And) else [tree]
    written = []
    for part in parts:
        sql = writer.condition(part, "ON")
        written.append(f"({sql})" if harmless(part) else met(stages.connection, sql))
    return " AND ".join(written)


def _searched(stages: Stages, query: Query, inner: Inner) -> str:
    """The query that gives one row, ``c0``, ``c1``…; what cannot be computed of a row of the table is NULL."""
    writer = Expressions(stages.types, f"{query.source} CROSS JOIN {inner.relation.physical} AS {inner.alias}")
    columns = []
    for number, (kind, tree) in enumerate(inner.items):
        if kind == "aggregate":
            sql = _aggregated(stages, writer, tree)
        else:
            value = writer.write(tree)
            value = value if harmless(tree) else f"TRY({value})"
            sql = {"some": f"bool_or({value})", "first": f"first({value})", "rows": "count(*)"}[kind]
        columns.append(f"{sql} AS c{number}")
    where = "" if inner.where is None else f" WHERE {_condition(stages, writer, inner.where)}"
    return f"SELECT {', '.join(columns)} FROM {inner.relation.physical} AS {inner.alias}{where}"


def _aggregated(stages: Stages, writer: Expressions, tree: exp.Expr) -> str:
    known = []
    for node in aggregates_of(tree):
        inside = node.this.expressions[0] if isinstance(node.this, exp.Distinct) else node.this
        argument = None if isinstance(inside, exp.Star) else f"TRY({writer.write(inside)})"
        planned = aggregates.plan(node, argument, writer)
        parts = [
            f"CAST({part.compute.removesuffix(')').removesuffix(' ORDER BY rt, n')}) AS {part.duck})"
            for part in planned.partials
        ]
        known.append((node, planned.final.format(*parts)))
    return Expressions(stages.types, writer.source, known).write(tree)
