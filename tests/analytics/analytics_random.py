"""Random programs with the rows that each of their streams must have, computed naively over whole streams.

A program is drawn step by step: each step adds a stream and the pump that fills it from streams that are there already, and
computes at once, in plain Python, what that stream will hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from typing import Any

from analytics_expressions import Expressions
from analytics_values import Choices, Env, Expression, Fault, assigned, decimal_of, exact, family, fitting

KINDS = {
    "K": "VARCHAR(8)",
    "N": "INTEGER",
    "L": "BIGINT",
    "D": "DOUBLE",
    "M": "DECIMAL(8,2)",
    "B": "BOOLEAN",
    "T": "TIMESTAMP",
}
"""The columns of an input."""


@dataclass(frozen=True)
class Row:
    """`rt` is ROWTIME in milliseconds; rows of one stream and time have an order, `place`."""

    rt: int
    place: int
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Stream:
    """`rows` in their order. `ordered`: the order of rows of one time is known. `from_` is what reads it, its name unless it
    is a subquery."""

    name: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    ordered: bool
    from_: str

    def fields(self, alias: str) -> list[Expression]:
        """Its columns and its ROWTIME as expressions."""
        made = [
            Expression(f"{alias}.{name}", family(kind) if kind.startswith("VARCHAR") else kind, _cell(alias, name))
            for name, kind in self.columns
        ]
        return [*made, Expression(f"{alias}.ROWTIME", "TIMESTAMP", _cell(alias, "ROWTIME"))]

    def env(self, alias: str, row: Row | None) -> dict[str, Any]:
        values = [None] * len(self.columns) if row is None else row.values
        cells = {f"{alias}.{name}": value for (name, _), value in zip(self.columns, values, strict=True)}
        return {**cells, f"{alias}.ROWTIME": None if row is None else row.rt}


def _cell(alias: str, name: str) -> Callable[[Env], Any]:
    key = f"{alias}.{name}"
    return lambda env: env[key]


@dataclass
class Program:
    """`streams` are those that it declares, `faults` the rows that fail by pump."""

    inputs: list[Stream]
    table: Stream
    statements: list[str] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)

    @property
    def sql(self) -> str:
        return "\n".join(self.statements)


@dataclass(frozen=True)
class Made:
    """A row of a query before it goes into its stream: its time, and what its expressions see; `of` is the row that fails
    with it, whatever others come of that."""

    rt: int
    env: dict[str, Any]
    of: int | None = None


@dataclass
class Query:
    """`made` gives the rows over which `items` are computed; `rest` is the clause behind SELECT's list."""

    items: list[Expression]
    rest: str
    made: list[Made]
    ordered: bool
    where: Expression | None = None
    distinct: bool = False


