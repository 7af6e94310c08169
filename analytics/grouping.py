"""GROUP BY over a stream: one key is a tumbling window of ROWTIME, and a group comes out when its window is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from analytics.aggregates import Aggregate, plan
from analytics.dialect import Step, place_of
from analytics.errors import SqlError
from analytics.expressions import AGGREGATES, Expressions, Types, interval
from analytics.plan import RowQuery
from analytics.program import folded
from analytics.sources import Query
from analytics.types import family


@dataclass(slots=True)
class Grouped:
    """`rows` feed the state; `finals` write expressions over merged groups. The rest is as in `plan.Window`."""

    rows: RowQuery
    state: tuple[tuple[str, str], ...]
    partial: str
    merge: str
    end: str
    finals: Expressions
    having: str | None


def grouped(query: Query, types: Types) -> bool:
    """Whether the query has groups: GROUP BY, HAVING or an aggregate in its select list."""
    return bool(query.tree.args.get("group") or query.tree.args.get("having")) or any(
        tree.find(exp.AggFunc) for _, tree in query.items
    )


def group(query: Query, table: str, types: Types) -> Grouped:
    """`table` is the name of the state table; it is not created here."""
    rows = Expressions(types, query.source)
    keys = _keys(query)
    windows = [key for key in keys if _is_window(key)]
    _check(query, keys, windows)
    window = windows[0]
    others = [key for key in keys if key != window]
    having = query.tree.args.get("having")
    condition = None if having is None else query.resolved(having.this)
    aggregates = _aggregates([*(tree for _, tree in query.items), *([] if condition is None else [condition])])

    columns = [("w", rows.write(window))]
    state = [("w", "TIMESTAMP_MS")]
    for number, key in enumerate(others):
        sql, duck = rows.typed(key)
        columns.append((f"k{number}", sql))
        state.append(
            (
                f"k{number}",
                "TIMESTAMP_MS" if family(duck) == "timestamp" else "VARCHAR" if family(duck) == "null" else duck,
            )
        )
    key_names = [name for name, _ in state]
    known: list[tuple[exp.Expr, str]] = [(window, "t0.w")]
    known += [(key, f"t0.k{number}") for number, key in enumerate(others)]

    computed, merged = list(key_names), list(key_names)
    for number, tree in enumerate(aggregates):
        argument = None if isinstance(tree.this, exp.Star) else f"x{number}"
        if argument is not None:
            columns.append((argument, rows.write(_argument(tree))))
        aggregate: Aggregate = plan(tree, argument, rows)
        names = []
        for part in aggregate.partials:
            name = f"a{len(state)}"
            names.append(f"t0.{name}")
            state.append((name, part.duck))
            computed.append(f"CAST({part.compute} AS {part.duck}) AS {name}")
            merged.append(f"CAST({part.merge}({name}) AS {part.duck}) AS {name}")
        known.append((tree, aggregate.final.format(*names)))

    end = _end(window)
    by = ", ".join(key_names)
    merge = f"SELECT {', '.join(merged)}, {end} AS rt FROM {{source}} GROUP BY {by} ORDER BY {by}"
    declared = ", ".join(f"CAST(NULL AS {duck}) AS {name}" for name, duck in state)
    finals = Expressions(types, f"FROM ({merge.format(source=f'(SELECT {declared})')}) AS t0", known)
    return Grouped(
        RowQuery(tuple(columns), query.joins, None if query.where is None else rows.write(query.where)),
        tuple(state),
        f"SELECT {', '.join(computed)} FROM {{source}} GROUP BY {by}",
        merge,
        end,
        finals,
        None if condition is None else finals.write(condition),
    )


def _keys(query: Query) -> list[exp.Expr]:
    clause = query.tree.args.get("group")
    if clause is None:
        return []
    for kind in ("grouping_sets", "cube", "rollup", "all", "totals"):
        if clause.args.get(kind):
            raise SqlError(f"GROUP BY {kind.replace('_', ' ').upper()} is not supported", place_of(clause))
    keys: list[exp.Expr] = []
    for tree in clause.expressions:
        key = _key(tree, query)
        if key not in keys:
            keys.append(key)
    return keys


def _key(tree: exp.Expr, query: Query) -> exp.Expr:
    """A key may be an expression, the alias of a selected one, or its number."""
    if isinstance(tree, exp.Literal) and not tree.is_string:
        number = int(tree.name) if tree.name.isdigit() else 0
        if not 1 <= number <= len(query.items):
            raise SqlError(f"the select list has no item {tree.name}", place_of(tree))
        return query.items[number - 1][1]
    if isinstance(tree, exp.Column) and tree.args.get("table") is None:
        try:
            return query.resolved(tree)
        except SqlError:
            name = folded(tree.this)
            for alias, item in query.items:
                if alias == name:
                    return item
            raise
    return query.resolved(tree)


def _is_rowtime(tree: exp.Expr) -> bool:
    tree = tree.unnest()
    return isinstance(tree, exp.Column) and tree.name == "rt"


def _is_window(key: exp.Expr) -> bool:
    if isinstance(key, Step):
        return _is_rowtime(key.this) and isinstance(key.expression, exp.Interval)
    return isinstance(key, exp.Floor) and key.args.get("to") is not None and _is_rowtime(key.this)


def _end(window: exp.Expr) -> str:
    amount, unit = interval(window.expression) if isinstance(window, Step) else ("1", window.args["to"].name.upper())
    return f"CAST(w + INTERVAL '{amount} {unit}' AS TIMESTAMP_MS)"


def _check(query: Query, keys: Sequence[exp.Expr], windows: Sequence[exp.Expr]) -> None:
    expected = "STEP(ROWTIME BY INTERVAL 'n' unit) or FLOOR(ROWTIME TO unit) in GROUP BY"
    at = place_of(query.tree.args.get("group")) or place_of(query.tree)
    if not windows:
        raise SqlError("a group of a stream never ends unless a key is a window of its ROWTIME", at, expected=expected)
    if len(windows) > 1:
        raise SqlError("two keys are windows of ROWTIME", place_of(windows[1]) or at, expected="one of them")
    for key in keys:
        if key not in windows and any(_is_rowtime(node) for node in key.walk()):
            raise SqlError("this key of ROWTIME is no window", place_of(key) or at, expected=expected)
        found = key.find(exp.AggFunc)
        if found is not None:
            raise SqlError("an aggregate cannot stand in GROUP BY", place_of(found) or at)


def _aggregates(trees: Sequence[exp.Expr]) -> list[exp.Expr]:
    found: list[exp.Expr] = []
    for tree in trees:
        for node in tree.find_all(exp.AggFunc):
            if not isinstance(node, AGGREGATES):
                raise SqlError(f"the aggregate {node.sql_name()} is not supported", place_of(node) or place_of(tree))
            if any(inner is not node for inner in node.find_all(exp.AggFunc)):
                raise SqlError("an aggregate cannot stand in an aggregate", place_of(node))
            if node not in found:
                found.append(node)
    return found


def _argument(tree: exp.Expr) -> exp.Expr:
    inner = tree.this
    return inner.expressions[0] if isinstance(inner, exp.Distinct) else inner
