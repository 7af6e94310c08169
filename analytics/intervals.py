"""Intervals: ``INTERVAL '60' SECOND``, ``INTERVAL '2 3:4:5.678' DAY TO SECOND(3)``, and the same of texts and numbers."""

from __future__ import annotations

import re
from decimal import Decimal

from sqlglot import exp

from analytics.errors import SqlError
from analytics.places import place_of

UNITS = ("SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "YEAR")
_FIELDS = ("DAY", "HOUR", "MINUTE", "SECOND")
_ORDER = ("YEAR", "MONTH", "WEEK", *_FIELDS)
FIELD_MS = {"SECOND": 1_000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}
"""Milliseconds of the fields of an interval of days and less."""
_MS = {**FIELD_MS, "WEEK": 7 * FIELD_MS["DAY"]}
_SIZES = {**_MS, "MONTH": 1, "YEAR": 12}
"""Milliseconds of a field, or months."""


def interval(node: exp.Expr) -> tuple[str, str]:
    """(amount, unit) of a literal, in DuckDB's words. Of several units, or a fraction of one, the unit is MILLISECOND."""
    unit, amount = node.args.get("unit"), node.this
    if not isinstance(node, exp.Interval) or not isinstance(amount, exp.Literal) or unit is None:
        raise SqlError(
            "this interval is not supported", place_of(node), expected="INTERVAL 'n' unit, as in '60' SECOND"
        )
    try:
        return parsed(amount.name, qualifier(unit, node))
    except ValueError as error:
        raise SqlError(str(error), place_of(node)) from None


def qualifier(unit: exp.Expr, near: exp.Expr) -> str:
    """``SECOND``, or ``DAY TO SECOND``; `near` is where it stands."""
    if not isinstance(unit, exp.IntervalSpan):
        name = _name(unit)
        if name not in UNITS:
            raise SqlError(f"{name} is no unit of time", place_of(near), expected=" or ".join(UNITS))
        return name
    first, last = _name(unit.this), _name(unit.expression)
    if (first, last) == ("YEAR", "MONTH"):
        return "YEAR TO MONTH"
    if first not in _FIELDS or last not in _FIELDS or _FIELDS.index(first) >= _FIELDS.index(last):
        raise SqlError(f"{first} TO {last} is no interval", place_of(near), expected="as in DAY TO SECOND")
    return f"{first} TO {last}"


def parsed(text: str, unit: str) -> tuple[str, str]:
    """(amount, unit) of a text, as `interval` has them. Raises `ValueError`."""
    first, _, last = unit.partition(" TO ")
    if last:
        return _span(text.strip(), first, last)
    given = text.strip()
    if unit == "SECOND" and re.fullmatch(r"[+-]?[0-9]{1,9}\.[0-9]+", given):
        return str(int(Decimal(given) * 1000)), "MILLISECOND"
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", given):
        raise ValueError(f"'{text}' is no whole number of {unit}")
    return given, unit


def fields_of(node: exp.Expr) -> tuple[str, str] | None:
    """The first and the last field of an interval: of its literal, its CAST, the qualifier behind a difference of times, or of
    what it is computed of. None where nothing says them."""
    node = node.unnest()
    if isinstance(node, exp.Add | exp.Sub | exp.Mul | exp.Div):
        both = [each for each in (fields_of(node.this), fields_of(node.expression)) if each is not None]
        if not both:
            return None
        return min((a for a, _ in both), key=_ORDER.index), max((b for _, b in both), key=_ORDER.index)
    if isinstance(node, exp.Neg):
        return fields_of(node.this)
    unit = node.args.get("unit")
    if isinstance(node, exp.Cast) and isinstance(node.args["to"].this, exp.Interval):
        unit = node.args["to"].this.args.get("unit")
    if unit is None:
        return None
    first, _, last = qualifier(unit, node).partition(" TO ")
    return first, last or first


def shown(number: int, fields: str) -> str:
    """An interval as text: ``+4 04`` of DAY TO HOUR, ``+6:11`` of MINUTE TO SECOND. `number` is of milliseconds, or of months
    for YEAR and MONTH."""
    first, _, last = fields.partition(" TO ")
    rest, text = abs(number), "-" if number < 0 else "+"
    names = _ORDER[_ORDER.index(first) : _ORDER.index(last) + 1]
    for place, name in enumerate(names):
        count, rest = divmod(rest, _SIZES[name])
        before = "" if place == 0 else {"MONTH": "-", "HOUR": " "}.get(name, ":")
        text += f"{before}{count}" if place == 0 else f"{before}{count:02d}"
        if name == "SECOND" and rest:
            text += f".{rest:03d}"
    return text


def length(text: str, unit: str) -> int:
    """The milliseconds of a text, or the months of one in MONTH or YEAR. Raises `ValueError`."""
    amount, kind = parsed(text, unit)
    return int(amount) * _SIZES.get(kind, 1)


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


def _span(text: str, first: str, last: str) -> tuple[str, str]:
    if last == "MONTH":
        found = re.fullmatch(r"([+-]?)(\d+)-(\d+)", text)
        if found is None:
            raise ValueError(f"'{text}' is no interval of YEAR TO MONTH: 'years-months'")
        return f"{found[1]}{int(found[2]) * 12 + int(found[3])}", "MONTH"
    fields = _FIELDS[_FIELDS.index(first) : _FIELDS.index(last) + 1]
    pattern = r"([+-]?)" + "".join(
        ("" if number == 0 else r"\s+" if fields[number - 1] == "DAY" else ":")
        + (r"(\d+(?:\.\d+)?)" if name == "SECOND" else r"(\d+)")
        for number, name in enumerate(fields)
    )
    found = re.fullmatch(pattern, text)
    if found is None:
        raise ValueError(f"'{text}' is no interval of {first} TO {last}")
    total = sum(Decimal(value) * _MS[name] for name, value in zip(fields, found.groups()[1:], strict=True))
    return f"{found[1]}{int(total)}", "MILLISECOND"
