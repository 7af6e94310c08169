"""Tables of applications in a batch query: ``application.stream``, as the application was after one commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import duckdb
import pyarrow as pa
from sqlglot import exp

from analytics.errors import SqlError, closest
from analytics.places import place_of
from analytics.showing import read, shown
from streams.core.errors import ValidationError


class Applications(Protocol):
    """Where a query finds applications. Both raise `HeadraceError` for an application that is none, or is not at work."""

    async def tables(self, application: str) -> Mapping[str, Mapping[str, str]]:
        """The tables of an application by name: their columns and the DuckDB types of these."""
        ...

    async def read(self, application: str, wanted: Mapping[str, Sequence[str] | None]) -> Mapping[str, pa.Table]:
        """Tables with some of their columns (None: all), as they are after one commit."""
        ...


@dataclass(slots=True)
class LiveTable:
    """One that a query names: `physical` is its name in the query's own database; `columns` are those that are read."""

    application: str
    name: str
    physical: str
    columns: dict[str, str]


@dataclass(slots=True)
class LiveTables:
    """Those of one query. `wanted` are the lower-case names of columns that it may name, None: all."""

    applications: Applications | None
    wanted: set[str] | None
    found: dict[tuple[str, str], LiveTable] = field(default_factory=dict)
    _known: dict[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)

    async def find(self, table: exp.Table) -> LiveTable:
        """The table that FROM names with its application. Raises `SqlError`."""
        application = table.db
        if self.applications is None:
            raise SqlError(f"there is no application {application}", place_of(table))
        if application not in self._known:
            self._known[application] = await self.applications.tables(application)
        tables = self._known[application]
        name = table.name if table.name in tables else _alone(table.name, tables)
        if name is None:
            near = closest(table.name, tables)
            raise SqlError(f"application {application} has no stream {table.name}", place_of(table), suggestion=near)
        key = application, name
        if key not in self.found:
            columns = {
                column: duck
                for column, duck in tables[name].items()
                if self.wanted is None or column.lower() in self.wanted
            }
            self.found[key] = LiveTable(application, name, f"live_{len(self.found)}", columns)
        return self.found[key]

    def columns(self) -> set[str]:
        """Every column that there is."""
        return {column for tables in self._known.values() for columns in tables.values() for column in columns}

    def create(self, connection: duckdb.DuckDBPyConnection) -> None:
        """The tables, empty."""
        for table in self.found.values():
            shape = [f"{_quoted(name)} {table.columns[column]}" for column, name in _names(table.columns).items()]
            connection.execute(f"CREATE TABLE {table.physical} ({', '.join(shape) or 'nothing INTEGER'})")

    async def load(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Fills them, each application's at once."""
        for application in dict.fromkeys(table.application for table in self.found.values()):
            mine = {table.name: table for table in self.found.values() if table.application == application}
            assert self.applications is not None, "tables were found"
            rows = await self.applications.read(application, {name: list(t.columns) for name, t in mine.items()})
            for name, table in mine.items():
                connection.register("part", rows[name])
                connection.execute(f"INSERT INTO {table.physical} SELECT * FROM part")
                connection.unregister("part")


class StateFile:
    """The one application ``state``, whose state is in a file that no process has open. It has no reference tables."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def tables(self, application: str) -> Mapping[str, Mapping[str, str]]:
        if application != "state":
            raise SqlError(f"there is no application {application}", suggestion="state")
        with self._open() as connection:
            return {each.name: each.columns for each in shown(connection) if each.kind != "reference"}

    async def read(self, application: str, wanted: Mapping[str, Sequence[str] | None]) -> Mapping[str, pa.Table]:
        with self._open() as connection:
            return read(connection, wanted)

    def _open(self) -> duckdb.DuckDBPyConnection:
        try:
            return duckdb.connect(self._path, read_only=True)
        except duckdb.Error as error:
            reason = str(error).split("\n", 1)[0].removeprefix("IO Error: ")
            raise ValidationError(f"the state in {self._path} cannot be read: {reason}") from error


def _alone(name: str, among: Mapping[str, object]) -> str | None:
    same = [each for each in among if each.lower() == name.lower()]
    return same[0] if len(same) == 1 else None


def _names(columns: Mapping[str, str]) -> dict[str, str]:
    """Column → its name in DuckDB; names that it would take for one get a number."""
    found: dict[str, str] = {}
    for column in columns:
        taken, name, number = {each.lower() for each in found.values()}, column, 1
        while name.lower() in taken:
            name, number = f"{column}_{number}", number + 1
        found[column] = name
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
