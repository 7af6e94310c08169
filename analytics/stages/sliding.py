"""Functions OVER sliding windows become columns of a stream."""

from __future__ import annotations

from sqlglot import exp

from analytics import windows
from analytics.errors import SqlError
from analytics.expressions import Expressions
from analytics.operators.running import Function, RunningSliding
from analytics.operators.sliding import Frame, Sliding
from analytics.places import place_of
from analytics.relation import physical
from analytics.resolved import Query
from analytics.stages.base import Final, Stages, columns_of, kept, renamed, shown
from analytics.types import family, is_integer


def slide(stages: Stages, query: Query) -> None:
    """Functions OVER windows become columns."""
    found: list[exp.Window] = []
    for tree in query.trees():
        for window in tree.find_all(exp.Window):
            if window not in found:
                found.append(window)
    if not found:
        return
    if query.grouped:
        what = "a window (OVER) beside GROUP BY is not supported: group in a subquery, or in a pump before this one"
        raise SqlError(what, place_of(found[0]))
    inside = {id(column) for window in _every(query, exp.Window) for column in window.find_all(exp.Column)}
    outside = [c for c in _every(query, exp.Column) if id(c) not in inside and not c.meta.get("bare")]
    trees: list[exp.Expr] = []
    for column in outside:
        if column not in trees:
            trees.append(column)
    passed = len(trees)
    final = Final(query, Expressions(stages.types, query.source), None)

    def named(tree: exp.Expr) -> tuple[str, str]:
        if tree not in trees:
            trees.append(tree)
        return f"c{trees.index(tree)}", kept(final.expressions.typed(tree)[1])

    frames: list[Frame] = []
    results: list[tuple[str, str]] = []
    running: list[Function | None] = []
    for window in found:
        frame = windows.frame_of(window, named)
        if frame not in frames:
            frames.append(frame)
        sliding = windows.Sliding(frame, frames.index(frame))
        results.append((f"r{len(results)}", windows.written(window, sliding, named)))
        running.append(windows.running(window, sliding, named))
    relation = stages.project(final, [(str(t.meta.get("name", "")), t) for t in trees])
    query.where = None
    order = ", ".join(f"0::BIGINT AS i{number}" for number in range(len(frames)))
    source = f"FROM (SELECT *, 0::BIGINT AS k, {order} FROM {relation.physical}) AS t0"
    kinds = [kept(stages.types.of(sql, source, w)) for (_, sql), w in zip(results, found, strict=True)]
    count = len(trees)
    target = stages.stream([*shown(relation), *(("", kind) for kind in kinds)])
    outputs = [(f"c{count + i}", sql) for i, (_, sql) in enumerate(results)]
    buffer = stages.buffer(columns_of(relation))
    goes_on = [each for each in running if each is not None]
    kinds_of = dict(columns_of(relation))
    by = {name for frame in frames for name in frame.partition}
    operator = Sliding(buffer, stages.table(), frames, outputs)
    if len(goes_on) == len(running) and all(_plain(kinds_of[name]) for name in by):
        operator = RunningSliding(buffer, operator.kept, frames, outputs, goes_on)
    stages.operate(operator, target, relation)
    names = {(c.args["table"].name, c.name): f"c{i}" for i, c in enumerate(trees[:passed]) if isinstance(c, exp.Column)}
    rename = renamed(names)

    def change(tree: exp.Expr) -> exp.Expr:
        def windowed(node: exp.Expr) -> exp.Expr:
            if not isinstance(node, exp.Window):
                return node
            number = found.index(node)
            column = physical("t0", f"c{count + number}")
            column.meta["bare"] = True  # not to be renamed as a column of the source
            return windows.narrowed(node, column, named)

        changed = rename(tree.copy().transform(windowed, copy=False))
        for column in changed.find_all(exp.Column):
            if column.name != "rt":
                column.meta["bare"] = False
        return changed

    query.change(change)
    query.stream, query.joins = target, ""


def _every(query: Query, kind: type[exp.Expr]) -> list[exp.Expr]:
    return [node for tree in query.trees() for node in tree.find_all(kind)]


def _plain(duck: str) -> bool:
    """Whether values of a type are equal in Python where they are in DuckDB."""
    return is_integer(duck) or family(duck) == "text"
