"""DECIMAL divided as the language says, in whole numbers: DuckDB would make DOUBLE of it.

The rule of the reference for DECIMAL(p1,s1) / DECIMAL(p2,s2): d = p1 - s1 + s2 whole digits, and a scale of at most
max(6, s1 + p2 + 1), cut so that there are 18 digits together. Where whole digits leave no room for it, the product goes
down to the scale of the first operand; here it stays at six, since there are 38 digits. What is beyond is rounded as CAST
does it: cutting behind one more digit first loses nothing that matters for it.
"""

from __future__ import annotations

DIGITS = 18
DIGITS_MAX = 38
SCALE_MIN = 6
_WHOLE = {"TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19, "HUGEINT": DIGITS_MAX}


def quotient(left: str, left_type: str, right: str, right_type: str) -> str | None:
    """SQL for left / right where one is DECIMAL and the other too, or a whole number; else None. Fails for a row that
    divides by zero."""
    (one, other) = _precision(left_type), _precision(right_type)
    if one is None or other is None or not (left_type.startswith("DECIMAL") or right_type.startswith("DECIMAL")):
        return None
    (p1, s1), (p2, s2) = one, other
    whole = p1 - s1 + s2
    scale = min(max(SCALE_MIN, s1 + p2 + 1), max(DIGITS - whole, SCALE_MIN, s1))
    scale = max(min(scale, DIGITS_MAX - whole), 0)
    shift = scale + 1 + s2 - s1
    over, under = _unscaled(left, s1), _unscaled(right, s2)
    if shift > 0:
        over = f"{over} * CAST({10**shift} AS HUGEINT)"
    elif shift < 0:
        under = f"({under} * CAST({10**-shift} AS HUGEINT))"
    return _rounded(f"({over}) // {under}", scale, min(DIGITS_MAX, whole + scale))


def mean(total: str, count: str, kind: str) -> str:
    """SQL for a sum, of type DECIMAL(38,s), by a number of rows; NULL for none. The mean is of the same scale."""
    scale = int(kind[8:-1].split(",")[1])
    return _rounded(f"({_unscaled(total, scale)} * 10) // nullif({count}, 0)", scale, DIGITS_MAX)


def _precision(duck: str) -> tuple[int, int] | None:
    if duck.startswith("DECIMAL"):
        precision, scale = duck[8:-1].split(",")
        return int(precision), int(scale)
    return (_WHOLE[duck], 0) if duck in _WHOLE else None


def _unscaled(sql: str, scale: int) -> str:
    if scale:  # wide, for DuckDB multiplies two of 18 digits within 18
        sql = f"CAST({sql} AS DECIMAL(38,{scale})) * CAST({10**scale} AS DECIMAL({scale + 1},0))"
    return f"CAST({sql} AS HUGEINT)"


def _rounded(sql: str, scale: int, precision: int) -> str:
    """A whole number of the units behind `scale` digits and one more as DECIMAL(precision,scale)."""
    digits = scale + 1
    value = f"CAST({sql} AS DECIMAL(38,0)) * CAST(1e-{digits} AS DECIMAL({digits},{digits}))"
    return f"CAST({value} AS DECIMAL({precision},{scale}))"
