"""From a program to a plan: names, types and clauses are checked here, so that what runs later cannot be wrong."""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
from sqlglot import exp

from analytics import grouping
from analytics.dialect import place_of
from analytics.errors import SqlError, closest
from analytics.expressions import Expressions, Types, failing
from analytics.plan import Plan, Pump, RowQuery, StreamPlan, Window
from analytics.program import Declared, Program, PumpDeclaration
from analytics.relation import HIDDEN, ROWTIME, Field, Relation
from analytics.sources import Query, Relations, read
from analytics.types import assigned, family, of_duck
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
    with duckdb.connect(config={"threads": 1}) as connection:
        compiler = _Compiler(connection, lenient=program.query is not None)
        for name, columns in inputs.items():
            compiler.input(name, columns, lenient=name in discovered)
        for name, columns in references.items():
            compiler.reference(name, columns)
        return compiler.compile(program)


@dataclass(slots=True)
class _Compiler:
    connection: duckdb.DuckDBPyConnection
    lenient: bool
    streams: dict[str, StreamPlan] = field(default_factory=dict)
    inputs: dict[str, Relation] = field(default_factory=dict)
    references: dict[str, Relation] = field(default_factory=dict)
    relations: dict[str, Relation] = field(default_factory=dict)
    pumps: list[Pump] = field(default_factory=list)

    @property
    def types(self) -> Types:
        return Types(self.connection)

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
        for declaration in program.streams.values():
            if declaration.name in self.relations:
                raise SqlError(f"{declaration.name} is an input or a reference table already", declaration.place)
            self._stream(declaration.name, declaration.columns)
        for pump in program.pumps.values():
            self._pump(pump, self._query(pump))
        if program.query is not None:
            self._alone(read(program.query, Relations(self.relations, self.lenient), self.types))
        used = {name: relation for name, relation in self.inputs.items() if self._is_read(relation)}
        return Plan(self._ordered(), self.streams, used, self.references)

    def _query(self, pump: PumpDeclaration) -> Query:
        return read(pump.query, Relations(self.relations, self.lenient), self.types)

    def _is_read(self, relation: Relation) -> bool:
        return any(pump.source == relation.physical for pump in self.pumps)

    def _stream(self, name: str, columns: tuple[Declared, ...]) -> None:
        fields = tuple(Field(c.name, f"c{i}", c.type.duck) for i, c in enumerate(columns))
        relation = self._relation(Relation(name, f"s{len(self.relations)}", fields, True))
        self.streams[name] = StreamPlan(name, relation.physical, columns)

    def _relation(self, relation: Relation) -> Relation:
        """DuckDB answers questions about types over an empty table of its shape."""
        columns = [f"{each.physical} {each.duck}" for each in (*relation.fields, *relation.hidden)]
        columns += ["rt TIMESTAMP_MS"] if relation.timed else []
        self.connection.execute(f"CREATE TABLE {relation.physical} ({', '.join(columns)})")
        self.relations[relation.name] = relation
        return relation

    def _alone(self, query: Query) -> None:
        """A query without a pump: it fills the stream RESULT, whose columns are what it selects."""
        window, expressions = self._window(query)
        query.items = [item for item in query.items if item[0] != ROWTIME]  # every row has it anyway
        columns, names = [], set()
        for number, (name, tree) in enumerate(query.items):
            shown = name or f"EXPR${number}"
            if shown in names:
                raise SqlError(f"column {shown} is selected twice", place_of(tree), expected="an alias for one of them")
            names.add(shown)
            columns.append(Declared(shown, of_duck(expressions.typed(tree)[1])))
        self._stream(RESULT, tuple(columns))
        self._finish(RESULT, query, self.streams[RESULT], list(range(len(columns))), window, expressions)

    def _pump(self, pump: PumpDeclaration, query: Query) -> None:
        target = self.streams.get(pump.target)
        if target is None:
            what = f"there is no stream {pump.target} to insert into"
            if pump.target in self.relations:
                what = f"{pump.target} comes from outside; a pump inserts into a stream that the program declares"
            raise SqlError(what, pump.target_place, suggestion=closest(pump.target, self.streams))
        names = [column.name for column in target.columns]
        places = list(range(len(names)))
        if pump.columns:
            places = []
            for name, place in pump.columns:
                if name not in names:
                    raise SqlError(f"stream {target.name} has no column {name}", place, suggestion=closest(name, names))
                if names.index(name) in places:
                    raise SqlError(f"column {name} is there twice", place)
                places.append(names.index(name))
        if len(query.items) != len(places):
            raise SqlError(
                f"pump {pump.name} selects {len(query.items)} columns",
                place_of(query.tree) or pump.place,
                expected=f"{len(places)}, as many as it inserts into {target.name}",
            )
        window, expressions = self._window(query)
        self._finish(pump.name, query, target, places, window, expressions)

    def _window(self, query: Query) -> tuple[grouping.Grouped | None, Expressions]:
        if not grouping.grouped(query, self.types):
            return None, Expressions(self.types, query.source)
        group = grouping.group(query, f"w{len(self.pumps)}", self.types)
        return group, group.finals

    def _finish(
        self,
        name: str,
        query: Query,
        target: StreamPlan,
        places: list[int],
        group: grouping.Grouped | None,
        expressions: Expressions,
    ) -> None:
        values = {
            place: self._assign(item[1], target.columns[place], expressions)
            for place, item in zip(places, query.items, strict=True)
        }
        columns = [("rt", "t0.rt")]
        for number, column in enumerate(target.columns):
            if number not in values and not column.nullable:
                raise SqlError(f"pump {name} leaves out {column.name}, which is NOT NULL", place_of(query.tree))
            columns.append((f"c{number}", values.get(number, f"CAST(NULL AS {column.type.duck})")))
        if group is None:
            where = None if query.where is None else expressions.write(query.where)
            rows = RowQuery(tuple(columns), query.joins, where)
            self.pumps.append(Pump(name, query.stream.physical, target.physical, rows))
            return
        window = Window(
            f"w{len(self.pumps)}",
            group.state,
            group.partial,
            group.merge,
            group.end,
            RowQuery(tuple(columns), "", group.having),
        )
        self.pumps.append(Pump(name, query.stream.physical, target.physical, group.rows, window))

    def _assign(self, tree: exp.Expr, column: Declared, expressions: Expressions) -> str:
        sql, duck = expressions.typed(tree)
        value = assigned(sql, duck, column.type)
        if value is None:
            raise SqlError(
                f"a {family(duck)} cannot go into column {column.name}, which is {column.type}",
                place_of(tree),
                expected="a CAST",
            )
        if column.nullable:
            return value
        message = f"NULL into the NOT NULL column {column.name}"
        return (
            f"CASE WHEN {value} IS NULL THEN CAST({failing(message, 't0.rt')} AS {column.type.duck}) ELSE {value} END"
        )

    def _ordered(self) -> tuple[Pump, ...]:
        """Pumps after those that feed them."""
        writers: dict[str, list[str]] = {}
        for pump in self.pumps:
            writers.setdefault(pump.target, []).append(pump.name)
        graph = {pump.name: writers.get(pump.source, []) for pump in self.pumps}
        try:
            order = list(graphlib.TopologicalSorter(graph).static_order())
        except graphlib.CycleError as error:
            raise SqlError(f"the pumps {', '.join(error.args[1][1:])} feed each other in a circle") from error
        by_name = {pump.name: pump for pump in self.pumps}
        return tuple(by_name[name] for name in order)
