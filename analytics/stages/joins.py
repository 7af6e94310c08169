"""Joins: reference tables are joined where rows are computed; two streams meet in an operator."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlglot import exp

from analytics.errors import SqlError
from analytics.expressions import Expressions
from analytics.nodes import Perhaps
from analytics.operators.joining import Joining, Side
from analytics.operators.row_joining import RowJoining, RowSide
from analytics.operators.work import Operator
from analytics.outcomes import met
from analytics.places import place_of
from analytics.plan import Pump, RowQuery
from analytics.relation import Relation, physical
from analytics.resolved import Join, Query, filtered, harmless
from analytics.stages.asof import asof_reference, asof_streams
from analytics.stages.base import TIME, Stages, columns_in, columns_of, kept, placed, renamed, shown, used
from analytics.stages.references import refer, settle


def join(stages: Stages, query: Query) -> None:
    """Puts one stream in the place of all sources."""
    settled = _time_of_sources(query)
    inner = all(not each.side for each in query.joined)
    until: str | None = None
    included = ["t0"]
    for number, each in enumerate(query.joined):
        if each.asof and each.relation.timed:
            asof_streams(stages, query, each, included)
            until, included = None, ["t0"]
            continue
        if not each.relation.timed:
            if included == ["t0"]:
                settle(stages, query, list(itertools.takewhile(_is_table, query.joined[number:])))
            if each.asof:
                asof_reference(stages, query, each, included)
            else:
                refer(stages, query, each)
            included.append(each.alias)
            continue
        more = any(join.relation.timed for join in query.joined[number + 1 :])
        if more and (each.rows is not None or query.rows is not None):
            what = "a window of rows cannot stand in a join of more than two streams"
            raise SqlError(what, place_of(each.node), expected="RANGE INTERVAL … PRECEDING, or a pump between")
        until = _stream_join(stages, query, each, included, until, inner)
        included = ["t0"]
    if query.before is not None:
        query.where = query.before if query.where is None else filtered(query.before, query.where)
        query.before = None
    query.joined = []
    if settled:
        query.change_results(_qualified)


_OF_SOURCE = "of_source"
"""Marks ROWTIME of a source that stands for that of the joined rows."""


def _time_of_sources(query: Query) -> bool:
    """The ROWTIME of a source is that of the joined row where no other source's can be later: there, windows of the one are
    windows of the other. Until all is joined it is marked, and no source's; whether there was one to mark."""
    last = _never_earlier(query)
    found = False

    def change(node: exp.Expr) -> exp.Expr:
        nonlocal found
        if not isinstance(node, exp.Column) or node.name != "rt" or node.meta.get("bare"):
            return node
        if node.args["table"].name not in last:
            return node
        found = True
        column = physical("t0", "rt")
        column.meta.update({**node.meta, "bare": True, _OF_SOURCE: True})
        return column

    query.change_results(lambda tree: tree.copy().transform(change, copy=False))
    return found


def _qualified(tree: exp.Expr) -> exp.Expr:
    """A copy in which what was marked is a column as others: of groups, ROWTIME alone would be their own time."""
    tree = tree.copy()
    for column in tree.find_all(exp.Column):
        if column.meta.pop(_OF_SOURCE, False):
            column.meta["bare"] = False
    return tree


def _never_earlier(query: Query) -> set[str]:
    """Sources without a window, which meet rows of their own instant and before, and of which every joined row has one."""
    timed = [each for each in query.joined if each.relation.timed]
    if not timed or query.rows is not None or any(each.rows is not None for each in timed):
        return set()
    found = {"t0"} if query.reach_ms == 0 else set()
    for each in timed:
        if each.side in ("RIGHT", "FULL"):
            found.clear()
        if each.side in ("", "RIGHT") and each.reach_ms == 0 and not each.asof:
            found.add(each.alias)
    return found


def _is_table(join: Join) -> bool:
    return not join.relation.timed


