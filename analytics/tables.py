"""Table functions: ``TABLE(NAME(CURSOR(SELECT STREAM …), arguments))`` in FROM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from analytics.errors import SqlError, closest
from analytics.nodes import Cursor, Step
from analytics.operators.buffer import Buffer
from analytics.operators.forest import Forest
from analytics.operators.hotspots import Hotspots
from analytics.operators.learning import Learning
from analytics.operators.ranking import Ranking
from analytics.operators.work import Operator
from analytics.places import place_of
from analytics.relation import Field, Relation, physical
from analytics.stages.base import Stages


@dataclass(slots=True)
class Call:
    """A call: the stream of its CURSOR, and the other arguments."""

    name: str
    node: exp.Expr
    stages: Stages
    stream: Relation
    given: list[exp.Expr]

    def number(self, position: int, what: str, least: float, most: float, default: float | None = None) -> float:
        """An argument that is a number from `least` to `most`."""
        if position >= len(self.given):
            if default is None:
                raise SqlError(f"{self.name} lacks its {what}", place_of(self.node))
            return default
        node = self.given[position]
        if not isinstance(node, exp.Literal) or node.is_string:
            raise SqlError(f"{self.name}: the {what} is a number", place_of(node) or place_of(self.node))
        if not least <= float(node.name) <= most:
            raise SqlError(
                f"{self.name}: the {what} is {node.name}",
                place_of(self.node),
                expected=f"{least:,.10g} to {most:,.10g}",
            )
        return float(node.name)

    def whole(self, position: int, what: str, least: int, most: int, default: int | None = None) -> int:
        found = self.number(position, what, least, most, default)
        if found != int(found):
            raise SqlError(f"{self.name}: the {what} is {found}", place_of(self.node), expected="a whole number")
        return int(found)

    def text(self, position: int, what: str) -> str:
        node = self.given[position] if position < len(self.given) else None
        if not isinstance(node, exp.Literal) or not node.is_string:
            raise SqlError(f"{self.name}: the {what} is a text in quotes", place_of(node) or place_of(self.node))
        return str(node.name)

    def column(self, position: int) -> Field:
        """The column of the stream that an argument names, in quotes."""
        name = self.text(position, "column")
        names = [each.name for each in self.stream.fields]
        found = [each for each in self.stream.fields if each.name == name] or [
            each for each in self.stream.fields if each.name.upper() == name.upper()
        ]
        if len(found) != 1:
            raise SqlError(
                f"{self.name}: there is no column {name}", place_of(self.node), suggestion=closest(name, names)
            )
        return found[0]

    def numeric(self) -> list[Field]:
        """The columns that models look at."""
        found = [each for each in self.stream.fields if each.duck in NUMERIC]
        if not found:
            raise SqlError(f"{self.name} reads no numeric column", place_of(self.node), expected=", ".join(NUMERIC))
        if len(found) > COLUMNS_MAX:
            raise SqlError(
                f"{self.name} reads {len(found)} numeric columns",
                place_of(self.node),
                expected=f"at most {COLUMNS_MAX}",
            )
        return found

    def through(self, operator: Operator, more: Sequence[tuple[str, str]]) -> Relation:
        """The stream with the columns that an operator adds."""
        target = self.stages.stream([*((each.name, each.duck) for each in self.stream.fields), *more])
        self.stages.operate(operator, target, self.stream)
        return target

    def buffer(self) -> Buffer:
        return self.stages.buffer([(each.physical, each.duck) for each in self.stream.fields])


NUMERIC = ("DOUBLE", "INTEGER", "FLOAT", "TINYINT", "SMALLINT", "REAL", "BIGINT")
"""Types that models look at; DECIMAL is not among them."""
COLUMNS_MAX = 30
"""Numeric columns of a model: the product's limit."""


def _forest(call: Call) -> Relation:
    explained = call.name.endswith("EXPLANATION")
    sample = call.whole(1, "size of a sample", 10, 1_000, 256)
    if explained and len(call.given) > 4 and not isinstance(call.given[4], exp.Boolean):
        raise SqlError(f"{call.name}: whether there is a direction is true or false", place_of(call.node))
    columns = call.numeric()
    model = Forest(
        [each.name for each in columns],
        trees=call.whole(0, "number of trees", 1, 1_000, 100),
        sample=sample,
        decay=call.whole(2, "decay", sample + 1, 2**31 - 1, 100_000),
        shingle=call.whole(3, "size of a shingle", 1, 30, 1),
        explained=explained,
        directed=explained and len(call.given) > 4 and bool(call.given[4].this),
    )
    operator = Learning(call.buffer(), [each.physical for each in columns], model, call.stages.table())
    return call.through(operator, model.results)


