"""The data catalog's operations in Glue's words: enough to register the schema of a format conversion, and to change it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from firehose.adopting import taken
from firehose.book import Book
from firehose.catalog import Catalog
from firehose.events import (
    DatabaseCreated,
    DatabaseDeleted,
    DatabaseUpdated,
    Event,
    SchemaTaken,
    TableCreated,
    TableDeleted,
    TableUpdated,
    TableVersionsDeleted,
)
from firehose.tables import Table, Version
from streams.core.errors import ConcurrentModification, RequestError, UnsupportedOperation
from streams.core.plain import plain
from streams.core.scope import Scope
from streams.core.work import GLUE

PAGE = 100
"""Tables, databases or versions of one answer, Glue's own limit."""


class AlreadyExists(RequestError):
    code = "AlreadyExistsException"


class EntityNotFound(RequestError):
    code = "EntityNotFoundException"


class InvalidInput(RequestError):
    code = "InvalidInputException"


class Glue:
    """`call(operation, request, scope)` as a service; its state is part of the delivery streams' journal. `adopted` is told
    the numbers of delivery streams that have another schema now."""

    def __init__(self, book: Book, adopted: Callable[[Sequence[int]], Awaitable[None]]) -> None:
        self._book = book
        self._adopted = adopted
        self._operations: dict[str, Callable[[Any, Scope], Awaitable[Any]]] = {
            "CreateDatabase": self._create_database,
            "GetDatabase": self._get_database,
            "GetDatabases": self._get_databases,
            "UpdateDatabase": self._update_database,
            "DeleteDatabase": self._delete_database,
            "CreateTable": self._create_table,
            "GetTable": self._get_table,
            "GetTables": self._get_tables,
            "UpdateTable": self._update_table,
            "DeleteTable": self._delete_table,
            "BatchDeleteTable": self._batch_delete_table,
            "GetTableVersion": self._get_table_version,
            "GetTableVersions": self._get_table_versions,
            "DeleteTableVersion": self._delete_table_version,
            "BatchDeleteTableVersion": self._batch_delete_table_version,
            "GetPartitionIndexes": self._get_partition_indexes,
        }
        self.implemented = frozenset(self._operations)

    async def call(self, operation: str, request: Any, scope: Scope) -> Any:
        """The reply of a Glue operation. Raises `RequestError`."""
        run = self._operations.get(operation)
        if run is None:
            raise UnsupportedOperation(f"Headrace does not offer {operation} yet.")
        await self._book.current()
        return await run(request, scope)

    async def item(self, operation: str, request: Any, scope: Scope) -> str | None:
        """The item of the work whose owner answers a request; None where any process does."""
        return None if operation.startswith("Get") else GLUE

    def resource(self, request: Any, scope: Scope) -> str | None:
        """The ARN of the table or database that a request is about; None where it is about none."""
        database, name = getattr(request, "database_name", None), getattr(request, "name", None)
        if database is None:
            return None if name is None else f"arn:aws:glue:{scope.region}:{scope.account}:database/{name}"
        table = (
            name or getattr(request, "table_name", None) or getattr(getattr(request, "table_input", None), "name", None)
        )
        return f"arn:aws:glue:{scope.region}:{scope.account}:table/{database}/{table or '*'}"

    async def _create_database(self, request: Any, scope: Scope) -> Any:
        given = plain(request.database_input)
        name = given["Name"] = given["Name"].lower()

        def decide(catalog: Catalog, now_ms: int) -> tuple[None, list[Event]]:
            if catalog.tables.database(scope, name) is not None:
                raise AlreadyExists("Database already exists.")
            return None, [DatabaseCreated(scope.account, scope.region, name, now_ms, given)]

        await self._book.execute(decide)
        return {}

    async def _get_database(self, request: Any, scope: Scope) -> Any:
        return {"Database": _database(self._database(scope, request.name))}

    async def _get_databases(self, request: Any, scope: Scope) -> Any:
        names = self._book.catalog.tables.databases(scope)
        page, token = _page(names, request)
        return {"DatabaseList": [_database(one) for one in page], **token}

    async def _update_database(self, request: Any, scope: Scope) -> Any:
        given = plain(request.database_input)
        name = request.name.lower()
        if given["Name"].lower() != name:
            raise InvalidInput("A database cannot be renamed.")
        given["Name"] = name

        def decide(_catalog: Catalog, _now_ms: int) -> tuple[None, list[Event]]:
            self._database(scope, name)
            return None, [DatabaseUpdated(scope.account, scope.region, name, given)]

        await self._book.execute(decide)
        return {}

    async def _delete_database(self, request: Any, scope: Scope) -> Any:
        name = request.name.lower()

        def decide(_catalog: Catalog, _now_ms: int) -> tuple[None, list[Event]]:
            self._database(scope, name)
            return None, [DatabaseDeleted(scope.account, scope.region, name)]

        await self._book.execute(decide)
        return {}

    async def _create_table(self, request: Any, scope: Scope) -> Any:
        if request.table_input is None:
            raise UnsupportedOperation("Headrace does not offer CreateTable without TableInput yet.")
        given = plain(request.table_input)
        name = given["Name"] = given["Name"].lower()

        def decide(catalog: Catalog, now_ms: int) -> tuple[list[int], list[Event]]:
            database = self._database(scope, request.database_name).name
            if catalog.tables.table(scope, database, name) is not None:
                raise AlreadyExists("Table already exists.")
            follow = taken(catalog, scope, database, name, 0, given)
            created = TableCreated(scope.account, scope.region, database, name, now_ms, given)
            return _numbers(follow), [created, *follow]

        await self._adopted(await self._book.execute(decide))
        return {}

    async def _get_table(self, request: Any, scope: Scope) -> Any:
        database = self._database(scope, request.database_name).name
        table = self._book.catalog.tables.table(scope, database, request.name.lower())
        if table is None:
            raise EntityNotFound("Entity Not Found")
        return {"Table": _table(table, table.current)}

    async def _get_tables(self, request: Any, scope: Scope) -> Any:
        tables = self._book.catalog.tables.tables(scope, self._database(scope, request.database_name).name)
        if request.expression:
            tables = _matching(tables, request.expression)
        page, token = _page(tables, request)
        return {"TableList": [_table(one, one.current) for one in page], **token}

    async def _update_table(self, request: Any, scope: Scope) -> Any:
        if request.table_input is None:
            raise UnsupportedOperation("Headrace does not offer UpdateTable without TableInput yet.")
        given = plain(request.table_input)
        name = given["Name"] = given["Name"].lower()
        if request.name is not None and request.name.lower() != name:
            raise InvalidInput("A table cannot be renamed.")

        def decide(catalog: Catalog, now_ms: int) -> tuple[list[int], list[Event]]:
            table = self._table(scope, request.database_name, name)
            if request.version_id is not None and request.version_id != str(table.current.number):
                raise ConcurrentModification("Update table failed due to concurrent modifications.")
            version, where = table.current.number + 1, (scope.account, scope.region, table.database, name)
            updated = TableUpdated(*where, now_ms, version, given, archive=not request.skip_archive)
            follow = taken(catalog, scope, table.database, name, version, given)
            return _numbers(follow), [updated, *follow]

        await self._adopted(await self._book.execute(decide))
        return {}

    async def _delete_table(self, request: Any, scope: Scope) -> Any:
        def decide(_catalog: Catalog, _now_ms: int) -> tuple[None, list[Event]]:
            table = self._table(scope, request.database_name, request.name)
            return None, [TableDeleted(scope.account, scope.region, table.database, table.name)]

        await self._book.execute(decide)
        return {}

    async def _batch_delete_table(self, request: Any, scope: Scope) -> Any:
        def decide(_catalog: Catalog, _now_ms: int) -> tuple[list[dict[str, Any]], list[Event]]:
            self._database(scope, request.database_name)
            events: list[Event] = []
            errors = []
            for name in dict.fromkeys(request.tables_to_delete):
                try:
                    table = self._table(scope, request.database_name, name)
                    events.append(TableDeleted(scope.account, scope.region, table.database, table.name))
                except EntityNotFound as error:
                    errors.append({"TableName": name, "ErrorDetail": _detail(error)})
            return errors, events

        errors = await self._book.execute(decide)
        return {"Errors": errors} if errors else {}

    async def _get_table_version(self, request: Any, scope: Scope) -> Any:
        table = self._table(scope, request.database_name, request.table_name)
        version = table.current if request.version_id is None else _version(table, request.version_id)
        return {"TableVersion": {"Table": _table(table, version), "VersionId": str(version.number)}}

    async def _get_table_versions(self, request: Any, scope: Scope) -> Any:
        """The newest first."""
        table = self._table(scope, request.database_name, request.table_name)
        before = int(request.next_token) if (request.next_token or "").isdecimal() else None
        rest = [one for one in reversed(table.versions) if before is None or one.number < before]
        page = rest[: min(request.max_results or PAGE, PAGE)]
        token = {"NextToken": str(page[-1].number)} if len(page) < len(rest) else {}
        versions = [{"Table": _table(table, one), "VersionId": str(one.number)} for one in page]
        return {"TableVersions": versions, **token}

    async def _delete_table_version(self, request: Any, scope: Scope) -> Any:
        errors = await self._delete_versions(request, scope, [request.version_id])
        for error in errors:
            raise error
        return {}

    async def _batch_delete_table_version(self, request: Any, scope: Scope) -> Any:
        asked = list(dict.fromkeys(request.version_ids))
        errors = await self._delete_versions(request, scope, asked)
        named = [
            {"TableName": request.table_name, "VersionId": error.version, "ErrorDetail": _detail(error)}
            for error in errors
        ]
        return {"Errors": named} if named else {}

    async def _delete_versions(self, request: Any, scope: Scope, asked: Sequence[str]) -> list[_BadVersion]:
        def decide(_catalog: Catalog, _now_ms: int) -> tuple[list[_BadVersion], list[Event]]:
            table = self._table(scope, request.database_name, request.table_name)
            errors: list[_BadVersion] = []
            numbers = []
            for asked_id in asked:
                version = table.version(asked_id)
                if version is None:
                    errors.append(_NoVersion(asked_id))
                elif version is table.current:
                    errors.append(_CurrentVersion(asked_id))
                else:
                    numbers.append(version.number)
            where = (scope.account, scope.region, table.database, table.name)
            return errors, [TableVersionsDeleted(*where, tuple(numbers))] if numbers else []

        return await self._book.execute(decide)

    async def _get_partition_indexes(self, request: Any, scope: Scope) -> Any:
        """There are none; Terraform asks for them with every table."""
        self._table(scope, request.database_name, request.table_name)
        return {"PartitionIndexDescriptorList": []}

    def _database(self, scope: Scope, name: str) -> DatabaseCreated:
        database = self._book.catalog.tables.database(scope, name.lower())
        if database is None:
            raise EntityNotFound(f"Database {name} not found.")
        return database

    def _table(self, scope: Scope, database: str, name: str) -> Table:
        table = self._book.catalog.tables.table(scope, self._database(scope, database).name, name.lower())
        if table is None:
            raise EntityNotFound(f"Table {name} not found.")
        return table


