"""Random expressions of the language, each with a few lines of Python that compute it row by row."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

from analytics_values import (
    PRECISION_MAX,
    Choices,
    Env,
    Expression,
    Fault,
    assigned,
    deciding,
    decimal_of,
    exact,
    family,
    fitting,
    literal,
    ranged,
)


def null_in(function: Callable[..., Any]) -> Callable[..., Any]:
    """NULL where an argument is."""
    return lambda *values: None if any(each is None for each in values) else function(*values)


def _computed(sql: str, kind: str, function: Callable[..., Any], *parts: Expression, fails: bool = False) -> Expression:
    strict = null_in(function)
    fails = fails or any(part.fails for part in parts)
    return Expression(sql, kind, lambda env: strict(*(part.value(env) for part in parts)), fails, True)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_KINDS = ("INTEGER", "BIGINT", "DOUBLE", "DECIMAL", "VARCHAR", "BOOLEAN", "TIMESTAMP")
_UNITS_MS = {"SECOND": 1_000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}


class Expressions:
    """Random expressions over `columns`. With `failing` some fail for some rows."""

    def __init__(self, choices: Choices, columns: Sequence[Expression], failing: bool = True) -> None:
        self._choices = choices
        self._columns = columns
        self._failing = failing

    def any(self, depth: int = 2) -> Expression:
        return self.of(self._choices.among(_KINDS), depth)

    def of(self, kind: str, depth: int = 2) -> Expression:
        """One of a type, of any precision for DECIMAL."""
        choices = self._choices
        if depth == 0 or choices.integer(0, 2) == 0:
            return self._leaf(kind)
        made: Expression = getattr(self, f"_{kind.lower()}")(depth - 1)
        if made.fails and not self._failing:
            return self._leaf(kind)
        return made

    def _leaf(self, kind: str) -> Expression:
        choices = self._choices
        known = [each for each in self._columns if family(each.kind) == kind]
        if known and choices.integer(0, 4):
            return choices.among(known)
        values: dict[str, Sequence[Any]] = {
            "INTEGER": (0, 1, 2, 3, -1, 7, 1000),
            "BIGINT": (),
            "DOUBLE": (0.0, 0.5, 2.0, 12.25),
            "VARCHAR": ("a", "b", "", "it's", "Ab", "é"),
            "BOOLEAN": (True, False),
            "TIMESTAMP": (),
            "DECIMAL": (),
        }
        if values[kind]:
            return literal(choices.among(values[kind]), kind)
        if kind == "BIGINT":
            value = choices.among((0, 1, -3, 5_000_000_000))
            return Expression(f"CAST({value} AS BIGINT)", kind, lambda _: value)
        if kind == "TIMESTAMP":
            return Expression("TIMESTAMP '2025-06-15 15:07:00'", kind, lambda _: 1_750_000_020_000)
        digits = choices.among(("0.5", "1.25", "10.0", "0.000", "3.14159"))
        whole, part = digits.split(".")
        return Expression(digits, f"DECIMAL({len(whole + part)},{len(part)})", lambda _: Decimal(digits))

    def _shared(self, kind: str, depth: int) -> Expression | None:
        """What there is of every type."""
        choices = self._choices
        way = choices.integer(0, 7)
        if way > 2:
            return None
        first = self.of(kind, depth)
        second = self._leaf(kind) if kind == "DECIMAL" else self.of(kind, depth)
        if second.kind != first.kind or second.sql == first.sql or _moved(first, second):
            return None
        if way == 0:
            test = self.of("BOOLEAN", depth)
            return Expression(
                f"CASE WHEN {test.sql} THEN {first.sql} ELSE {second.sql} END",
                first.kind,
                lambda env: first.value(env) if test.holds(env) else second.value(env),
                test.fails or first.fails or second.fails,
                True,
            )
        if way == 1:
            return Expression(
                f"COALESCE({first.sql}, {second.sql})",
                first.kind,
                lambda env: second.value(env) if (found := first.value(env)) is None else found,
                first.fails or second.fails,
                True,
            )

        def without(env: Env) -> Any:
            found, other = first.value(env), second.value(env)
            return None if found == other else found

        fails = first.fails or second.fails
        return Expression(f"NULLIF({first.sql}, {second.sql})", first.kind, without, fails, True)

    def _integer(self, depth: int, kind: str = "INTEGER") -> Expression:
        shared = self._shared(kind, depth)
        if shared is not None:
            return shared
        choices = self._choices
        way = choices.among(("+", "-", "*", "/", "MOD", "ABS", "-x", "cast", "length", "position"))
        first = self.of(kind, depth)
        if way in "+-*":
            second = self.of(choices.among(("INTEGER", kind)), depth)
            function = {"+": operator.add, "-": operator.sub, "*": operator.mul}[way]
            made = _computed(
                f"({first.sql} {way} {second.sql})",
                kind,
                lambda a, b: fitting(function(a, b), kind),
                first,
                second,
                fails=True,
            )
            return replace(made, moves=first.constant or second.constant)
        if way in ("/", "MOD"):
            second = self.of("INTEGER", depth)

            def divide(a: int, b: int) -> int | None:
                if b == 0:
                    raise Fault
                whole = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
                return fitting(whole, kind) if way == "/" else a - whole * b

            sql = f"({first.sql} / {second.sql})" if way == "/" else f"MOD({first.sql}, {second.sql})"
            return _computed(sql, kind, divide, first, second, fails=True)
        if way == "ABS":
            return _computed(f"ABS({first.sql})", kind, lambda a: fitting(abs(a), kind), first, fails=True)
        if way == "-x":
            return _computed(f"(- {first.sql})", kind, lambda a: fitting(-a, kind), first, fails=True)
        if way == "cast":
            source = self.of(choices.among(("DOUBLE", "DECIMAL", "BIGINT", "BOOLEAN")), depth)
            if source.kind == "BOOLEAN":
                return self._leaf(kind)
            sql = f"CAST({source.sql} AS {kind})"
            return _computed(sql, kind, lambda a: assigned(a, source.kind, kind), source, fails=True)
        text = self.of("VARCHAR", depth)
        if way == "length":
            return self._wide(_computed(f"CHAR_LENGTH({text.sql})", "BIGINT", len, text), kind)
        part = self.of("VARCHAR", 0)
        sql = f"POSITION({part.sql} IN {text.sql})"
        return self._wide(_computed(sql, "BIGINT", lambda a, b: a.find(b) + 1, text, part), kind)

    @staticmethod
    def _wide(made: Expression, kind: str) -> Expression:
        if kind == made.kind:
            return made
        return Expression(f"CAST({made.sql} AS {kind})", kind, made.value, made.fails, True)

    def _bigint(self, depth: int) -> Expression:
        if self._choices.integer(0, 3):
            return self._integer(depth, "BIGINT")
        first, second = self.of("TIMESTAMP", depth), self.of("TIMESTAMP", depth)
        way = self._choices.integer(0, 2)
        if way == 0:
            return _computed(f"UNIX_TIMESTAMP({first.sql})", "BIGINT", lambda a: a, first)
        if way == 1:
            return _computed(f"EXTRACT(MINUTE FROM {first.sql})", "BIGINT", lambda a: a // 60_000 % 60, first)
        return _computed(f"TSDIFF({first.sql}, {second.sql})", "BIGINT", operator.sub, first, second)

    def _double(self, depth: int) -> Expression:
        shared = self._shared("DOUBLE", depth)
        if shared is not None:
            return shared
        choices = self._choices
        way = choices.among(("+", "-", "*", "/", "SQRT", "FLOOR", "CEIL", "cast"))
        if way == "cast":
            source = self.of(choices.among(("INTEGER", "BIGINT", "DECIMAL")), depth)
            return _computed(f"CAST({source.sql} AS DOUBLE)", "DOUBLE", float, source)
        first = self.of("DOUBLE", depth)
        if way == "SQRT":
            return _computed(f"SQRT(ABS({first.sql}))", "DOUBLE", lambda a: math.sqrt(abs(a)), first)
        if way in ("FLOOR", "CEIL"):
            function = math.floor if way == "FLOOR" else math.ceil
            return _computed(f"{way}({first.sql})", "DOUBLE", lambda a: float(function(a)), first)
        second = self.of(choices.among(("DOUBLE", "INTEGER", "DECIMAL")), depth)
        if way == "/":

            def divide(a: float, b: Any) -> float:
                if b == 0:
                    raise Fault
                return a / float(b)

            return _computed(f"({first.sql} / {second.sql})", "DOUBLE", divide, first, second, fails=True)
        function = {"+": operator.add, "-": operator.sub, "*": operator.mul}[way]
        sql = f"({first.sql} {way} {second.sql})"
        return _computed(sql, "DOUBLE", lambda a, b: function(a, float(b)), first, second)

    def _decimal(self, depth: int) -> Expression:
        shared = self._shared("DECIMAL", depth)
        if shared is not None:
            return shared
        choices = self._choices
        way = choices.among(("+", "-", "*", "/", "cast"))
        if way == "cast":
            source = self._leaf(choices.among(("INTEGER", "DOUBLE", "DECIMAL")))
            kind = choices.among(("DECIMAL(12,3)", "DECIMAL(9,1)", "DECIMAL(18,6)"))
            sql = f"CAST({source.sql} AS {kind})"
            return _computed(sql, kind, lambda a: assigned(a, source.kind, kind), source, fails=True)
        first, second = self.of("DECIMAL", depth), self._leaf("DECIMAL")
        (p1, s1), (p2, s2) = decimal_of(first.kind), decimal_of(second.kind)
        with localcontext(prec=80):
            if way in "+-":
                scale = max(s1, s2)
                precision = max(p1 - s1, p2 - s2) + scale + 1
                function: Callable[[Any, Any], Any] = operator.add if way == "+" else operator.sub
            elif way == "*":
                scale, precision = s1 + s2, p1 + p2
                function = operator.mul
            else:
                return self._divided(first, second)
        if precision > PRECISION_MAX:
            return first
        kind = f"DECIMAL({precision},{scale})"
        return _computed(f"({first.sql} {way} {second.sql})", kind, function, first, second)

    @staticmethod
    def _divided(first: Expression, second: Expression) -> Expression:
        """Of 18 digits together, but never fewer than six behind the point, or than the first has."""
        (p1, s1), (p2, s2) = decimal_of(first.kind), decimal_of(second.kind)
        whole = p1 - s1 + s2
        scale = min(max(6, s1 + p2 + 1), max(18 - whole, 6, s1))
        if whole + scale > 38:
            return first

        def divide(a: Decimal, b: Decimal) -> Decimal:
            if b == 0:
                raise Fault
            with localcontext(prec=80):
                return exact(a / b, scale)

        kind = f"DECIMAL({whole + scale},{scale})"
        return _computed(f"({first.sql} / {second.sql})", kind, divide, first, second, fails=True)

    def _varchar(self, depth: int) -> Expression:
        shared = self._shared("VARCHAR", depth)
        if shared is not None:
            return shared
        choices = self._choices
        way = choices.among(("||", "UPPER", "LOWER", "SUBSTRING", "TRIM", "cast"))
        first = self.of("VARCHAR", depth)
        if way == "||":
            second = self.of("VARCHAR", depth)
            return _computed(f"({first.sql} || {second.sql})", "VARCHAR", operator.add, first, second)
        if way in ("UPPER", "LOWER"):
            return _computed(f"{way}({first.sql})", "VARCHAR", str.upper if way == "UPPER" else str.lower, first)
        if way == "SUBSTRING":
            begin, count = choices.integer(-1, 3), choices.integer(0, 3)
            return _computed(
                f"SUBSTRING({first.sql} FROM {begin} FOR {count})",
                "VARCHAR",
                lambda a: a[max(begin, 1) - 1 : max(0, begin + count - 1)],
                first,
            )
        if way == "TRIM":
            side = choices.among(("BOTH", "LEADING", "TRAILING"))
            function = {"BOTH": str.strip, "LEADING": str.lstrip, "TRAILING": str.rstrip}[side]
            return _computed(f"TRIM({side} 'a' FROM {first.sql})", "VARCHAR", lambda a: function(a, "a"), first)
        number = self.of(choices.among(("INTEGER", "BIGINT")), depth)
        return _computed(f"CAST({number.sql} AS VARCHAR(20))", "VARCHAR", str, number)

    def _boolean(self, depth: int) -> Expression:
        choices = self._choices
        way = choices.among(("compare", "compare", "null", "not", "and", "or", "between", "in", "like", "distinct"))
        kind = choices.among(("INTEGER", "BIGINT", "DOUBLE", "VARCHAR", "TIMESTAMP", "DECIMAL"))
        if way in ("and", "or"):
            first, second = self.of("BOOLEAN", depth), self.of("BOOLEAN", depth)
            return deciding(f"({first.sql} {way.upper()} {second.sql})", (first, second), way == "or")
        if way == "not":
            return _negated(self.of("BOOLEAN", depth))
        if way == "like":
            text = self.of("VARCHAR", depth)
            return _computed(f"({text.sql} LIKE 'a%')", "BOOLEAN", lambda a: a.startswith("a"), text)
        first = self.of(kind, depth)
        if way == "null":
            return Expression(
                f"({first.sql} IS NULL)", "BOOLEAN", lambda env: first.value(env) is None, first.fails, True
            )
        second = self.of(kind, depth)
        if _moved(first, second):
            second = first
        if way == "distinct":
            return Expression(
                f"({first.sql} IS DISTINCT FROM {second.sql})",
                "BOOLEAN",
                lambda env: first.value(env) != second.value(env),
                first.fails or second.fails,
                True,
            )
        if way == "between":
            third = self._leaf(kind)
            if _moved(first, third):
                third = second
            sides = (_compared(first, ">=", second), _compared(first, "<=", third))
            return deciding(f"({first.sql} BETWEEN {second.sql} AND {third.sql})", sides, False)
        if way == "in" and kind == "INTEGER":
            items = (second, literal(0, kind), literal(7, kind))
            if first.moves:
                items = (second, second)
            listed = ", ".join(item.sql for item in items)
            return deciding(f"({first.sql} IN ({listed}))", [_compared(first, "=", item) for item in items], True)
        return _compared(first, choices.among(list(_COMPARE)), second)

    def _timestamp(self, depth: int) -> Expression:
        shared = self._shared("TIMESTAMP", depth)
        if shared is not None:
            return shared
        choices = self._choices
        first = self.of("TIMESTAMP", depth)
        unit = choices.among(list(_UNITS_MS))
        size = _UNITS_MS[unit]
        way = choices.among(("FLOOR", "CEIL", "STEP", "+", "-"))
        if way == "FLOOR":
            return _computed(f"FLOOR({first.sql} TO {unit})", "TIMESTAMP", lambda a: a // size * size, first)
        if way == "CEIL":
            return _computed(f"CEIL({first.sql} TO {unit})", "TIMESTAMP", lambda a: -(-a // size) * size, first)
        count = choices.integer(1, 9)
        interval = f"INTERVAL '{count}' {unit}"
        if way == "STEP":
            step = count * size
            return _computed(f"STEP({first.sql} BY {interval})", "TIMESTAMP", lambda a: a // step * step, first)
        sign = 1 if way == "+" else -1
        return _computed(f"({first.sql} {way} {interval})", "TIMESTAMP", lambda a: a + sign * count * size, first)


def _moved(first: Expression, second: Expression) -> bool:
    """Whether a constant goes to the other side of a comparison: ``n + 1 > 5`` is ``n > 4``, and cannot overflow."""
    return (first.moves and second.constant) or (first.constant and second.moves)


def _compared(first: Expression, sign: str, second: Expression) -> Expression:
    return _computed(f"({first.sql} {sign} {second.sql})", "BOOLEAN", _COMPARE[sign], first, second)


def _negated(inner: Expression) -> Expression:
    def may(env: Env) -> tuple[int, int]:
        least, greatest = inner.range(env)
        return 2 - greatest, 2 - least

    return ranged(f"(NOT {inner.sql})", may, inner.fails)
