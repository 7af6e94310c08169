"""From a program to a plan: names, types and clauses are checked here, so that what runs later cannot be wrong."""

from __future__ import annotations

import graphlib
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb
from sqlglot import exp

from analytics import outcomes
from analytics.errors import SqlError, closest
from analytics.expressions import Expressions
from analytics.functions import prepare, set_session
from analytics.guards import failing
from analytics.inferred import Types
from analytics.lowering import Lowering, sides_of
from analytics.operators.retention import Retain
from analytics.operators.watermark import WATERMARKED
from analytics.places import place_of
from analytics.plan import Plan, Pump, StreamPlan
from analytics.program import Declared, Program, PumpDeclaration
from analytics.pruning import prune
from analytics.relation import HIDDEN, ROWTIME, Field, Relation
from analytics.scripts import declare
from analytics.sources import Relations
from analytics.stages import watermark
from analytics.stages.base import TIME, Final
from analytics.types import assigned, family, of_duck
from analytics.watermarks import Bound
from connectors.formats.json_plan import sql_type
from connectors.formats.schema import Column

RESULT = "RESULT"
"""The stream that a query without a pump fills."""


def compile_program(
    program: Program,
    inputs: Mapping[str, Sequence[Column]],
    references: Mapping[str, Sequence[Column]],
    discovered: Collection[str] = (),
) -> Plan:
    """`inputs` and `references` are the columns of what the program reads from outside, by name; those of the inputs
    `discovered` were found in records, and unquoted names find them in any case. Raises `SqlError`."""
    with _types(shared=not program.scripts) as connection:
        compiler = _Compiler(connection, lenient=program.query is not None)
        for name, columns in inputs.items():
            compiler.input(name, columns, lenient=name in discovered)
        for name, columns in references.items():
            compiler.reference(name, columns)
        return compiler.compile(program)


_opening = threading.Lock()
_database: duckdb.DuckDBPyConnection | None = None


def _types(*, shared: bool) -> duckdb.DuckDBPyConnection:
    """A connection that answers questions about types. Its temporary tables are its own; the database behind it, which takes
    forty milliseconds to open, is one for all programs, but for those that bring functions of their own."""
    global _database
    if not shared:
        connection = duckdb.connect(config={"threads": 1})
        prepare(connection)
        return connection
    with _opening:
        if _database is None:
            _database = duckdb.connect(config={"threads": 1})
            prepare(_database)
        connection = _database.cursor()
    set_session(connection)
    return connection


@dataclass(frozen=True, slots=True)
class _Watermarked:
    """A stream with a WATERMARK: what pumps fill in its place."""

    given: Relation
    bound: Bound


