"""SQL that makes a row fail with a sentence."""

from __future__ import annotations


def failing(message: str, witness: str) -> str:
    """SQL that fails with `message` when a row reaches it. `witness`, any value of the row, keeps DuckDB from computing
    it ahead of time; `error()` would do, but is volatile, and TRY takes nothing volatile."""
    return f"CAST(concat({text(message)}, left(CAST({witness} AS VARCHAR), 0)) AS INTEGER)"


def guarded(sql: str, bad: str, message: str, duck: str) -> str:
    """`sql`, of type `duck`, unless `bad` holds: then the row fails with `message`."""
    return f"CASE WHEN {bad} THEN CAST({failing(message, sql)} AS {duck}) ELSE {sql} END"


def text(value: str) -> str:
    """A text as a literal."""
    return "'" + value.replace("'", "''") + "'"