class _NoVersion(EntityNotFound):
    def __init__(self, version: str) -> None:
        super().__init__(f"Table version {version} not found.")
        self.version = version


class _CurrentVersion(InvalidInput):
    def __init__(self, version: str) -> None:
        super().__init__(f"Table version {version} is the current one and cannot be deleted.")
        self.version = version


_BadVersion = _NoVersion | _CurrentVersion


def _version(table: Table, number: str) -> Version:
    version = table.version(number)
    if version is None:
        raise _NoVersion(number)
    return version


def _numbers(follow: Sequence[SchemaTaken]) -> list[int]:
    return [one.number for one in follow]


def _detail(error: RequestError) -> dict[str, str]:
    return {"ErrorCode": error.code, "ErrorMessage": error.message}


def _matching(tables: list[Table], expression: str) -> list[Table]:
    """Those with a name of this regular expression. It is a caller's: RE2 takes no longer for an evil one."""
    names = pa.array([table.name for table in tables], pa.string())
    try:
        hits = pc.match_substring_regex(names, f"^(?:{expression})$", ignore_case=True).to_pylist()
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"Expression {expression} is not a regular expression.") from error
    return [table for table, hit in zip(tables, hits, strict=True) if hit]


def _page(found: list[Any], request: Any) -> tuple[list[Any], dict[str, str]]:
    """From the name in NextToken on."""
    rest = [one for one in found if one.name > (request.next_token or "")]
    page = rest[: min(request.max_results or PAGE, PAGE)]
    return page, {"NextToken": page[-1].name} if len(page) < len(rest) else {}


def _database(database: DatabaseCreated) -> dict[str, Any]:
    return {**database.input, "CreateTime": database.at_ms / 1000, "CatalogId": database.account}


def _table(table: Table, version: Version) -> dict[str, Any]:
    return {
        **version.input,
        "DatabaseName": table.database,
        "CreateTime": table.created_ms / 1000,
        "UpdateTime": version.at_ms / 1000,
        "CatalogId": table.scope.account,
        "VersionId": str(version.number),
    }
