"""A program as data: the streams it declares, the pumps between them, or a query that stands alone.

Unquoted names fold to upper case, quoted ones stay as they are; from here on a name is what it denotes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
from sqlglot import exp

from analytics.errors import Place, SqlError, closest
from analytics.inlining import inlined, takes
from analytics.intervals import milliseconds
from analytics.naming import without_names
from analytics.nodes import AlterPump, CreateFunction, CreatePump, CreateStream, CreateView, Drop, Retaining
from analytics.operators.retention import Retain
from analytics.places import place_of
from analytics.scripts import Script, scripts_of
from analytics.statements import parse_statements
from analytics.types import SqlType, declared
from analytics.watermarks import LATE_ROWTIME, LATE_SUFFIX, Bound, bound_of

NAME_SIZE_MAX = 128
"""Characters of a name: the language's limit."""
ERROR_STREAM = "error_stream"
KEYS_MAX = 10_000_000
"""Groups of a table: what its state can hold in the memory that an application has."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One column of a declared stream."""

    name: str
    type: SqlType
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class StreamDeclaration:
    """`bound` is that of its WATERMARK; the stream of rows that come too late for it is `late`, and that one is `late_of`
    this one. With `retain` it is a table: pumps fill it, and queries see it."""

    name: str
    columns: tuple[Declared, ...]
    place: Place | None = None
    bound: Bound | None = None
    late: str | None = None
    late_of: str | None = None
    retain: Retain | None = None


@dataclass(frozen=True, slots=True)
class PumpDeclaration:
    """`columns` are the names it fills, by position; empty: all of the target's, in their order."""

    name: str
    target: str
    columns: tuple[tuple[str, Place | None], ...]
    query: exp.Expr
    place: Place | None = None
    target_place: Place | None = None
    stopped: bool = False
    """It is checked as the others are, and does not run."""


@dataclass(slots=True)
class Program:
    """Streams and pumps by name, in the order of the text. `query` is a SELECT that belongs to no pump."""

    streams: dict[str, StreamDeclaration] = field(default_factory=dict)
    pumps: dict[str, PumpDeclaration] = field(default_factory=dict)
    query: exp.Expr | None = None
    views: dict[str, exp.Expr] = field(default_factory=dict)
    functions: dict[str, list[CreateFunction]] = field(default_factory=dict)
    scripts: list[Script] = field(default_factory=list)
    """Those of the functions that are written in Python."""

    def read_streams(self) -> set[str]:
        """The declared streams that some query reads."""
        trees = [pump.query for pump in self.pumps.values()] + list(self.views.values())
        names = {
            folded(table.this)
            for tree in trees
            for table in tree.find_all(exp.Table)
            if isinstance(table.this, exp.Identifier)
        }
        return names & self.streams.keys()

    def sources(self) -> Iterator[exp.Identifier]:
        """The names in any FROM that the program does not declare itself, as often as they stand there."""
        trees = [pump.query for pump in self.pumps.values()] + list(self.views.values())
        for tree in trees if self.query is None else [*trees, self.query]:
            for table in tree.find_all(exp.Table):
                name = table.this
                if isinstance(name, exp.Identifier) and folded(name) not in self.streams.keys() | self.views.keys():
                    yield name


def parse(text: str) -> Program:
    """Raises `SqlError`. Names are not looked up yet: that is `analytics.compiler.compile`."""
    program = Program()
    for statement in parse_statements(text):
        if isinstance(statement, CreateStream):
            _add_stream(program, statement)
        elif isinstance(statement, CreatePump):
            _add_pump(program, statement)
        elif isinstance(statement, CreateView):
            _add_view(program, statement)
        elif isinstance(statement, CreateFunction):
            _add_function(program, statement)
        elif isinstance(statement, AlterPump):
            _alter(program, statement)
        elif isinstance(statement, Drop):
            _drop(program, statement)
        elif program.query is not None:
            raise SqlError("a program has one query outside of pumps at most", place_of(statement))
        else:
            program.query = without_names(statement)
    if program.query is not None and program.pumps:
        raise SqlError("a query stands alone; beside pumps, make it a pump itself", place_of(program.query))
    if program.query is None and not program.pumps:
        raise SqlError("the program has no pump and no query: nothing would run")
    program.scripts = scripts_of(program.functions)
    program.pumps = {
        name: replace(pump, query=inlined(pump.query, program.functions)) for name, pump in program.pumps.items()
    }
    program.views = {name: inlined(view, program.functions) for name, view in program.views.items()}
    program.query = None if program.query is None else inlined(program.query, program.functions)
    return program


