"""Interval literals: ``INTERVAL '60' SECOND``, ``INTERVAL '2 3:4:5.678' DAY TO SECOND(3)``."""

from __future__ import annotations

import re
from decimal import Decimal

from sqlglot import exp

from analytics.dialect import place_of
from analytics.errors import SqlError

UNITS = ("SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "YEAR")
_FIELDS = ("DAY", "HOUR", "MINUTE", "SECOND")
_MS = {"SECOND": 1_000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000, "WEEK": 7 * 86_400_000}


def interval(node: exp.Expr) -> tuple[str, str]:
    """(amount, unit) of a literal, in DuckDB's words. Of several units, or a fraction of one, the unit is MILLISECOND."""
    unit, amount = node.args.get("unit"), node.this
    if not isinstance(node, exp.Interval) or not isinstance(amount, exp.Literal) or unit is None:
        raise SqlError(
            "this interval is not supported", place_of(node), expected="INTERVAL 'n' unit, as in '60' SECOND"
        )
    text = amount.name.strip()
    if isinstance(unit, exp.IntervalSpan):
        return _span(node, text, _name(unit.this), _name(unit.expression))
    name = _name(unit)
    if name not in UNITS:
        raise SqlError(f"{name} is no unit of time", place_of(node), expected=" or ".join(UNITS))
    if name == "SECOND" and re.fullmatch(r"[+-]?[0-9]{1,9}\.[0-9]+", text):
        return str(int(Decimal(text) * 1000)), "MILLISECOND"
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        raise SqlError(f"'{amount.name}' is no whole number of {name}", place_of(node))
    return text, name


def milliseconds(node: exp.Expr) -> int:
    """The length of a literal. Raises `SqlError` for one of months or years, which have none, and for a negative one."""
    amount, unit = interval(node)
    if unit in ("MONTH", "YEAR"):
        raise SqlError(f"a window of {unit}s has no fixed length", place_of(node), expected="DAY or less")
    length = int(amount) * _MS.get(unit, 1)
    if length < 0:
        raise SqlError("a window cannot have a negative length", place_of(node))
    return length


def _name(unit: exp.Expr) -> str:
    """``SECOND`` of ``SECOND(3)`` too."""
    return str(unit.name if isinstance(unit, exp.Var | exp.Anonymous) else unit.key).upper()


def _span(node: exp.Expr, text: str, first: str, last: str) -> tuple[str, str]:
    if (first, last) == ("YEAR", "MONTH"):
        found = re.fullmatch(r"([+-]?)(\d+)-(\d+)", text)
        if found is None:
            raise SqlError(f"'{text}' is no interval of YEAR TO MONTH", place_of(node), expected="'years-months'")
        return f"{found[1]}{int(found[2]) * 12 + int(found[3])}", "MONTH"
    if first not in _FIELDS or last not in _FIELDS or _FIELDS.index(first) >= _FIELDS.index(last):
        raise SqlError(f"{first} TO {last} is no interval", place_of(node), expected="as in DAY TO SECOND")
    fields = _FIELDS[_FIELDS.index(first) : _FIELDS.index(last) + 1]
    pattern = r"([+-]?)" + "".join(
        ("" if number == 0 else r"\s+" if fields[number - 1] == "DAY" else ":")
        + (r"(\d+(?:\.\d+)?)" if name == "SECOND" else r"(\d+)")
        for number, name in enumerate(fields)
    )
    found = re.fullmatch(pattern, text)
    if found is None:
        raise SqlError(f"'{text}' is no interval of {first} TO {last}", place_of(node))
    total = sum(Decimal(value) * _MS[name] for name, value in zip(fields, found.groups()[1:], strict=True))
    return f"{found[1]}{int(total)}", "MILLISECOND"
