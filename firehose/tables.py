"""The data catalog: databases, their tables, and the versions of these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from firehose.events import (
    DatabaseCreated,
    DatabaseDeleted,
    DatabaseUpdated,
    TableCreated,
    TableDeleted,
    TableEvent,
    TableUpdated,
    TableVersionsDeleted,
)
from streams.core.scope import Scope

VERSIONS_MAX = 1_000
"""Versions of a table that are kept; the oldest go first. All of them are in every snapshot of the journal."""

Key: TypeAlias = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Version:
    """`input` is Glue's TableInput."""

    number: int
    at_ms: int
    input: dict[str, Any]


@dataclass(slots=True, eq=False)
class Table:
    """`versions` are in order; the last is the table as it is."""

    scope: Scope
    database: str
    name: str
    created_ms: int
    versions: list[Version] = field(default_factory=list)

    @property
    def current(self) -> Version:
        return self.versions[-1]

    def version(self, number: str) -> Version | None:
        """By its VersionId."""
        return next((one for one in self.versions if str(one.number) == number), None)


class Tables:
    """`apply` is the only mutator."""

    def __init__(self) -> None:
        self._databases: dict[tuple[str, str, str], DatabaseCreated] = {}
        self._tables: dict[Key, Table] = {}

    def database(self, scope: Scope, name: str) -> DatabaseCreated | None:
        return self._databases.get((scope.account, scope.region, name))

    def databases(self, scope: Scope) -> list[DatabaseCreated]:
        mine = (scope.account, scope.region)
        return sorted((d for d in self._databases.values() if (d.account, d.region) == mine), key=lambda d: d.name)

    def table(self, scope: Scope, database: str, name: str) -> Table | None:
        return self._tables.get((scope.account, scope.region, database, name))

    def tables(self, scope: Scope, database: str) -> list[Table]:
        found = (table for table in self._tables.values() if (table.scope, table.database) == (scope, database))
        return sorted(found, key=lambda table: table.name)

    def apply(self, event: TableEvent) -> None:
        match event:
            case DatabaseCreated():
                self._databases[event.account, event.region, event.name] = event
            case DatabaseUpdated():
                before = self._databases[event.account, event.region, event.name]
                self._databases[event.account, event.region, event.name] = msgspec.structs.replace(
                    before, input=event.input
                )
            case DatabaseDeleted():
                del self._databases[event.account, event.region, event.name]
                where = (event.account, event.region, event.name)
                self._tables = {key: table for key, table in self._tables.items() if key[:3] != where}
            case TableCreated():
                scope = Scope(event.account, event.region)
                at_ms = event.at_ms if event.updated_ms is None else event.updated_ms
                first = Version(event.version, at_ms, event.input)
                self._tables[_key(event)] = Table(scope, event.database, event.name, event.at_ms, [first])
            case TableUpdated():
                versions = self._tables[_key(event)].versions
                if not event.archive:
                    versions.pop()
                versions.append(Version(event.version, event.at_ms, event.input))
                del versions[:-VERSIONS_MAX]
            case TableDeleted():
                del self._tables[_key(event)]
            case TableVersionsDeleted():
                versions = self._tables[_key(event)].versions
                versions[:] = [one for one in versions if one.number not in event.versions]

    def snapshot(self) -> tuple[tuple[DatabaseCreated, ...], tuple[TableCreated, ...], tuple[TableUpdated, ...]]:
        """Databases, the oldest version of each table, and the others: events that make the same again."""
        created, updated = [], []
        for (account, region, database, name), table in self._tables.items():
            where = (account, region, database, name)
            first, *others = table.versions
            created.append(TableCreated(*where, table.created_ms, first.input, first.number, first.at_ms))
            updated += [TableUpdated(*where, one.at_ms, one.number, one.input) for one in others]
        return tuple(self._databases.values()), tuple(created), tuple(updated)

    def restore(
        self,
        databases: Iterable[DatabaseCreated],
        tables: Iterable[TableCreated],
        versions: Iterable[TableUpdated],
    ) -> None:
        """What `snapshot` answered."""
        for database in databases:
            self.apply(database)
        for table in tables:
            self.apply(table)
        for version in versions:
            self.apply(version)


def _key(event: TableCreated | TableUpdated | TableDeleted | TableVersionsDeleted) -> Key:
    return event.account, event.region, event.database, event.name