def _hotspots(call: Call) -> Relation:
    columns = call.numeric()
    window = call.whole(0, "size of the window", 100, 1_000)
    model = Hotspots(
        len(columns),
        window,
        call.number(1, "radius", 1e-300, 1e300),
        call.whole(2, "least number of points", 2, window),
    )
    operator = Learning(call.buffer(), [each.physical for each in columns], model, call.stages.table())
    return call.through(operator, model.results)


def _window(seconds: int) -> exp.Expr:
    time = physical("t0", "rt")
    return Step(this=time, expression=exp.Interval(this=exp.Literal.string(str(seconds)), unit=exp.var("SECOND")))


def _top_k(call: Call) -> Relation:
    column = call.column(0)
    most = call.whole(1, "number of items", 1, 100_000)
    item = physical("t0", column.physical)
    counted = call.stages.grouped(
        call.stream,
        [_window(call.whole(2, "seconds", 1, 3_600)), item],
        [("ITEM", item), ("ITEM_COUNT", exp.Count(this=exp.Star()))],
    )
    target = call.stages.stream([(each.name, each.duck) for each in counted.fields])
    buffer = call.stages.buffer([(each.physical, each.duck) for each in counted.fields])
    call.stages.operate(Ranking(buffer, "c1 DESC, c0", most), target, counted)
    return target


def _count_distinct(call: Call) -> Relation:
    column = physical("t0", call.column(0).physical)
    return call.stages.grouped(
        call.stream,
        [_window(call.whole(1, "seconds", 1, 3_600))],
        [("NUMBER_OF_DISTINCT_ITEMS", exp.Count(this=exp.Distinct(expressions=[column])))],
    )


def _group_rank(call: Call) -> Relation:
    by, shown = call.column(0), call.text(1, "name of the rank")
    orders = []
    for position, what in ((2, "order of the ranks"), (3, "order of the output")):
        order = call.text(position, what).upper() if len(call.given) > position else "ASC"
        if order not in ("ASC", "DESC"):
            raise SqlError(f"{call.name}: the {what} is {order}", place_of(call.node), expected="asc or desc")
        orders.append(order)
    call.whole(4, "longest time without a row", 0, 2**31 - 1, 0)
    most = call.whole(5, "greatest number of rows", 0, 2**31 - 1, 0) or 2**31 - 1
    ranked = f"{by.physical} {orders[0]}"
    out = ranked if orders[1] == "ASC" else f"{by.physical} {'ASC' if orders[0] == 'DESC' else 'DESC'}"
    operator = Ranking(call.buffer(), ranked, most, "rank()", f"{out}, n")
    return call.through(operator, [(shown, "INTEGER")])


FUNCTIONS: dict[str, tuple[Callable[[Call], Relation], int]] = {
    "RANDOM_CUT_FOREST": (_forest, 4),
    "RANDOM_CUT_FOREST_WITH_EXPLANATION": (_forest, 5),
    "HOTSPOTS": (_hotspots, 3),
    "TOP_K_ITEMS_TUMBLING": (_top_k, 3),
    "COUNT_DISTINCT_ITEMS_TUMBLING": (_count_distinct, 2),
    "GROUP_RANK": (_group_rank, 6),
}
"""Name → (how it is made, the most arguments behind the CURSOR)."""


def lowered(stages: Stages, call: exp.Expr) -> Relation:
    """The rows that a call gives, as a hidden stream. Raises `SqlError`."""
    name = call.name.upper() if isinstance(call, exp.Anonymous) else call.key.upper()
    if name not in FUNCTIONS:
        raise SqlError(f"there is no table function {name}", place_of(call), suggestion=closest(name, FUNCTIONS))
    function, most = FUNCTIONS[name]
    cursor, *given = call.expressions
    if not isinstance(cursor, Cursor) or cursor.this is None:
        raise SqlError(f"{name} reads a stream", place_of(call), expected="CURSOR(SELECT STREAM …)")
    if len(given) > most:
        raise SqlError(
            f"{name} has {len(given)} arguments behind its CURSOR", place_of(call), expected=f"{most} at most"
        )
    return function(Call(name, call, stages, stages.subquery(cursor.this), given))
