"""Times and intervals, as DuckDB SQL: STEP, FLOOR and CEIL to a unit, EXTRACT, differences, and intervals as numbers and text."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from analytics.calls import milliseconds
from analytics.errors import SqlError
from analytics.guards import Writes, once, text
from analytics.intervals import FIELD_MS, UNITS, fields_of, interval, qualifier
from analytics.places import place_of
from analytics.types import family, is_integer

_PARTS: dict[str, tuple[int, int | None]] = {
    "SECOND": (1, 60_000),
    "MINUTE": (FIELD_MS["MINUTE"], 60),
    "HOUR": (FIELD_MS["HOUR"], 24),
    "DAY": (FIELD_MS["DAY"], None),
}
"""The parts of an interval: milliseconds of one, and of how many the next one is made. A SECOND has its milliseconds."""


def step(self: Writes, node: exp.Expr) -> str:
    value, duck = self.typed(node.this)
    if isinstance(node.expression, exp.Interval):
        amount, unit = interval(node.expression)
        if int(amount) <= 0:
            what = "a step of nothing" if int(amount) == 0 else "a step that goes back"
            raise SqlError(what, place_of(node), expected="an interval of 1 or more")
        kind = family(duck)
        if kind not in ("timestamp", "date", "null"):
            raise SqlError(f"STEP of a {kind} BY an INTERVAL", place_of(node), expected="a TIMESTAMP")
        return f"CAST(time_bucket(INTERVAL '{amount} {unit}', {value}, TIMESTAMP '1970-01-01') AS TIMESTAMP_MS)"
    size, by = self.typed(node.expression)
    if not is_integer(duck):
        raise SqlError("STEP of this type needs an interval", place_of(node), expected="BY INTERVAL 'n' unit")
    if not is_integer(by):
        raise SqlError("STEP of a whole number goes by whole numbers", place_of(node), expected="STEP(n BY 10)")
    return once(lambda n, by: f"({n} - (({n} % {by}) + {by}) % {by})", value, size)


def rounded(name: str) -> Callable[[Writes, exp.Expr], str]:
    """FLOOR and CEIL of a number, or of a time or an interval TO a unit."""

    def write(self: Writes, node: exp.Expr) -> str:
        (value, duck), unit = self.typed(node.this), node.args.get("to")
        if unit is None:
            return f"{name}({value})"
        kind = unit.name.upper()
        if kind not in UNITS:
            raise SqlError(f"{unit.name} is no unit of time", place_of(node), expected=" or ".join(UNITS))
        if duck == "INTERVAL":
            if kind not in FIELD_MS:
                raise SqlError(f"an interval is not rounded to {kind}", place_of(node), expected=" or ".join(FIELD_MS))
            return f"to_milliseconds(CAST({name}(epoch_ms({value}) / {FIELD_MS[kind]}.0) AS BIGINT) * {FIELD_MS[kind]})"
        if family(duck) not in ("timestamp", "date"):
            raise SqlError(f"{name.upper()} of {family(duck)} TO {kind}", place_of(node), expected="a TIMESTAMP")

        def down(time: str) -> str:
            return f"CAST(date_trunc('{kind.lower()}', CAST({time} AS TIMESTAMP)) AS TIMESTAMP_MS)"

        def up(time: str) -> str:
            less = down(time)
            return f"CAST(CASE WHEN {less} = {time} THEN {time} ELSE {less} + INTERVAL '1 {kind}' END AS TIMESTAMP_MS)"

        return down(value) if name == "floor" else once(up, value)

    return write


def extract(self: Writes, node: exp.Expr) -> str:
    unit = node.this.name.upper()
    value, duck = self.typed(node.expression)
    kind = family(duck)
    if unit not in UNITS:
        raise SqlError(f"{unit} is no unit of time", place_of(node), expected=" or ".join(UNITS))
    if kind not in ("timestamp", "date", "time", "interval") or (kind == "time" and unit not in _PARTS):
        raise SqlError(f"EXTRACT({unit} FROM …) of a {kind}", place_of(node), expected="a time that has this part")
    if kind == "interval" and unit in _PARTS:
        size, below = _PARTS[unit]
        part = f"(epoch_ms({value}) // {size})" if below is None else f"((epoch_ms({value}) // {size}) % {below})"
        return part if unit != "SECOND" else f"CAST({part} / 1000.0 AS DECIMAL(5,3))"
    if unit == "SECOND":
        epoch = f"date_part('epoch', {value})"
        return once(lambda seconds: f"CAST({seconds} - floor({seconds} / 60) * 60 AS DECIMAL(5,3))", epoch)
    return f"CAST(date_part('{unit.lower()}', {value}) AS BIGINT)"


def elapsed(self: Writes, node: exp.Expr) -> str:
    difference = node.this.unnest()
    (left, left_type), (right, right_type) = self.typed(difference.this), self.typed(difference.expression)
    for duck, tree in ((left_type, difference.this), (right_type, difference.expression)):
        if family(duck) not in ("timestamp", "date", "time"):
            unit = node.args["unit"].name
            what = f"{unit} stands behind a difference of times, and this is a {family(duck)}"
            raise SqlError(what, place_of(tree) or place_of(node))
    if node.args["unit"].name in ("MONTH", "YEAR"):
        return f"to_months(date_sub('month', CAST({right} AS TIMESTAMP), CAST({left} AS TIMESTAMP)))"
    return f"to_milliseconds({milliseconds(left, left_type)} - {milliseconds(right, right_type)})"


def literal(self: Writes, node: exp.Expr) -> str:
    amount, unit = interval(node)
    return f"INTERVAL '{amount} {unit}'"


def to_interval(self: Writes, node: exp.Expr, unit: exp.Expr | None) -> str:
    if unit is None:
        raise SqlError("an interval has a unit", place_of(node), expected="as in INTERVAL DAY TO SECOND")
    kind = qualifier(unit, node)
    value, duck = self.typed(node.this)
    if family(duck) == "interval":
        return value
    if family(duck) not in ("text", "null"):
        what = f"a value of the type {family(duck)} cannot be CAST to INTERVAL {kind}"
        raise SqlError(what, place_of(node.this) or place_of(node), expected=f"n * INTERVAL '1' {kind.split()[-1]}")
    number = f"kda_interval(CAST({value} AS VARCHAR), {text(kind)})"
    if kind.endswith(("MONTH", "YEAR")):
        return f"to_months(CAST({number} AS INTEGER))"
    return f"to_milliseconds({number})"


def counted(node: exp.Expr, value: str) -> str:
    """An interval as a number of the unit in which it is written."""
    fields = fields_of(node)
    name = "" if fields is None or fields[0] != fields[1] else fields[0]
    if name in ("MONTH", "YEAR"):
        return f"date_part('epoch', {value}) // {2_592_000 * (12 if name == 'YEAR' else 1)}"
    if name not in FIELD_MS:
        raise SqlError("an interval becomes a number where it has one unit", place_of(node), expected="(a - b) SECOND")
    return f"epoch_ms({value}) / {FIELD_MS[name]}.0"


def shown(node: exp.Expr, value: str) -> str:
    """An interval as text, of the fields that it is written with."""
    fields = fields_of(node)
    if fields is None:
        raise SqlError("an interval becomes a text of its fields", place_of(node), expected="(a - b) DAY TO SECOND")
    months = f"CAST(date_part('year', {value}) * 12 + date_part('month', {value}) AS BIGINT)"
    number = months if fields[1] in ("YEAR", "MONTH") else f"epoch_ms({value})"
    return f"kda_interval_text({number}, {text(' TO '.join(fields))})"
