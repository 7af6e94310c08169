"""ROW_NUMBER() with a bound around it: the first rows of each key by some order, of which only those are kept.

    SELECT … FROM (SELECT …, ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) AS rn FROM s) WHERE rn <= 3

With a window of ROWTIME among the keys the rows come out when it is over. Into a table there need be none: it has the first
rows of each key as they are now. With ``RANGE INTERVAL … PRECEDING`` and ``= 1``, a row comes out unless another of its key
was there within the interval before it.
"""

from __future__ import annotations

from sqlglot import exp

from analytics.errors import SqlError
from analytics.expressions import Expressions
from analytics.monotonic import TimeWindow, is_rowtime, time_window
from analytics.operators.accumulating import GONE
from analytics.operators.retention import Retain, Retention
from analytics.operators.top import RANK, First, Top, WindowTop
from analytics.places import place_of
from analytics.relation import Relation, physical
from analytics.resolved import Query
from analytics.stages.base import Final, Stages, columns_of, renamed, shown
from analytics.windows import frame_of

ENDLESS = "a window of ROWTIME in PARTITION BY, RANGE INTERVAL … PRECEDING with = 1, or INSERT INTO a table"


def rank(stages: Stages, query: Query, most: int, retain: Retain | None) -> tuple[tuple[str, str], ...]:
    """Puts a stream of the first rows in the place of the query's. Gives the columns (name, type) of the keys, where it goes
    into a table; otherwise none."""
    found: list[exp.Window] = []
    for tree in query.trees():
        found += [window for window in tree.find_all(exp.Window) if window not in found]
    (window, *others) = found
    at = place_of(window) or place_of(query.tree)
    if others or not isinstance(window.this, exp.RowNumber):
        raise SqlError(
            "beside ROW_NUMBER there is no other window (OVER)", place_of(others[0] if others else window) or at
        )
    if query.grouped:
        what = "a window (OVER) beside GROUP BY is not supported: group in a subquery, or in a pump before this one"
        raise SqlError(what, at)
    if query.rowtime is not None or query.distinct or query.order:
        raise SqlError("beside ROW_NUMBER there is neither AS ROWTIME, DISTINCT nor ORDER BY", at)
    inside = {id(column) for column in window.find_all(exp.Column)}
    trees: list[exp.Expr] = []
    for tree in query.trees():
        for column in tree.find_all(exp.Column):
            within = column.find_ancestor(exp.Window) is not None or id(column) in inside
            if not within and not column.meta.get("bare") and column not in trees:
                trees.append(column)
    passed = list(trees)
    final = Final(query, Expressions(stages.types, query.source), None)

    def named(tree: exp.Expr) -> str:
        if tree not in trees or (isinstance(tree, exp.Column) and tree.meta.get("bare")):
            trees.append(tree)
            return f"c{len(trees) - 1}"
        return f"c{trees.index(tree)}"

    partition = window.args.get("partition_by") or []
    windows = [(tree, found_) for tree in partition if (found_ := time_window(tree)) is not None]
    if len(windows) > 1 and retain is None:
        raise SqlError("two keys are windows of ROWTIME", place_of(windows[1][0]) or at, expected="one of them")
    over = None if retain is not None or not windows else windows[0]
    keys = [named(tree) for tree in partition if over is None or tree is not over[0]]
    if not keys and over is None:
        keys = [named(exp.Literal.number(0))]
    start = None if over is None else named(over[1].start)
    spec, order = window.args.get("spec"), window.args.get("order")
    if order is None and spec is None:
        raise SqlError("ROW_NUMBER needs an order", at, expected="ORDER BY in OVER")
    ordered = [] if order is None else [_ordered(each, named(each.this)) for each in order.expressions]
    # Of rows of one time, the last one came last.
    last = None if order is None else order.expressions[-1]
    latest = last is not None and bool(last.args.get("desc")) and is_rowtime(last.this)
    by = ", ".join([*ordered, "n DESC"] if latest else [*ordered, "rt", "n"])
    relation = stages.project(final, [(str(tree.meta.get("name", "")), tree) for tree in trees])
    query.where = None
    kinds = dict(columns_of(relation))
    shape = tuple((name, kinds[name]) for name in keys)
    buffer = stages.buffer(columns_of(relation))
    if spec is not None:
        length = frame_of(window, lambda tree: (named(tree), "")).range_ms
        if most != 1 or length is None or retain is not None:
            what = "ROW_NUMBER over a frame keeps the first row within a time, in a stream"
            raise SqlError(what, at, expected="RANGE INTERVAL 'n' unit PRECEDING, and = 1 around it")
        target = stages.stream(shown(relation), [(RANK, "BIGINT")])
        stages.operate(First(buffer, keys, stages.table(), length), target, relation)
    elif over is not None and start is not None:
        target = stages.stream(shown(relation), [(RANK, "BIGINT")])
        stages.operate(_windowed(buffer, keys, start, over[1], by, most), target, relation)
    elif retain is not None:
        target = stages.stream(shown(relation), [(RANK, "BIGINT"), (GONE, "BOOLEAN")])
        retention = Retention(stages.table(), shape, retain)
        stages.operate(Top(buffer, retention, stages.table(), by, most), target, relation)
    else:
        raise SqlError("the first rows of a key of a stream may change for ever", at, expected=ENDLESS)
    _rewrite(query, target, passed)
    return shape if retain is not None else ()


def _windowed(buffer: object, keys: list[str], start: str, window: TimeWindow, by: str, most: int) -> WindowTop:
    return WindowTop(buffer, keys, start, window.over, window.stamp, by, most)  # type: ignore[arg-type]  # a Buffer


def _ordered(each: exp.Expr, name: str) -> str:
    return f"{name} DESC NULLS LAST" if each.args.get("desc") else f"{name} NULLS LAST"


def _rewrite(query: Query, target: Relation, passed: list[exp.Expr]) -> None:
    names = {(c.args["table"].name, c.name): f"c{i}" for i, c in enumerate(passed) if isinstance(c, exp.Column)}
    rename = renamed(names)

    def change(tree: exp.Expr) -> exp.Expr:
        def numbered(node: exp.Expr) -> exp.Expr:
            if not isinstance(node, exp.Window):
                return node
            column = physical("t0", RANK)
            column.meta["bare"] = True  # not to be renamed as a column of the source
            return column

        changed = rename(tree.copy().transform(numbered, copy=False))
        for column in changed.find_all(exp.Column):
            if column.name == RANK:
                column.meta["bare"] = False
        return changed

    query.change(change)
    query.stream, query.joins = target, ""