class Drawing:
    """Draws one program over inputs whose rows are given."""

    def __init__(self, choices: Choices, inputs: Sequence[Stream], table: Stream) -> None:
        self._choices = choices
        self.program = Program(list(inputs), table)
        self._numbers = 0

    def draw(self, steps: Sequence[Callable[[Drawing], None]]) -> Program:
        for _ in range(self._choices.integer(1, 4)):
            self._choices.among(steps)(self)
        return self.program

    # What steps are made of.

    def source(self, ordered: bool = False) -> Stream:
        """A stream to read, perhaps as a subquery."""
        program, choices = self.program, self._choices
        known = [each for each in (*program.inputs, *program.streams) if each.ordered or not ordered]
        # Steps feed on each other more often than on inputs.
        stream = known[-1] if choices.integer(0, 2) == 0 else choices.among(known)
        if choices.integer(0, 3):
            return stream
        alias = self._name("q")
        fields = stream.fields(alias)
        expressions = Expressions(choices, fields, failing=False)
        where = expressions.of("BOOLEAN", 1)
        chosen = [choices.among(fields[:-1]) for _ in range(choices.integer(1, 4))] + [expressions.any(1)]
        envs = [(row, stream.env(alias, row)) for row in stream.rows]
        rows = tuple(
            replace(row, values=tuple(each.value(env) for each in chosen)) for row, env in envs if where.holds(env)
        )
        listed = ", ".join(f"{each.sql} AS W{number}" for number, each in enumerate(chosen))
        columns = tuple((f"W{number}", each.kind) for number, each in enumerate(chosen))
        text = f"(SELECT STREAM {listed} FROM {stream.from_} AS {alias} WHERE {where.sql})"
        return Stream(alias, columns, rows, stream.ordered, text)

    def items(self, expressions: Expressions, least: int = 1, most: int = 4) -> list[Expression]:
        return [expressions.any() for _ in range(self._choices.integer(least, most))]

    def condition(self, expressions: Expressions) -> Expression | None:
        return None if self._choices.integer(0, 1) else expressions.of("BOOLEAN")

    def fill(self, query: Query) -> None:
        """A stream with the query's rows, and the pump that fills it."""
        name, pump, program = self._name("S"), self._name("P"), self.program
        kinds = [self._column(item) for item in query.items]
        columns = tuple((f"V{number}", kind) for number, kind in enumerate(kinds))
        rows, faults = [], set()
        for place, made in enumerate(query.made):
            try:
                if query.where is not None and not query.where.holds(made.env):
                    continue
                values = [item.value(made.env) for item in query.items]
                cells = zip(values, query.items, kinds, strict=True)
                rows.append(Row(made.rt, place, tuple(assigned(value, item.kind, kind) for value, item, kind in cells)))
            except Fault:
                faults.add(made.of if made.of is not None else -1 - place)
        program.faults[pump] = len(faults)
        program.streams.append(Stream(name, columns, tuple(sorted(rows, key=_order)), query.ordered, name))
        declared = ", ".join(f"{column} {kind}" for column, kind in columns)
        listed = ", ".join(item.sql for item in query.items)
        program.statements.append(
            f"CREATE STREAM {name} ({declared});\n"
            f"CREATE PUMP {pump} AS INSERT INTO {name} SELECT STREAM {'DISTINCT ' * query.distinct}{listed}\n  {query.rest};"
        )

    def _column(self, item: Expression) -> str:
        """The type of the column for an expression: its own, or now and then one that cuts or fails it."""
        choices = self._choices
        if item.kind == "VARCHAR":
            return f"VARCHAR({choices.among((40, 40, 40, 2))})"
        if choices.integer(0, 7):
            return item.kind
        if family(item.kind) in ("INTEGER", "BIGINT", "DOUBLE", "DECIMAL"):
            kinds = ["SMALLINT", "BIGINT", "DOUBLE"]
            if family(item.kind) == "DECIMAL":
                kinds = ["DECIMAL(18,1)", "INTEGER", "DOUBLE"]
            return choices.among([kind for kind in kinds if not (item.kind == "DOUBLE" and kind == "BIGINT")])
        return item.kind

    def _name(self, prefix: str) -> str:
        self._numbers += 1
        return f"{prefix}{self._numbers}"

    def among(self, values: Sequence[Any]) -> Any:
        return self._choices.among(values)

    def integer(self, low: int, high: int) -> int:
        return self._choices.integer(low, high)

    def expressions(self, columns: Sequence[Expression], failing: bool = True) -> Expressions:
        return Expressions(self._choices, columns, failing)


def _order(row: Row) -> tuple[int, int]:
    return row.rt, row.place


def projection(drawing: Drawing) -> None:
    stream = drawing.source()
    expressions = drawing.expressions(stream.fields("x"))
    where = drawing.condition(expressions)
    made = [Made(row.rt, stream.env("x", row)) for row in stream.rows]
    rest = f"FROM {stream.from_} AS x" + (f" WHERE {where.sql}" if where else "")
    drawing.fill(Query(drawing.items(expressions), rest, made, stream.ordered, where))


def union(drawing: Drawing) -> None:
    """UNION ALL of two streams, of columns that both have."""
    first, second = drawing.source(), drawing.source()
    kinds = ("BIGINT", "DOUBLE", "VARCHAR", "TIMESTAMP")
    sides, made = [], []
    for alias, stream in (("x", first), ("y", second)):
        expressions = drawing.expressions(stream.fields(alias), failing=False)
        items = [expressions.of(kind) for kind in kinds]
        where = drawing.condition(expressions)
        listed = ", ".join(f"{item.sql} AS U{number}" for number, item in enumerate(items))
        tail = f" WHERE {where.sql}" if where else ""
        sides.append(f"SELECT STREAM {listed} FROM {stream.from_} AS {alias}{tail}")
        for row in stream.rows:
            env = stream.env(alias, row)
            if where is None or where.holds(env):
                cells = {f"z.U{number}": item.value(env) for number, item in enumerate(items)}
                made.append(Made(row.rt, {**cells, "z.ROWTIME": row.rt}))
    both = Stream("z", tuple((f"U{number}", kind) for number, kind in enumerate(kinds)), (), False, "z")
    expressions = drawing.expressions(both.fields("z"))
    drawing.fill(Query(drawing.items(expressions), f"FROM ({' UNION ALL '.join(sides)}) AS z", made, False))


def distinct(drawing: Drawing) -> None:
    """SELECT DISTINCT of a window of time and other values: the first row of each comes out."""
    stream = drawing.source()
    expressions = drawing.expressions(stream.fields("x"), failing=False)
    size = drawing.among((1_000, 7_000, 60_000))
    window = Expression(
        f"STEP(x.ROWTIME BY INTERVAL '{size // 1000}' SECOND)", "TIMESTAMP", lambda env: env["x.ROWTIME"] // size * size
    )
    items = [window, *drawing.items(expressions, 1, 2)]
    where = drawing.condition(expressions)
    seen, made = set(), []
    for row in stream.rows:
        env = stream.env("x", row)
        values = tuple(item.value(env) for item in items)
        if (where is None or where.holds(env)) and values not in seen:
            seen.add(values)
            made.append(Made(row.rt, env))
    rest = f"FROM {stream.from_} AS x" + (f" WHERE {where.sql}" if where else "")
    drawing.fill(Query(items, rest, made, False, distinct=True))