def functions_of(text: str) -> tuple[dict[str, list[CreateFunction]], list[Script]]:
    """The functions of statements that are all CREATE FUNCTION, and those of them in Python. Raises `SqlError`."""
    program = Program()
    for statement in parse_statements(text):
        assert isinstance(statement, CreateFunction), "the caller has cut the text so"
        _add_function(program, statement)
    scripts = scripts_of(program.functions)
    return program.functions, scripts


def folded(identifier: exp.Expr) -> str:
    """The name that an identifier denotes."""
    assert isinstance(identifier, exp.Identifier)
    name: str = identifier.name if identifier.quoted else identifier.name.upper()
    if len(name) > NAME_SIZE_MAX:
        raise SqlError(f"a name has at most {NAME_SIZE_MAX} characters", place_of(identifier))
    return name


def _add_stream(program: Program, statement: CreateStream) -> None:
    name, place = folded(statement.this), place_of(statement.this)
    if name.lower() == ERROR_STREAM:
        raise SqlError(f"{ERROR_STREAM} exists in every application and cannot be declared", place)
    if any(pump.target == name for pump in program.pumps.values()):
        raise SqlError(f"stream {name} is already used by a pump and cannot be declared again", place)
    before = program.streams.get(name)
    if before is not None and before.late_of is not None:
        raise SqlError(f"stream {name} is the one for the late rows of {before.late_of}", place)
    if name in program.streams and not statement.args.get("replace"):
        raise SqlError(f"stream {name} is declared twice", place, expected="CREATE OR REPLACE STREAM")
    columns: dict[str, Declared] = {}
    for column in statement.expressions:
        column_name = folded(column.this)
        if column_name in columns or column_name == "ROWTIME":
            what = (
                "every stream has a ROWTIME already"
                if column_name == "ROWTIME"
                else f"column {column_name} is there twice"
            )
            raise SqlError(what, place_of(column.this))
        columns[column_name] = Declared(
            column_name, declared(column.args["kind"], column.this), not column.args.get("constraints")
        )
    if before is not None and before.late is not None:
        del program.streams[before.late]
    watermark, retaining = statement.args.get("watermark"), statement.args.get("retain")
    if retaining is not None:
        program.streams[name] = StreamDeclaration(
            name, tuple(columns.values()), place, retain=_retained(retaining, place)
        )
        return
    if watermark is None:
        program.streams[name] = StreamDeclaration(name, tuple(columns.values()), place)
        return
    late = f"{name}{LATE_SUFFIX}"
    if late in program.streams:
        what = f"the late rows of {name} go to {late}, and there is a stream of that name"
        raise SqlError(what, place, expected="another name for one of them")
    if LATE_ROWTIME in columns:
        raise SqlError(f"column {LATE_ROWTIME} is what {late} has beside those of {name}", place_of(statement.this))
    known = {each.name: each.type.duck for each in columns.values()}
    bound = bound_of(watermark, watermark.this, folded(watermark.this), known)
    beside = Declared(LATE_ROWTIME, SqlType("TIMESTAMP_MS", pa.timestamp("ms")))
    program.streams[name] = StreamDeclaration(name, tuple(columns.values()), place, bound, late)
    nullable = (replace(column, nullable=True) for column in columns.values())
    program.streams[late] = StreamDeclaration(late, (*nullable, beside), place, late_of=name)


