"""ASOF JOIN: of the rows of the other side with equal keys, the last one in time. A reference table is joined where rows are
computed; two streams meet in an operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlglot import exp

from analytics.errors import SqlError
from analytics.expressions import Expressions
from analytics.operators.asof import Asof
from analytics.places import place_of
from analytics.plan import Pump, RowQuery
from analytics.relation import Relation
from analytics.resolved import Join, Query
from analytics.stages.base import Stages, columns_in, columns_of, kept, placed, renamed, shown, used
from analytics.types import family

ON = "ON keys AND left.ROWTIME >= right.time: equalities, and one comparison of times"
_FLIPPED: dict[type[exp.Expr], type[exp.Binary]] = {
    exp.EQ: exp.EQ,
    exp.LTE: exp.GTE,
    exp.LT: exp.GT,
    exp.GTE: exp.LTE,
    exp.GT: exp.LT,
}


def _parts(join: Join, included: Sequence[str]) -> tuple[list[exp.Binary], exp.Binary]:
    """The equalities of ON, and the comparison of times, as left ≥ right. Raises `SqlError` where there is anything else."""
    at = place_of(join.node)
    equal: list[exp.Binary] = []
    times: list[exp.Binary] = []
    for part in [] if join.on is None else join.on.flatten() if isinstance(join.on, exp.And) else [join.on]:
        part = part.unnest()
        if not isinstance(part, exp.EQ | exp.GTE | exp.GT | exp.LTE | exp.LT):
            raise SqlError("ASOF JOIN compares nothing else", place_of(part) or at, expected=ON)
        left, right = ({alias for alias, _ in columns_in(side)} for side in (part.this, part.expression))
        if left == {join.alias} and right <= set(included):
            part = _FLIPPED[type(part)](this=part.expression, expression=part.this)
        elif not (right == {join.alias} and left <= set(included)):
            raise SqlError("a side of this comparison is of both sources or of none", place_of(part) or at, expected=ON)
        if isinstance(part, exp.EQ):
            equal.append(part)
        elif isinstance(part, exp.GTE | exp.GT):
            times.append(part)
        else:
            raise SqlError("ASOF JOIN looks back in time", place_of(part) or at, expected=ON)
    if len(times) != 1:
        raise SqlError("ASOF JOIN needs one comparison of times", at, expected=ON)
    return equal, times[0]


def asof_reference(stages: Stages, query: Query, join: Join, included: Sequence[str]) -> None:
    """The last row of a reference table by one of its columns."""
    equal, time = _parts(join, included)
    relation, alias = join.relation, join.alias
    writer = Expressions(stages.types, f"{query.source} CROSS JOIN {relation.physical} AS {alias}")
    for side in (time.this, time.expression):
        if family(writer.typed(side)[1]) != "timestamp":
            raise SqlError("ASOF JOIN compares times", place_of(side) or place_of(join.node), expected=ON)
    condition = " AND ".join(writer.write(part) for part in (*equal, time))
    query.joins += f" ASOF {join.side} JOIN {relation.physical} AS {alias} ON {condition}"


def asof_streams(stages: Stages, query: Query, join: Join, included: Sequence[str]) -> None:
    """Puts a hidden stream of the pairs in the place of all sources up to this one."""
    equal, time = _parts(join, included)
    at = place_of(join.node)
    for side in (time.this, time.expression):
        if not isinstance(side, exp.Column) or side.name != "rt":
            raise SqlError("ASOF JOIN of streams compares their ROWTIMEs", place_of(side) or at, expected=ON)
    if join.reach_ms == 0 or join.rows is not None:
        what = "ASOF JOIN of streams says how old the other row may be, or it would be kept for ever"
        raise SqlError(what, at, expected="OVER (RANGE INTERVAL … PRECEDING) behind the stream that is looked up")
    if query.reach_ms or query.rows is not None:
        raise SqlError("the window of an ASOF JOIN stands behind the stream that is looked up", at)
    named = used(query)
    sides = []
    for aliases, stream, joins, source, where in (
        (included, query.stream, query.joins, query.source, query.before),
        ([join.alias], join.relation, "", f"FROM {join.relation.physical} AS t0", None),
    ):
        keys = [key for key in named if key[0] in aliases]
        own = {(join.alias, name): f"t0.{name}" for alias, name in _all_columns(named, equal) if alias == join.alias}
        trees = [(str(named[key].meta.get("name", key[1])), placed(named[key], own)) for key in keys]
        trees += [("", placed(part.this if aliases is included else part.expression, own)) for part in equal]
        relation = _side(stages, trees, stream, joins, source, where)
        sides.append((keys, relation, stages.buffer(columns_of(relation))))
    query.before = None
    (left_keys, left, left_buffer), (right_keys, right, right_buffer) = sides
    same = [f"l.c{len(left_keys) + n} = r.c{len(right_keys) + n}" for n in range(len(equal))] or ["TRUE = TRUE"]
    operator = Asof(
        left_buffer, right_buffer, " AND ".join(same), join.reach_ms, isinstance(time, exp.GT), join.side == "LEFT"
    )
    joined = stages.stream([*shown(left), *shown(right)])
    stages.operate(operator, joined, left, right)
    first = len(left.fields)
    names = {key: f"c{i}" for i, key in enumerate(left_keys)} | {
        key: f"c{first + i}" for i, key in enumerate(right_keys)
    }
    join.on = None
    query.stream, query.joins = joined, ""
    query.change(renamed(names))


def _all_columns(named: Mapping[tuple[str, str], exp.Column], equal: Sequence[exp.Binary]) -> set[tuple[str, str]]:
    return set(named).union(*(columns_in(part) for part in equal))


def _side(
    stages: Stages,
    trees: Sequence[tuple[str, exp.Expr]],
    stream: Relation,
    joins: str,
    source: str,
    where: exp.Expr | None,
) -> Relation:
    """A hidden stream of what one side gives."""
    writer = Expressions(stages.types, source)
    written = [(name, *writer.typed(tree)) for name, tree in trees]
    relation = stages.stream([(name, kept(duck)) for name, _, duck in written])
    values = [(f"c{number}", sql) for number, (_, sql, _) in enumerate(written)]
    condition = None if where is None else writer.condition(where, "WHERE")
    rows = RowQuery((("rt", "t0.rt"), *values), joins, condition)
    stages.pumps.append(Pump(stages.pump, stream.physical, relation.physical, rows))
    return relation
