"""Arithmetic, and functions of numbers, as DuckDB SQL.

Integers are divided without a remainder; dividing by zero, and a result that is no number, make the row fail, where DuckDB says
NULL or inf.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from analytics import decimals
from analytics.errors import SqlError
from analytics.guards import Writes, failing, guarded
from analytics.operands import computable, number
from analytics.places import place_of
from analytics.types import family, is_integer

Writer = Callable[[Writes, exp.Expr], str]


def arithmetic(sign: str) -> Writer:
    """``+``, ``-`` and ``*``."""

    def write(self: Writes, node: exp.Expr) -> str:
        (left, left_type), (right, right_type) = self.typed(node.this), self.typed(node.expression)
        computable(sign, (node.this, left_type), (node.expression, right_type), node)
        return f"({left} {sign} {right})"

    return write


def divide(self: Writes, node: exp.Expr) -> str:
    (left, left_type), (right, right_type) = self.typed(node.this), self.typed(node.expression)
    computable("/", (node.this, left_type), (node.expression, right_type), node)
    if is_integer(left_type) and is_integer(right_type):
        return f"({left} // {right})"  # fails by itself on zero
    exact = decimals.quotient(left, left_type, right, right_type)
    if exact is not None:
        return exact
    quotient = f"({left} / {right})"
    if _is_not_zero(node.expression):
        return quotient
    return f"CASE WHEN {right} = 0 AND {left} IS NOT NULL THEN {failing('division by zero', left)} ELSE {quotient} END"


def _is_not_zero(divisor: exp.Expr) -> bool:
    return isinstance(divisor, exp.Literal) and not divisor.is_string and float(divisor.name) != 0


def modulo(self: Writes, node: exp.Expr) -> str:
    (left, left_type), (right, right_type) = self.typed(node.this), self.typed(node.expression)
    if not all(is_integer(duck) or family(duck) == "null" for duck in (left_type, right_type)):
        raise SqlError("MOD takes whole numbers", place_of(node))
    if _is_not_zero(node.expression):
        return f"({left} % {right})"
    by_zero = f"{right} = 0 AND {left} IS NOT NULL"
    return f"CASE WHEN {by_zero} THEN {failing('division by zero', left)} ELSE {left} % {right} END"


def finite(name: str, *more: str) -> Writer:
    """A function of DOUBLE whose result may be no number: then the row fails."""

    def write(self: Writes, node: exp.Expr) -> str:
        given = [number(self, tree, name.upper(), node) for tree in (node.this, *(node.args[key] for key in more))]
        result = f"CAST({name}({', '.join(given)}) AS DOUBLE)"
        bad = f"NOT isfinite({result})"
        return guarded(result, bad, f"{name.upper()}: numeric overflow or no number", "DOUBLE")

    return write
