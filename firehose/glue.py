"""The data catalog: databases and tables in Glue's words, enough to register the schema of a format conversion."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from firehose.book import Book
from firehose.catalog import Catalog
from firehose.configuration import plain
from firehose.events import DatabaseCreated, Event, TableCreated
from streams.core.errors import RequestError, UnsupportedOperation
from streams.core.scope import Scope

PAGE = 100
"""Tables or databases of one answer, Glue's own limit."""


class AlreadyExists(RequestError):
    code = "AlreadyExistsException"


class EntityNotFound(RequestError):
    code = "EntityNotFoundException"


class Glue:
    """`call(operation, request, scope)` as a service; its state is part of the delivery streams' journal."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._operations: dict[str, Callable[[Any, Scope], Awaitable[Any]]] = {
            "CreateDatabase": self._create_database,
            "GetDatabase": self._get_database,
            "GetDatabases": self._get_databases,
            "CreateTable": self._create_table,
            "GetTable": self._get_table,
            "GetTables": self._get_tables,
        }
        self.implemented = frozenset(self._operations)

    async def call(self, operation: str, request: Any, scope: Scope) -> Any:
        """The reply of a Glue operation. Raises `RequestError`."""
        run = self._operations.get(operation)
        if run is None:
            raise UnsupportedOperation(f"Headrace does not offer {operation} yet.")
        return await run(request, scope)

    def resource(self, request: Any, scope: Scope) -> str | None:
        """The ARN of the table or database that a request is about; None where it is about none."""
        database, name = getattr(request, "database_name", None), getattr(request, "name", None)
        if database is None:
            return None if name is None else f"arn:aws:glue:{scope.region}:{scope.account}:database/{name}"
        return f"arn:aws:glue:{scope.region}:{scope.account}:table/{database}/{name or '*'}"

    async def _create_database(self, request: Any, scope: Scope) -> Any:
        given = plain(request.database_input)
        name = given["Name"] = given["Name"].lower()

        def decide(catalog: Catalog, now_ms: int) -> tuple[None, list[Event]]:
            if catalog.database(scope, name) is not None:
                raise AlreadyExists("Database already exists.")
            return None, [DatabaseCreated(scope.account, scope.region, name, now_ms, given)]

        await self._book.execute(decide)
        return {}

    async def _get_database(self, request: Any, scope: Scope) -> Any:
        return {"Database": _database(self._database(scope, request.name))}

    async def _get_databases(self, request: Any, scope: Scope) -> Any:
        names = self._book.catalog.databases(scope)
        page, token = _page(names, request)
        return {"DatabaseList": [_database(one) for one in page], **token}

    async def _create_table(self, request: Any, scope: Scope) -> Any:
        if request.table_input is None:
            raise UnsupportedOperation("Headrace does not offer CreateTable without TableInput yet.")
        database = self._database(scope, request.database_name).name
        given = plain(request.table_input)
        name = given["Name"] = given["Name"].lower()

        def decide(catalog: Catalog, now_ms: int) -> tuple[None, list[Event]]:
            if catalog.table(scope, database, name) is not None:
                raise AlreadyExists("Table already exists.")
            return None, [TableCreated(scope.account, scope.region, database, name, now_ms, given)]

        await self._book.execute(decide)
        return {}

    async def _get_table(self, request: Any, scope: Scope) -> Any:
        database = self._database(scope, request.database_name).name
        table = self._book.catalog.table(scope, database, request.name.lower())
        if table is None:
            raise EntityNotFound(f"Entity Not Found: Table {request.name} not found.")
        return {"Table": _table(table)}

    async def _get_tables(self, request: Any, scope: Scope) -> Any:
        tables = self._book.catalog.tables(scope, self._database(scope, request.database_name).name)
        page, token = _page(tables, request)
        return {"TableList": [_table(one) for one in page], **token}

    def _database(self, scope: Scope, name: str) -> DatabaseCreated:
        database = self._book.catalog.database(scope, name.lower())
        if database is None:
            raise EntityNotFound(f"Database {name} not found.")
        return database


def _page(found: list[Any], request: Any) -> tuple[list[Any], dict[str, str]]:
    """From the name in NextToken on."""
    rest = [one for one in found if one.name > (request.next_token or "")]
    page = rest[: min(request.max_results or PAGE, PAGE)]
    return page, {"NextToken": page[-1].name} if len(page) < len(rest) else {}


def _database(database: DatabaseCreated) -> dict[str, Any]:
    return {**database.input, "CreateTime": database.at_ms / 1000, "CatalogId": database.account}


def _table(table: TableCreated) -> dict[str, Any]:
    return {
        **table.input,
        "DatabaseName": table.database,
        "CreateTime": table.at_ms / 1000,
        "UpdateTime": table.at_ms / 1000,
        "CatalogId": table.account,
        "VersionId": "1",
    }
