"""The values of the language in plain Python: types, rounding, and what may go into a column."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Protocol

Env = Mapping[str, Any]
"""The values of a row by the SQL that names them; times are milliseconds since 1970, NULL is None."""

RANGES = {"SMALLINT": 1 << 15, "INTEGER": 1 << 31, "BIGINT": 1 << 63}
PRECISION_MAX = 18
TRUTH = (False, None, True)
"""From the least: AND is the lesser of two, OR the greater."""


class Fault(Exception):
    """The row fails."""


class Choices(Protocol):
    """Where the random decisions come from."""

    def integer(self, low: int, high: int) -> int: ...

    def among(self, values: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Expression:
    """`kind` is the type as a declaration writes it, VARCHAR without its length; `fails` whether some row may."""

    sql: str
    kind: str
    value: Callable[[Env], Any]
    fails: bool = False
    nested: bool = False
    """Whether it is more than a column or a literal."""
    may: Callable[[Env], tuple[int, int]] | None = None
    """Of a condition of parts: the least and the greatest that it may be whatever its failing parts are."""

    moves: bool = False
    """Whether it is a sum, a difference or a product of whole numbers, of which one is a constant."""

    @property
    def constant(self) -> bool:
        return re.search(r"\b[a-z]\w*\.[A-Z]", self.sql) is None

    def range(self, env: Env) -> tuple[int, int]:
        """Of any condition, as places in `TRUTH`."""
        if self.may is not None:
            return self.may(env)
        try:
            place = TRUTH.index(self.value(env))
        except Fault:
            return 0, 2
        return place, place

    def holds(self, env: Env) -> bool:
        """Whether a row gets through; raises `Fault` where that depends on what fails."""
        least, greatest = self.range(env)
        if least < 2 <= greatest:
            raise Fault
        return least == 2


def deciding(sql: str, parts: Sequence[Expression], most: bool) -> Expression:
    """A condition that is the least of its parts, or the greatest."""
    choose = max if most else min

    def may(env: Env) -> tuple[int, int]:
        ranges = [part.range(env) for part in parts]
        return choose(least for least, _ in ranges), choose(greatest for _, greatest in ranges)

    return ranged(sql, may, any(part.fails for part in parts))


def ranged(sql: str, may: Callable[[Env], tuple[int, int]], fails: bool) -> Expression:
    """A condition by what it may be."""

    def value(env: Env) -> Any:
        least, greatest = may(env)
        if least != greatest:
            raise Fault
        return TRUTH[least]

    return Expression(sql, "BOOLEAN", value, fails, True, may)


def decimal_of(kind: str) -> tuple[int, int]:
    """Precision and scale."""
    precision, scale = kind.removeprefix("DECIMAL(").removesuffix(")").split(",")
    return int(precision), int(scale)


def family(kind: str) -> str:
    return "DECIMAL" if kind.startswith("DECIMAL") else "VARCHAR" if kind.startswith("VARCHAR") else kind


def exact(value: Decimal, scale: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, Context(prec=80))


def fitting(value: int | None, kind: str) -> int | None:
    if value is not None and not -RANGES[kind] <= value < RANGES[kind]:
        raise Fault
    return value


def rounded(value: float) -> int:
    """Half away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def assigned(value: Any, source: str, target: str) -> Any:
    """A value on its way into a column."""
    kind = family(target)
    if value is None:
        return None
    if kind == "VARCHAR":
        return value[: int(target[8:-1])]
    if kind in RANGES:
        if family(source) == "DECIMAL":
            value = int(exact(value, 0))
        return fitting(rounded(value) if isinstance(value, float) else value, kind)
    if kind == "DOUBLE":
        return float(value)
    if kind == "DECIMAL":
        precision, scale = decimal_of(target)
        value = exact(Decimal(value), scale)
        if abs(value) >= Decimal(10) ** (precision - scale):
            raise Fault
    return value


def literal(value: Any, kind: str) -> Expression:
    if kind == "VARCHAR":
        sql = "'" + value.replace("'", "''") + "'"
    elif kind == "DOUBLE":
        sql = f"{value!r}E0"
    elif kind == "BOOLEAN":
        sql = str(value).upper()
    else:
        sql = str(value) if value >= 0 else f"({value})"
    return Expression(sql, kind, lambda _: value)
