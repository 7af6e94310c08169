"""GROUP BY over a stream: one key is a window of time, and a group comes out when its window is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from analytics.aggregates import Aggregate, Partial, plan
from analytics.dialect import place_of
from analytics.errors import SqlError
from analytics.expressions import Expressions, Types
from analytics.monotonic import is_rowtime, time_window
from analytics.plan import RowQuery
from analytics.query import Query
from analytics.types import family, of_duck

EXPECTED = "STEP(ROWTIME BY INTERVAL 'n' unit) or FLOOR(ROWTIME TO unit) in GROUP BY"


@dataclass(frozen=True, slots=True)
class Key:
    """The key that is the window: `start` computes its value ``w``; a window is `over` and its groups have the time `stamp`,
    both over ``w``. `tree` is the key as the query writes it, with `value` for it over ``t0.w``."""

    start: exp.Expr
    over: str
    stamp: str
    tree: exp.Expr | None = None
    value: str | None = None


@dataclass(slots=True)
class Grouped:
    """`rows` feed the state; `finals` write expressions over merged groups. The rest is as in `plan.Window`."""

    rows: RowQuery
    state: tuple[tuple[str, str], ...]
    partial: str
    merge: str
    over: str
    finals: Expressions
    having: str | None
    kept: bool


def window_of(query: Query) -> tuple[Key | None, list[exp.Expr]]:
    """The key that is a window of ROWTIME, and the others. Raises `SqlError` where there are two, or another key of
    ROWTIME."""
    windows = [(key, window) for key in query.keys if (window := time_window(key)) is not None]
    at = place_of(query.tree.args.get("group")) or place_of(query.tree)
    if not windows:
        return None, list(query.keys)
    if len(windows) > 1:
        raise SqlError("two keys are windows of ROWTIME", place_of(windows[1][0]) or at, expected="one of them")
    tree, window = windows[0]
    others = [key for key in query.keys if key is not tree]
    for key in others:
        if any(is_rowtime(node) for node in key.walk()):
            raise SqlError("this key of ROWTIME is no window", place_of(key) or at, expected=EXPECTED)
    return Key(window.start, window.over, window.stamp, tree, window.value or "t0.w"), others


def endless(query: Query) -> SqlError:
    """What is wrong with groups that have no window."""
    at = place_of(query.tree.args.get("group")) or place_of(query.tree)
    return SqlError("a group of a stream never ends unless a key is a window of its ROWTIME", at, expected=EXPECTED)


def group(query: Query, window: Key, others: Sequence[exp.Expr], types: Types) -> Grouped:
    """The name of the state table is for the caller to choose."""
    rows = Expressions(types, query.source)
    trees = [*(tree for _, tree in query.items), *([] if query.having is None else [query.having])]
    trees += [tree for tree, _ in query.order] + ([] if query.rowtime is None else [query.rowtime])
    aggregates = _aggregates(trees)

    columns = [("w", rows.write(window.start))]
    state = [("w", "TIMESTAMP_MS")]
    known: list[tuple[exp.Expr, str]] = [(window.start, "t0.w")]
    if window.tree is not None and window.value is not None:
        known.append((window.tree, window.value))
    for number, key in enumerate(others):
        sql, duck = rows.typed(key)
        columns.append((f"k{number}", sql))
        kind = "VARCHAR" if family(duck) == "null" else duck if family(duck) == "time" else of_duck(duck).duck
        state.append((f"k{number}", kind))
        known.append((key, f"t0.k{number}"))
    keys = [name for name, _ in state]
    by = ", ".join(keys)

    planned: list[Aggregate] = []
    for number, tree in enumerate(aggregates):
        argument = None if isinstance(tree.this, exp.Star) else f"x{number}"
        if argument is not None:
            columns.append((argument, rows.write(argument_of(tree))))
        planned.append(plan(tree, argument, rows))
    kept = any(aggregate.kept for aggregate in planned)
    parts: list[tuple[str, Partial]] = []
    for tree, aggregate in zip(aggregates, planned, strict=True):
        names = []
        for part in aggregate.partials:
            names.append(f"t0.a{len(parts)}")
            parts.append((f"a{len(parts)}", part))
        known.append((tree, aggregate.final.format(*names)))

    stamp = f"{window.stamp} AS rt"
    if kept:
        columns.append(("rt", "t0.rt"))
        arguments = [
            (f"x{n}", _kept(rows.typed(argument_of(t))[1]))
            for n, t in enumerate(aggregates)
            if not isinstance(t.this, exp.Star)
        ]
        state += [("n", "BIGINT"), ("rt", "TIMESTAMP_MS"), *arguments]
        listed = ", ".join([*keys, "row_number() OVER () + {base} AS n", "rt", *(name for name, _ in arguments)])
        partial = f"SELECT {listed} FROM {{source}}"
        merged = [*keys, *(f"CAST({part.compute} AS {part.duck}) AS {name}" for name, part in parts)]
    else:
        state += [(name, part.duck) for name, part in parts]
        computed = [*keys, *(f"CAST({part.compute} AS {part.duck}) AS {name}" for name, part in parts)]
        partial = f"SELECT {', '.join(computed)} FROM {{source}} GROUP BY {by}"
        merged = [*keys, *(f"CAST({part.merge}({name}) AS {part.duck}) AS {name}" for name, part in parts)]
    merge = f"SELECT {', '.join(merged)}, {stamp} FROM {{source}} GROUP BY {by} ORDER BY {by}"
    declared = ", ".join(f"CAST(NULL AS {duck}) AS {name}" for name, duck in state)
    finals = Expressions(types, f"FROM ({merge.format(source=f'(SELECT {declared})')}) AS t0", known)
    return Grouped(
        RowQuery(tuple(columns), query.joins, None if query.where is None else rows.write(query.where)),
        tuple(state),
        partial,
        merge,
        window.over,
        finals,
        None if query.having is None else finals.write(query.having),
        kept,
    )


def _kept(duck: str) -> str:
    return "VARCHAR" if family(duck) == "null" else duck if family(duck) == "time" else of_duck(duck).duck


def _aggregates(trees: Sequence[exp.Expr]) -> list[exp.Expr]:
    found: list[exp.Expr] = []
    for tree in trees:
        for node in tree.find_all(exp.AggFunc):
            if any(inner is not node for inner in node.find_all(exp.AggFunc)):
                raise SqlError("an aggregate cannot stand in an aggregate", place_of(node))
            if node not in found:
                found.append(node)
    return found


def argument_of(tree: exp.Expr) -> exp.Expr:
    inner = tree.this
    return inner.expressions[0] if isinstance(inner, exp.Distinct) else inner
