"""Arithmetic, and functions of numbers, as DuckDB SQL.

Integers are divided without a remainder; dividing by zero, and a result that is no number, make the row fail, where DuckDB says
NULL or inf.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from analytics import decimals
from analytics.errors import SqlError
from analytics.guards import Writes, failing, guarded, once
from analytics.operands import computable, number
from analytics.places import place_of
from analytics.types import family, is_integer

Writer = Callable[[Writes, exp.Expr], str]


def arithmetic(sign: str) -> Writer:
    """``+``, ``-`` and ``*``."""

    def write(self: Writes, node: exp.Expr) -> str:
        (left, left_type), (right, right_type) = self.typed(node.this), self.typed(node.expression)
        computable(sign, (node.this, left_type), (node.expression, right_type), node)
        if sign in _NAMED and _constants(node) > 1:
            return f"{_NAMED[sign]}({left}, {right})"
        return f"({left} {sign} {right})"

    return write


_NAMED = {"+": "add", "*": "multiply"}
"""Other names of what DuckDB's optimizer gathers the constants of: ``2 * n * 3`` would become ``n * (2 * 3)``, which may overflow
where the product of none of the rows does."""


def _constants(node: exp.Expr) -> int:
    """How many constants there are among what is added, or multiplied, in one go."""
    node = node.unnest()
    if isinstance(node, exp.Add | exp.Mul):
        return sum(
            _constants(part) if isinstance(part.unnest(), type(node)) else part.find(exp.Column) is None
            for part in (node.this, node.expression)
        )
    return 0


def divide(self: Writes, node: exp.Expr) -> str:
    (left, left_type), (right, right_type) = self.typed(node.this), self.typed(node.expression)
    computable("/", (node.this, left_type), (node.expression, right_type), node)
    if is_integer(left_type) and is_integer(right_type):
        return f"({left} // {right})"  # fails by itself on zero
    exact = decimals.quotient(left, left_type, right, right_type)
    if exact is not None:
        return exact
    if _is_not_zero(node.expression):
        return f"({left} / {right})"
    return _unless_zero("/", left, right, "INTERVAL" if left_type == "INTERVAL" else "DOUBLE")


def _unless_zero(sign: str, left: str, right: str, duck: str) -> str:
    """`left` by `right`, of type `duck`, but a row that divides by zero fails."""

    def divided(a: str, b: str) -> str:
        failed = f"CAST({failing('division by zero', a)} AS {duck})"
        return f"CASE WHEN {b} = 0 AND {a} IS NOT NULL THEN {failed} ELSE {a} {sign} {b} END"

    return once(divided, left, right)


def _is_not_zero(divisor: exp.Expr) -> bool:
    return isinstance(divisor, exp.Literal) and not divisor.is_string and float(divisor.name) != 0


def modulo(self: Writes, node: exp.Expr) -> str:
    (left, left_type), (right, right_type) = self.typed(node.this), self.typed(node.expression)
    if not all(is_integer(duck) or family(duck) == "null" for duck in (left_type, right_type)):
        raise SqlError("MOD takes whole numbers", place_of(node))
    if _is_not_zero(node.expression):
        return f"({left} % {right})"
    return _unless_zero("%", left, right, "TINYINT")


def finite_only(result: str, name: str) -> str:
    """A DOUBLE that a function of this name gives; the row fails where it is none."""
    return guarded(result, lambda value: f"NOT isfinite({value})", f"{name}: numeric overflow or no number", "DOUBLE")


def finite(name: str, *more: str) -> Writer:
    """A function of DOUBLE whose result may be no number: then the row fails."""

    def write(self: Writes, node: exp.Expr) -> str:
        given = [number(self, tree, name.upper(), node) for tree in (node.this, *(node.args[key] for key in more))]
        result = f"CAST({name}({', '.join(given)}) AS DOUBLE)"
        return finite_only(result, name.upper())

    return write