def _stream_join(
    stages: Stages, query: Query, join: Join, included: Sequence[str], until: str | None, inner: bool
) -> str:
    """Puts a hidden stream of the pairs in the place of all sources up to this one. Gives the column of the pairs in which
    the end of their windows is."""
    on = join.on
    if inner:
        left_only, on, right_only = _pushed(query, join, included)
    else:
        left_only, right_only = None, None
    if query.before is not None:
        left_only = query.before if left_only is None else exp.And(this=query.before, expression=left_only)
        query.before = None
    join.on = on
    named = used(query)
    left = [key for key in named if key[0] in included]
    right = [key for key in named if key[0] == join.alias]
    left_end = until or f"CAST(t0.rt + to_milliseconds({query.reach_ms}) AS {TIME})"
    right_end = f"CAST(t0.rt + to_milliseconds({join.reach_ms}) AS {TIME})"
    source = f"FROM {join.relation.physical} AS t0"
    sides = []
    for keys, stream, joins, writing, condition, end, outer in (
        (left, query.stream, query.joins, query.source, left_only, left_end, join.side in ("LEFT", "FULL")),
        (right, join.relation, "", source, right_only, right_end, join.side in ("RIGHT", "FULL")),
    ):
        sides.append(_side(stages, named, keys, stream, joins, writing, condition, end, outer, join.alias))
    (left_side, left_relation), (right_side, right_relation) = sides
    names = {key: f"l.c{i}" for i, key in enumerate(left)} | {key: f"r.c{i}" for i, key in enumerate(right)}
    meeting = "TRUE"
    if on is not None:
        writer = Expressions(
            stages.types, f"FROM {left_relation.physical} AS l CROSS JOIN {right_relation.physical} AS r"
        )
        meeting = writer.condition(placed(on, names), "ON")
        if not harmless(on):
            meeting = met(stages.connection, meeting)
    operator: Operator = Joining(left_side, right_side, meeting)
    if query.rows is not None or join.rows is not None:
        operator = RowJoining(_of_rows(stages, left_side, query.rows), _of_rows(stages, right_side, join.rows), meeting)
    columns = [*shown(left_relation), *shown(right_relation)]
    joined = stages.stream(columns, [("u", TIME)])
    stages.operate(operator, joined, left_relation, right_relation)
    query.stream, query.joins, join.on = joined, "", None
    query.change(renamed({key: f"c{i}" for i, key in enumerate([*left, *right])}))
    return "t0.u"


def _of_rows(stages: Stages, side: Side, rows: int | None) -> RowSide:
    kept = stages.table()
    return RowSide(replace(side.buffer, also=(kept,)), kept, rows, side.outer)


def _side(
    stages: Stages,
    named: Mapping[tuple[str, str], exp.Column],
    keys: Sequence[tuple[str, str]],
    stream: Relation,
    joins: str,
    source: str,
    where: exp.Expr | None,
    end: str,
    outer: bool,
    alias: str,
) -> tuple[Side, Relation]:
    """A hidden stream of what one side of a join gives, with the end of each row's window in ``u``."""
    writer = Expressions(stages.types, source)
    values, columns = [], []
    for number, key in enumerate(keys):
        sql = f"t0.{key[1]}" if key[0] == alias else f"{key[0]}.{key[1]}"
        duck = TIME if key[1] == "rt" else stages.types.of(sql, source, named[key])
        columns.append((str(named[key].meta.get("name", key[1])), kept(duck)))
        values.append((f"c{number}", sql))
    relation = stages.stream(columns, [("u", TIME)])
    condition = (
        None
        if where is None
        else writer.condition(
            placed(where, {(alias, key[1]): f"t0.{key[1]}" for key in columns_in(where) if key[0] == alias}), "ON"
        )
    )
    rows = RowQuery((("rt", "t0.rt"), *values, ("u", end)), joins, condition)
    stages.pumps.append(Pump(stages.pump, stream.physical, relation.physical, rows))
    buffer = stages.buffer([*columns_of(relation), ("u", TIME)])
    return Side(buffer, "u", outer), relation


def _pushed(
    query: Query, join: Join, included: Sequence[str]
) -> tuple[exp.Expr | None, exp.Expr | None, exp.Expr | None]:
    """What of WHERE and ON concerns the left side only, both sides, and the right side only; it leaves WHERE. What can fail
    there stays, for it fails pairs, not rows that meet none."""
    parts: list[list[exp.Expr]] = [[], [], []]
    rest = []
    for tree, stays in [(query.where, True), (join.on, False)]:
        for part in [] if tree is None else list(tree.flatten()) if isinstance(tree, exp.And) else [tree]:
            part = part.unnest()
            aliases = {alias for alias, _ in columns_in(part)}
            bare = any(column.meta.get("bare") for column in part.find_all(exp.Column))
            here = aliases <= {*included, join.alias} and not (bare and stays)
            fails = stays and not harmless(part)
            if fails or not here:
                rest.append(part)
            if here:
                side = 0 if aliases and aliases <= set(included) else 2 if aliases == {join.alias} else 1
                parts[side].append(Perhaps(this=part) if fails else part)
    query.where = _all(rest)
    return _all(parts[0]), _all(parts[1]), _all(parts[2])


def _all(conditions: Sequence[exp.Expr]) -> exp.Expr | None:
    result: exp.Expr | None = None
    for condition in conditions:
        wrapped = exp.Paren(this=condition.copy())
        result = wrapped if result is None else exp.And(this=result, expression=wrapped)
    return result
