"""SQL that makes a row fail with a sentence, and the protocol of what writes expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sqlglot import exp

from analytics.sentences import MARK, VALUE_SHOWN_MAX

AGAIN_MAX = 4_000
"""Characters of operands that are written as often as they are named: such ones are computed faster than they are bound, and
`analytics.direct` knows them."""


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


def guarded(sql: str, bad: Callable[[str], str], message: str, duck: str) -> str:
    """`sql`, of type `duck`, unless `bad` of it holds: then the row fails with `message`."""

    def guard(value: str) -> str:
        return f"CASE WHEN {bad(value)} THEN CAST({failing(message, value)} AS {duck}) ELSE {value} END"

    return once(guard, sql)


def once(use: Callable[..., str], *operands: str) -> str:
    """`use(*operands)`, SQL that names its operands more than once. Long ones are computed before and bound to names: written
    out, what is nested in one another would double at every depth."""
    if max(map(len, operands)) <= AGAIN_MAX:
        return use(*operands)
    fields = ", ".join(f"'v{number}': {operand}" for number, operand in enumerate(operands))
    names = [f"bound.v{number}" for number in range(len(operands))]
    return f"list_extract(list_transform([{{{fields}}}], lambda bound: {use(*names)}), 1)"


def text(value: str) -> str:
    """A text as a literal."""
    return "'" + value.replace("'", "''") + "'"
