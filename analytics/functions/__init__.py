"""Scalar functions of the language that DuckDB has no words for: written in Python over columns, known to DuckDB by name.

A function that cannot do with a row raises `ValueError`, which makes that row a row of the error stream.
"""

from __future__ import annotations

import duckdb

from analytics.functions.registry import register

__all__ = ["prepare", "register", "set_clock", "set_session"]

STARTED, NOW = "headrace_started", "headrace_now"
"""DuckDB variables: when the application began, and when the micro-batch did."""


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes a connection speak the language: its functions, its clock (at 1970), and UTC."""
    register(connection)
    set_session(connection)


def set_session(connection: duckdb.DuckDBPyConnection) -> None:
    """What each connection of a database has for itself: the clock and UTC."""
    connection.execute("SET TimeZone = 'UTC'")
    set_clock(connection, STARTED, 0)
    set_clock(connection, NOW, 0)


def set_clock(connection: duckdb.DuckDBPyConnection, name: str, now_ms: int) -> None:
    connection.execute(f"SET VARIABLE {name} = CAST(make_timestamp_ms({now_ms}) AS TIMESTAMP_MS)")
