"""GROUP BY over a stream: one key is a window of time, and a group comes out when its window is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from analytics.errors import SqlError
from analytics.expressions import Expressions
from analytics.folding import fold_of
from analytics.inferred import Types
from analytics.monotonic import is_rowtime, time_window
from analytics.partials import Partials, Planned, planned, storable
from analytics.places import place_of
from analytics.plan import RowQuery, Window
from analytics.relation import ROWTIME
from analytics.resolved import Query

TIME = "TIMESTAMP_MS"
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
    """`rows` feed the state; `finals` write expressions over merged groups. `over` is when a window is over."""

    rows: RowQuery
    partials: Partials
    stamp: str
    over: str
    finals: Expressions
    having: str | None


@dataclass(slots=True)
class Open:
    """A query's groups before it is settled which windows they have: `keys` as (name, SQL), the aggregates, and `known`, what
    has a value over merged groups."""

    rows: Expressions
    keys: list[tuple[str, str]]
    planned: Planned
    known: list[tuple[exp.Expr, str]]


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
    what = "a group of a stream never ends unless a key is a window of its ROWTIME"
    of_source = any(node.meta.get("name") == ROWTIME for key in query.keys for node in key.find_all(exp.Column))
    near = "ROWTIME, that of the joined rows" if of_source else None
    return SqlError(what, at, expected=f"{EXPECTED}, or INSERT INTO a table", suggestion=near)


def opened(query: Query, others: Sequence[exp.Expr], types: Types) -> Open:
    """`others` are the keys beside the window."""
    rows = Expressions(types, query.source)
    trees = [*(tree for _, tree in query.items), *([] if query.having is None else [query.having])]
    trees += [tree for tree, _ in query.order] + ([] if query.rowtime is None else [query.rowtime])
    written = [rows.typed(key) for key in others]
    keys = [(f"k{number}", sql) for number, (sql, _) in enumerate(written)]
    shape = tuple((f"k{number}", storable(duck)) for number, (_, duck) in enumerate(written))
    found = planned(aggregates_in(trees), shape, rows)
    known = [(key, f"t0.k{number}") for number, key in enumerate(others)]
    return Open(rows, keys, found, [*known, *found.known])


def group(query: Query, window: Key, others: Sequence[exp.Expr], types: Types) -> Grouped:
    """The name of the state table is for the caller to choose."""
    found = opened(query, others, types)
    known: list[tuple[exp.Expr, str]] = [(window.start, "t0.w")]
    if window.tree is not None and window.value is not None:
        known.append((window.tree, window.value))
    partials = found.planned.partials
    columns = (("w", found.rows.write(window.start)), *found.keys, *found.planned.columns)
    declared = [f"CAST(NULL AS {duck}) AS {name}" for name, duck in (("w", TIME), *partials.keys, *partials.state)]
    merged = partials.merge(["w"]).format(source=f"(SELECT {', '.join(declared)})")
    source = f"FROM (SELECT *, {window.stamp} AS rt FROM ({merged})) AS t0"
    finals = Expressions(types, source, [*known, *found.known])
    return Grouped(
        RowQuery(columns, query.joins, None if query.where is None else found.rows.condition(query.where, "WHERE")),
        partials,
        window.stamp,
        window.over,
        finals,
        None if query.having is None else finals.condition(query.having, "HAVING"),
    )


def aggregates_in(trees: Sequence[exp.Expr]) -> list[exp.Expr]:
    """The different aggregates of some trees. Raises `SqlError` for one in another."""
    found: list[exp.Expr] = []
    for tree in trees:
        for node in tree.find_all(exp.AggFunc):
            if any(inner is not node for inner in node.find_all(exp.AggFunc)):
                raise SqlError("an aggregate cannot stand in an aggregate", place_of(node))
            if node not in found:
                found.append(node)
    return found


def tumbling(table: str, groups: Grouped, closing: RowQuery) -> Window:
    """The window of groups whose window has a fixed end, with the name of its state table."""
    partials = groups.partials
    merged, by = partials.merge(["w"]), ", ".join(["w", *(name for name, _ in partials.keys)])
    return Window(
        table,
        (("w", TIME), *partials.keys, *partials.state),
        partials.partial(["w"]),
        f"SELECT *, {groups.stamp} AS rt FROM ({merged}) ORDER BY {by}",
        groups.over,
        closing,
        None if partials.kept else partials.compact(["w"]),
        partials.numbered,
        tuple(partials.grouping(["w"])),
        fold_of(partials),
        None if partials.values else groups.stamp,
    )