@dataclass(slots=True)
class _Compiler:
    connection: duckdb.DuckDBPyConnection
    lenient: bool
    streams: dict[str, StreamPlan] = field(default_factory=dict)
    inputs: dict[str, Relation] = field(default_factory=dict)
    references: dict[str, Relation] = field(default_factory=dict)
    relations: dict[str, Relation] = field(default_factory=dict)
    watermarked: dict[str, _Watermarked] = field(default_factory=dict)
    late: dict[str, str] = field(default_factory=dict)
    filled: set[str] = field(default_factory=set)
    lowering: Lowering = field(init=False)

    def __post_init__(self) -> None:
        self.lowering = Lowering(self.connection, Types(self.connection), Relations(self.relations, self.lenient))

    def input(self, name: str, columns: Sequence[Column], *, lenient: bool) -> None:
        """A column named ROWTIME is the time of the rows, which every stream has beside its columns."""
        fields = tuple(Field(c.name, f"c{i}", sql_type(c.type)) for i, c in enumerate(columns) if c.name != ROWTIME)
        hidden = tuple(Field(known, physical, duck) for known, (physical, duck) in HIDDEN.items())
        self.inputs[name] = self._relation(
            Relation(name, f"s{len(self.relations)}", fields, True, hidden, lenient=lenient)
        )

    def reference(self, name: str, columns: Sequence[Column]) -> None:
        fields = tuple(Field(c.name, f"c{i}", sql_type(c.type)) for i, c in enumerate(columns))
        self.references[name] = self._relation(Relation(name, f"r{len(self.relations)}", fields, False))

    def compile(self, program: Program) -> Plan:
        declare(self.connection, program.scripts)
        for declaration in program.streams.values():
            if declaration.name in self.relations:
                raise SqlError(f"{declaration.name} is an input or a reference table already", declaration.place)
            self._stream(declaration.name, declaration.columns, declaration.retain)
        for declaration in program.streams.values():
            if declaration.bound is not None and declaration.late is not None:
                stream, late = self.relations[declaration.name], self.relations[declaration.late]
                given = watermark.lowered(self.lowering, stream, late, declaration.bound)
                self.watermarked[declaration.name] = _Watermarked(given, declaration.bound)
        for view in program.views:
            if view in self.relations:
                raise SqlError(f"{view} is a stream or a reference table already", place_of(program.views[view]))
        self.lowering.relations.views = program.views
        self.late = {each.name: each.late_of for each in program.streams.values() if each.late_of is not None}
        for pump in program.pumps.values():
            self.lowering.pump = pump.name
            before = len(self.lowering.pumps)
            self._pump(pump)
            if pump.stopped:
                del self.lowering.pumps[before:]
        if program.query is not None:
            self.lowering.pump = RESULT
            self._alone(program.query)
        pumps = prune(self.lowering.pumps, self.inputs.values())
        self.lowering.pumps = [outcomes.undecided(self.connection, pump) for pump in pumps]
        read = {source for pump in self.lowering.pumps for source in pump.sources}
        used = {name: relation for name, relation in self.inputs.items() if relation.physical in read}
        return Plan(
            self._ordered(program), self.streams, used, self.references, self.lowering.hidden, tuple(program.scripts)
        )

    def _stream(self, name: str, columns: tuple[Declared, ...], retain: Retain | None = None) -> None:
        fields = tuple(Field(c.name, f"c{i}", c.type.duck) for i, c in enumerate(columns))
        relation = self._relation(Relation(name, f"s{len(self.relations)}", fields, True))
        self.streams[name] = StreamPlan(name, relation.physical, columns, retain)
        if retain is not None:
            self.lowering.relations.updating.add(name)

    def _relation(self, relation: Relation) -> Relation:
        """DuckDB answers questions about types over an empty table of its shape."""
        columns = [f"{each.physical} {each.duck}" for each in (*relation.fields, *relation.hidden)]
        columns += ["rt TIMESTAMP_MS"] if relation.timed else []
        self.connection.execute(f"CREATE TEMP TABLE {relation.physical} ({', '.join(columns)})")
        self.relations[relation.name] = relation
        return relation

    def _alone(self, tree: exp.Expr) -> None:
        """A query without a pump: it fills the stream RESULT, whose columns are what it selects."""
        sides = [self.lowering.lower(side) for side in sides_of(tree)]
        first = sides[0]
        columns: list[Declared] = []
        for number, (name, item) in enumerate(first.items):
            shown = name or f"EXPR${number}"
            if shown == ROWTIME:
                continue  # every row has it anyway
            if shown in [column.name for column in columns]:
                raise SqlError(f"column {shown} is selected twice", place_of(item), expected="an alias for one of them")
            columns.append(Declared(shown, of_duck(first.expressions.typed(item)[1], item)))
        self._stream(RESULT, tuple(columns))
        for side in sides:
            side.query.items = [item for item in side.items if item[0] != ROWTIME]
            self._fill(RESULT, side, self.streams[RESULT], list(range(len(columns))))

    def _pump(self, pump: PumpDeclaration) -> None:
        target = self.streams.get(pump.target)
        if target is None:
            what = f"there is no stream {pump.target} to insert into"
            if pump.target in self.relations:
                what = f"{pump.target} comes from outside; a pump inserts into a stream that the program declares"
            raise SqlError(what, pump.target_place, suggestion=closest(pump.target, self.streams))
        late_of = self.late.get(target.name)
        if late_of is not None:
            what = f"{target.name} holds the late rows of {late_of}, and nothing else"
            raise SqlError(what, pump.target_place, suggestion=late_of)
        names = [column.name for column in target.columns]
        given = [(name, place) for name, place in pump.columns if name != ROWTIME]
        places = list(range(len(names)))
        if pump.columns:
            places = []
            for name, place in given:
                if name not in names:
                    raise SqlError(f"stream {target.name} has no column {name}", place, suggestion=closest(name, names))
                if names.index(name) in places:
                    raise SqlError(f"column {name} is there twice", place)
                places.append(names.index(name))
        promoted = target.name in self.watermarked
        sides = sides_of(pump.query)
        if target.retain is not None and (target.name in self.filled or len(sides) > 1):
            what = f"table {target.name} is filled by one pump, of one query"
            raise SqlError(what, pump.target_place, expected="UNION ALL in a subquery, or a stream before the table")
        self.filled.add(target.name)
        for side in sides:
            final = self.lowering.lower(side, promoted=promoted, retain=target.retain)
            self._fill(pump.name, final, target, places, len(given) < len(pump.columns))

    def _fill(self, name: str, final: Final, target: StreamPlan, places: list[int], timed: bool = False) -> None:
        """`timed`: the pump's list names ROWTIME, so that a selected ROWTIME is no column."""
        items = [item for item in final.items if not (timed and item[0] == ROWTIME)]
        if len(items) != len(places):
            raise SqlError(
                f"pump {name} selects {len(items)} columns"
                if name != RESULT
                else f"a side of UNION ALL has {len(items)} columns",
                place_of(final.query.tree),
                expected=f"{len(places)}, as many as it inserts into {target.name}"
                if name != RESULT
                else str(len(places)),
            )
        values = {
            place: self._assign(item[1], target.columns[place], final.expressions)
            for place, item in zip(places, items, strict=True)
        }
        columns = []
        for number, column in enumerate(target.columns):
            if number not in values and not column.nullable:
                raise SqlError(f"pump {name} leaves out {column.name}, which is NOT NULL", place_of(final.query.tree))
            columns.append((f"c{number}", values.get(number, f"CAST(NULL AS {column.type.duck})")))
        if target.retain is not None:
            keys = tuple((f"g{number}", duck) for number, (_, duck) in enumerate(final.keys))
            self.streams[target.name] = replace(target, keys=keys, changed=tuple(key for key, _ in final.keys))
            columns += [(f"g{number}", f"t0.{key}") for number, (key, _) in enumerate(final.keys)]
        into = self.watermarked.get(target.name)
        if into is None:
            self.lowering.fill(final, target.physical, columns)
            return
        time = watermark.time_of(into.bound, target.name, self._promoted(final), values, place_of(final.query.tree))
        self.lowering.fill(final, into.given.physical, [*columns, (WATERMARKED, time)])

    def _promoted(self, final: Final) -> str | None:
        """The SQL of AS ROWTIME, where the target's WATERMARK sees to the order."""
        tree = final.query.rowtime
        if tree is None:
            return None
        sql, duck = final.expressions.typed(tree)
        if family(duck) not in ("timestamp", "null"):
            raise SqlError("ROWTIME is a TIMESTAMP", place_of(tree), expected="a TIMESTAMP AS ROWTIME")
        return f"CAST({sql} AS {TIME})"

    def _assign(self, tree: exp.Expr, column: Declared, expressions: Expressions) -> str:
        sql, duck = expressions.typed(tree)
        value = assigned(sql, duck, column.type)
        if value is None:
            raise SqlError(
                f"a {family(duck)} cannot go into column {column.name}, which is {column.type}",
                place_of(tree),
                expected="a CAST",
            )
        if duck in ("DOUBLE", "FLOAT") and family(column.type.duck) == "number" and not isinstance(tree, exp.Column):
            # What a column of DOUBLE gives has been looked at on its way in.
            fault = failing("numeric overflow or no number", sql)
            value = f"CASE WHEN NOT isfinite({sql}) THEN CAST({fault} AS {column.type.duck}) ELSE {value} END"
        if column.nullable:
            return value
        message = f"NULL into the NOT NULL column {column.name}"
        return (
            f"CASE WHEN {value} IS NULL THEN CAST({failing(message, 't0.rt')} AS {column.type.duck}) ELSE {value} END"
        )

    def _ordered(self, program: Program) -> tuple[Pump, ...]:
        """Pumps after those that feed them."""
        pumps = self.lowering.pumps
        writers: dict[str, list[int]] = {}
        for number, pump in enumerate(pumps):
            writers.setdefault(pump.target, []).append(number)
        graph = {
            number: [writer for source in pump.sources for writer in writers.get(source, [])]
            for number, pump in enumerate(pumps)
        }
        try:
            order = list(graphlib.TopologicalSorter(graph).static_order())
        except graphlib.CycleError as error:
            names = dict.fromkeys(pumps[number].name for number in error.args[1][1:])
            first = program.pumps.get(next(iter(names)))
            what = f"the pumps {', '.join(names)} feed each other in a circle"
            raise SqlError(what, None if first is None else first.place) from error
        return tuple(pumps[number] for number in order)