def _retained(retaining: Retaining, place: Place | None) -> Retain:
    number, length = retaining.this, retaining.args.get("expression")
    keys = None if number is None else int(number.name) if number.name.isdigit() else 0
    if keys is not None and not 1 <= keys <= KEYS_MAX:
        raise SqlError(f"a table RETAINs {number.name} KEYS", place, expected=f"1 to {KEYS_MAX:,}")
    ms = None if length is None else milliseconds(length)
    if ms == 0:
        raise SqlError("a table RETAINs an interval of nothing", place_of(length) or place)
    return Retain(keys, ms)


def _add_pump(program: Program, statement: CreatePump) -> None:
    name, place = folded(statement.this), place_of(statement.this)
    if name in program.pumps and not statement.args.get("replace"):
        raise SqlError(f"pump {name} is declared twice", place, expected="CREATE OR REPLACE PUMP")
    target = statement.args["target"]
    columns = tuple((folded(column), place_of(column)) for column in statement.expressions)
    program.pumps[name] = PumpDeclaration(
        name,
        folded(target),
        columns,
        without_names(statement.args["query"]),
        place,
        place_of(target),
        bool(statement.args.get("stopped")),
    )


def _add_view(program: Program, statement: CreateView) -> None:
    name, place = folded(statement.this), place_of(statement.this)
    if (name in program.views or name in program.streams) and not statement.args.get("replace"):
        raise SqlError(f"view {name} is declared twice", place, expected="CREATE OR REPLACE VIEW")
    program.views[name] = without_names(statement.args["query"])


def _add_function(program: Program, statement: CreateFunction) -> None:
    name = folded(statement.this)
    others = program.functions.setdefault(name, [])
    same = [other for other in others if takes(other) == takes(statement)]
    if same and not statement.args.get("replace"):
        place = place_of(statement.this)
        raise SqlError(f"function {name} is declared twice", place, expected="CREATE OR REPLACE FUNCTION")
    specific = statement.args.get("specific")
    known = [each.args.get("specific") for every in program.functions.values() for each in every if each not in same]
    if specific is not None and folded(specific) in [folded(each) for each in known if each is not None]:
        raise SqlError(f"two functions have the SPECIFIC name {folded(specific)}", place_of(specific))
    program.functions[name] = [*(other for other in others if other not in same), statement]


def _alter(program: Program, statement: AlterPump) -> None:
    name = folded(statement.this)
    if name not in program.pumps:
        near = closest(name, program.pumps)
        raise SqlError(f"there is no pump {name}", place_of(statement.this), suggestion=near)
    program.pumps[name] = replace(program.pumps[name], stopped=statement.args["stopped"])


def _drop(program: Program, statement: Drop) -> None:
    """What is dropped was never there, unless something that stays uses it."""
    name, kind, place = folded(statement.this), statement.args["kind"], place_of(statement.this)
    among: dict[str, dict[str, Any]] = {
        "STREAM": {each.name: each for each in program.streams.values() if each.retain is None},
        "TABLE": {each.name: each for each in program.streams.values() if each.retain is not None},
        "PUMP": program.pumps,
        "VIEW": program.views,
        "FUNCTION": program.functions,
    }
    if name not in among[kind]:
        raise SqlError(f"there is no {kind.lower()} {name} to drop", place, suggestion=closest(name, among[kind]))
    if kind not in ("STREAM", "TABLE"):
        del among[kind][name]
        return
    dropped = program.streams[name]
    if dropped.late_of is not None:
        what = f"stream {name} is the one for the late rows of {dropped.late_of}"
        raise SqlError(what, place, expected=f"DROP STREAM {dropped.late_of}")
    writer = next((pump.name for pump in program.pumps.values() if pump.target == name), None)
    if writer is not None:
        raise SqlError(f"pump {writer} inserts into {name}", place, expected=f"DROP PUMP {writer} before it")
    for gone in (name, dropped.late):
        program.streams.pop(gone or "", None)
