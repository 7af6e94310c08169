"""One small DuckDB connection a thread for the codecs: connecting costs milliseconds, a query 0.2 ms."""

from __future__ import annotations

import threading
from typing import Any

import duckdb
import pyarrow as pa

_local = threading.local()


def run(sql: str, **tables: Any) -> pa.Table:
    """The result of one query over the Arrow tables named, in the order of their rows (the connection has one thread)."""
    connection = _connection()
    for name, table in tables.items():
        connection.register(name, table)
    try:
        return connection.sql(sql).to_arrow_table()
    finally:
        for name in tables:
            connection.unregister(name)


def literal(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def _connection() -> duckdb.DuckDBPyConnection:
    connection: duckdb.DuckDBPyConnection | None = getattr(_local, "connection", None)
    if connection is None:
        # Batches of some ten thousand rows hardly parallelise; the cores belong to the shards read side by side.
        connection = duckdb.connect(config={"threads": 1})
        connection.execute("SET TimeZone = 'UTC'")
        _local.connection = connection
    return connection
