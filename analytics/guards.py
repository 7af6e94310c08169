"""SQL that makes a row fail with a sentence, and the protocol of what writes expressions."""

from __future__ import annotations

from typing import Protocol

from sqlglot import exp

from analytics.sentences import MARK, VALUE_SHOWN_MAX


class Writes(Protocol):
    """Writes trees as DuckDB SQL, and knows their types."""

    def write(self, node: exp.Expr) -> str: ...

    def typed(self, node: exp.Expr) -> tuple[str, str]:
        """(SQL, DuckDB type)"""
        ...


def failing(message: str, witness: str) -> str:
    """SQL that fails with `message` when a row reaches it. `witness`, any value of the row, keeps DuckDB from computing
    it ahead of time; `error()` would do, but is volatile, and TRY takes nothing volatile."""
    return f"CAST(concat({text(MARK + message)}, left(CAST({witness} AS VARCHAR), 0)) AS INTEGER)"


def refusing(value: str, what: str) -> str:
    """SQL that fails when a row reaches it, and says that its text `value` is not `what`."""
    begin, end = text(f"{MARK}'"), text(f"' is not {what}")
    return f"CAST(concat({begin}, left({value}, {VALUE_SHOWN_MAX}), {end}) AS INTEGER)"


def guarded(sql: str, bad: str, message: str, duck: str) -> str:
    """`sql`, of type `duck`, unless `bad` holds: then the row fails with `message`."""
    return f"CASE WHEN {bad} THEN CAST({failing(message, sql)} AS {duck}) ELSE {sql} END"


def text(value: str) -> str:
    """A text as a literal."""
    return "'" + value.replace("'", "''") + "'"