def reference(drawing: Drawing) -> None:
    """A join with the reference table."""
    stream, table = drawing.source(), drawing.program.table
    left = drawing.among((True, False))
    fields = stream.fields("x")
    keys = [each for each in fields if each.kind == "VARCHAR"]
    if not keys:
        return
    key = drawing.among(keys)
    every = [*fields, *table.fields("r")[:-1]]
    expressions = drawing.expressions(every)
    where = drawing.condition(expressions)
    made = []
    for number, row in enumerate(stream.rows):
        env = stream.env("x", row)
        value = key.value(env)
        met = [other for other in table.rows if value is not None and other.values[0] == value]
        for other in met or ([None] if left else []):
            made.append(Made(row.rt, {**env, **table.env("r", other)}, number))
    rest = f"FROM {stream.from_} AS x {'LEFT ' * left}JOIN R AS r ON {key.sql} = r.K"
    rest += f" WHERE {where.sql}" if where else ""
    drawing.fill(Query(drawing.items(expressions), rest, made, False, where))


def join(drawing: Drawing) -> None:
    """A join of two streams with windows of time."""
    left, right = drawing.source(), drawing.source()
    kind = drawing.among(("INNER", "LEFT", "RIGHT", "FULL"))
    widths = [drawing.among((0, 0, 2_000, 10_000)) for _ in range(2)]
    pairs = [
        (a, b)
        for a in left.fields("x")
        for b in right.fields("y")
        if a.kind == b.kind and a.kind in ("VARCHAR", "INTEGER")
    ]
    conditions = []
    if pairs and drawing.integer(0, 4):
        a, b = drawing.among(pairs)
        conditions.append(Expression(f"{a.sql} = {b.sql}", "BOOLEAN", _equal(a, b)))
    every = [*left.fields("x"), *right.fields("y")]
    if not conditions or drawing.integer(0, 3) == 0:
        conditions.append(drawing.expressions(every, failing=False).of("BOOLEAN", 1))

    def meet(env: Env) -> bool:
        return all(condition.holds(env) for condition in conditions)

    made = []
    alone = {id(row) for row in left.rows}, {id(row) for row in right.rows}
    for one in left.rows:
        for other in right.rows:
            env = {**left.env("x", one), **right.env("y", other)}
            time = max(one.rt, other.rt)
            if time <= min(one.rt + widths[0], other.rt + widths[1]) and meet(env):
                made.append(Made(time, env))
                alone[0].discard(id(one))
                alone[1].discard(id(other))
    if kind in ("LEFT", "FULL"):
        lonely = [row for row in left.rows if id(row) in alone[0]]
        made += [Made(row.rt + widths[0], {**left.env("x", row), **right.env("y", None)}) for row in lonely]
    if kind in ("RIGHT", "FULL"):
        lonely = [row for row in right.rows if id(row) in alone[1]]
        made += [Made(row.rt + widths[1], {**left.env("x", None), **right.env("y", row)}) for row in lonely]
    over = [f" OVER (RANGE INTERVAL '{width // 1000}' SECOND PRECEDING)" if width else "" for width in widths]
    on = " AND ".join(condition.sql for condition in conditions)
    rest = f"FROM {left.from_}{over[0]} AS x {kind} JOIN {right.from_}{over[1]} AS y ON {on}"
    expressions = drawing.expressions(every)
    where = drawing.condition(expressions) if kind == "INNER" else None
    rest += f" WHERE {where.sql}" if where else ""
    drawing.fill(Query(drawing.items(expressions), rest, made, False, where))


def _equal(a: Expression, b: Expression) -> Callable[[Env], Any]:
    return lambda env: a.value(env) is not None and a.value(env) == b.value(env)


def total(values: Sequence[Any], kind: str) -> Any:
    """SUM of values that are not NULL."""
    if not values:
        return None
    return fitting(sum(values), "BIGINT") if kind in ("INTEGER", "BIGINT") else sum(values)


def mean(values: Sequence[Any], kind: str) -> Any:
    if not values:
        return None
    if kind in ("INTEGER", "BIGINT"):
        whole = sum(values)
        return abs(whole) // len(values) * (1 if whole >= 0 else -1)
    if kind == "DOUBLE":
        return sum(values) / len(values)
    with localcontext(prec=80):
        return exact(sum(values) / Decimal(len(values)), decimal_of(kind)[1])


def deviation(values: Sequence[Any]) -> float | None:
    """STDDEV_POP"""
    if not values:
        return None
    middle = sum(values) / len(values)
    return math.sqrt(sum((value - middle) ** 2 for value in values) / len(values))


STEPS: tuple[Callable[[Drawing], None], ...] = (projection, union, distinct, reference, join)
