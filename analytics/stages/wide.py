"""GROUP BY with windows that overlap or that rows themselves bound: HOP, CUMULATE and SESSION.

Rows become partial aggregates, an operator merges those of each window, and what it gives is a stream of groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sqlglot import exp

from analytics import grouping
from analytics.errors import SqlError
from analytics.expressions import Expressions
from analytics.folding import fold_of
from analytics.group_windows import GROUP_WINDOWS
from analytics.intervals import milliseconds
from analytics.monotonic import is_rowtime, time_window
from analytics.nodes import GroupWindow
from analytics.operators.panes import Growth, Hops, Panes
from analytics.operators.sessions import Sessions
from analytics.partials import Partials
from analytics.places import place_of
from analytics.plan import Pump, RowQuery, Window
from analytics.relation import Relation
from analytics.resolved import Query
from analytics.stages.base import TIME, Final, Stages

PANES_MAX = 10_000
"""Panes of one window, and windows of one pane: an hour by the second has 3,600. When history ends, a pane's windows all come
out at once."""


def wide_window(query: Query) -> GroupWindow | None:
    """The key that is such a window; None if there is none. Raises `SqlError` where it does not fit the query."""
    found = [key for key in query.keys if isinstance(key.unnest(), GroupWindow)]
    if not found:
        _nowhere_else(query, None)
        return None
    window = found[0].unnest()
    assert isinstance(window, GroupWindow), "it was looked for"
    at = place_of(window.this) or place_of(query.tree)
    if window.args["part"]:
        kind = window.args["kind"]
        raise SqlError(f"GROUP BY takes the window, not {window.shown}", at, expected=GROUP_WINDOWS[kind][0])
    if not is_rowtime(window.this):
        expected = GROUP_WINDOWS[window.args["kind"]][0]
        raise SqlError(f"{window.shown} is a window of ROWTIME", at, expected=expected)
    for key in query.keys:
        if key is not found[0] and (time_window(key) is not None or isinstance(key.unnest(), GroupWindow)):
            raise SqlError("two keys are windows of ROWTIME", place_of(key) or at, expected="one of them")
        if key is not found[0] and any(is_rowtime(node) for node in key.walk()):
            raise SqlError("this key of ROWTIME is no window", place_of(key) or at, expected="keys beside the window")
    _nowhere_else(query, window)
    return window


def _nowhere_else(query: Query, window: GroupWindow | None) -> None:
    for tree in query.trees():
        for node in tree.find_all(GroupWindow):
            if window is None or node.whole != window:
                what = f"{node.shown} tells of a window that GROUP BY does not have"
                expected = f"GROUP BY {GROUP_WINDOWS[node.args['kind']][0]}"
                raise SqlError(what, place_of(node.this) or place_of(query.tree), expected=expected)


def widen(stages: Stages, query: Query, window: GroupWindow) -> Final:
    """The query over a stream of its groups."""
    others = [key for key in query.keys if key.unnest() is not window]
    found = grouping.opened(query, others, stages.types)
    where = None if query.where is None else found.rows.condition(query.where, "WHERE")
    partials = found.planned.partials
    time = found.rows.write(window.this)
    target = stages.stream([])
    if window.args["kind"] == "SESSION":
        (gap_ms,) = lengths_of(window)
        columns = [("rt", time), *found.keys, *(each for each in found.planned.columns if each[0] != "rt")]
        relation = stages.stream([])
        rows = RowQuery(tuple(columns), query.joins, where)
        stages.pumps.append(Pump(stages.pump, query.stream.physical, relation.physical, rows))
        stages.operate(Sessions(partials, gap_ms, stages.table()), target, relation)
    else:
        windows = panes_of(window)
        pane = f"CAST(time_bucket(to_milliseconds({windows.pane_ms}), {time}, TIMESTAMP '1970-01-01') AS {TIME})"
        rows = RowQuery((("w", pane), *found.keys, *found.planned.columns), query.joins, where)
        relation = _tumbling(stages, query, rows, partials, windows.pane_ms)
        stages.operate(Panes(partials, windows, stages.table(), stages.table()), target, relation)
    query.stream, query.joins, query.where = target, "", query.having
    return Final(query, _finals(stages, window, found, partials), None, merged=True)


def _tumbling(stages: Stages, query: Query, rows: RowQuery, partials: Partials, pane_ms: int) -> Relation:
    """A hidden stream of panes, partial rows that come out when they are over."""
    state = (("w", TIME), *partials.keys, *partials.state)
    end = f"CAST(w + to_milliseconds({pane_ms}) AS {TIME})"
    compact = partials.compact(["w"])
    closing = RowQuery((("rt", "t0.rt"), *((name, f"t0.{name}") for name, _ in state)), "", None)
    window = Window(
        stages.table(),
        state,
        partials.partial(["w"]),
        f"SELECT *, {end} AS rt FROM ({compact})",
        end,
        closing,
        None if partials.kept else compact,
        partials.numbered,
        fold=fold_of(partials),
    )
    relation = stages.stream([])
    stages.pumps.append(Pump(stages.pump, query.stream.physical, relation.physical, rows, window))
    return relation


def _finals(stages: Stages, window: GroupWindow, found: grouping.Open, partials: Partials) -> Expressions:
    """What writes expressions over the groups, which have their window from ``w`` to ``e``."""
    declared = [
        f"CAST(NULL AS {duck}) AS {name}" for name, duck in (("w", TIME), ("e", TIME), *partials.keys, *partials.state)
    ]
    merged = partials.merge(["w", "e"]).format(source=f"(SELECT {', '.join(declared)})")
    known: list[tuple[exp.Expr, str]] = [(window, "t0.w")]
    for part, value in (("START", "t0.w"), ("END", "t0.e")):
        node = window.whole
        node.set("part", part)
        known.append((node, value))
    return Expressions(stages.types, f"FROM (SELECT *, e AS rt FROM ({merged})) AS t0", [*known, *found.known])


def panes_of(window: GroupWindow) -> Hops | Growth:
    """The panes of HOP or CUMULATE. Raises `SqlError` for lengths that do not fit."""
    step_ms, size_ms = lengths_of(window)
    at = place_of(window.expressions[0]) or place_of(window.this)
    if window.args["kind"] == "CUMULATE":
        if size_ms % step_ms:
            raise SqlError("a window of CUMULATE grows to a whole number of steps", at, expected="size = n × step")
        pane_ms = step_ms
    else:
        pane_ms = math.gcd(step_ms, size_ms)
    if size_ms // pane_ms > PANES_MAX:
        what = f"a window of {window.shown} is made of {size_ms // pane_ms:,} panes"
        raise SqlError(what, at, expected=f"at most {PANES_MAX:,}: a longer step")
    return (Growth if window.args["kind"] == "CUMULATE" else Hops)(step_ms, size_ms, pane_ms)


def lengths_of(window: GroupWindow) -> Sequence[int]:
    """The intervals of a window in milliseconds."""
    lengths = [milliseconds(each) for each in window.expressions]
    if 0 in lengths:
        at = place_of(window.this)
        raise SqlError(
            f"{window.shown} has an interval of no length", at, expected=GROUP_WINDOWS[window.args["kind"]][0]
        )
    return lengths
