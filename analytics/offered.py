"""Arrow tables as tables of SQL, for statements that write them.

Registering a table with DuckDB and taking it back costs as much as a small statement. So a connection keeps a view for each
shape that its rows have, and what stands behind the view changes.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

SHAPES_MAX = 256
"""Shapes that a connection remembers. A program has one a table of its state, or a few."""


class _Rows:
    """What DuckDB asks for rows, by Arrow's PyCapsule interface, each time that it runs a statement."""

    def __init__(self, schema: pa.Schema) -> None:
        self.none = schema.empty_table()
        self.now = self.none

    def __arrow_c_schema__(self) -> Any:
        return self.none.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.now.__arrow_c_stream__(requested_schema)


class Offered:
    """Of one connection, in one thread at a time."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self._known: dict[pa.Schema, tuple[str, _Rows]] = {}

    def execute(self, sql: str, rows: pa.Table) -> None:
        """Runs an INSERT, UPDATE or DELETE in which `rows` are the table ``added``. Raises `duckdb.Error`."""
        name, offered = self._view(rows.schema)
        offered.now = rows
        try:
            self.connection.execute(f"WITH added AS (FROM {name}) {sql}")
        finally:
            offered.now = offered.none

    def _view(self, schema: pa.Schema) -> tuple[str, _Rows]:
        found = self._known.get(schema)
        if found is None:
            if len(self._known) >= SHAPES_MAX:
                for name, _ in self._known.values():
                    self.connection.unregister(name)
                self._known.clear()
            found = self._known[schema] = (f"added_{len(self._known)}", _Rows(schema))
            self.connection.register(*found)
        return found
