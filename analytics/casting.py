"""CAST as the language does it: from text strictly, to integers by rounding, to a text that is too short not at all."""

from __future__ import annotations

from analytics.guards import guarded, once, refusing
from analytics.types import SqlType, family, is_integer

_FORMS = {
    "timestamp": (r"\d{1,4}-\d{1,2}-\d{1,2} \d{1,2}:\d{1,2}:\d{1,2}(\.\d+)?", "yyyy-MM-dd HH:mm:ss"),
    "date": (r"\d{1,4}-\d{1,2}-\d{1,2}", "yyyy-MM-dd"),
    "time": (r"\d{1,2}:\d{1,2}:\d{1,2}(\.\d+)?", "HH:mm:ss"),
}

_TIMES = ("timestamp", "date", "time")
CASTS: dict[str, tuple[str, ...]] = {
    "number": ("number", "text", "boolean"),
    "text": ("number", "text", "boolean", "binary", *_TIMES),
    "boolean": ("boolean", "text", "number"),
    "date": ("date", "text", "timestamp"),
    "time": ("time", "text", "timestamp"),
    "timestamp": ("text", *_TIMES),
    "interval": ("number", "text"),
    "binary": ("binary", "text"),
    "null": ("number", "text", "boolean", "binary", *_TIMES),
}
"""What each family of types can be cast to: the language's table, and truth as a number, and bytes as a text, beside it."""


def cast(value: str, duck: str, to: SqlType) -> str:
    """A value of type `duck` as `to`."""
    if to.duck == "VARCHAR":
        return _to_text(value, duck, to)
    if family(duck) == "text":
        return from_text(value, to)
    if is_integer(to.duck) and duck in ("DOUBLE", "FLOAT", "REAL"):
        return f"CAST(round({value}) AS {to.duck})"  # half away from zero
    return exactly(value, to)


def exactly(value: str, to: SqlType) -> str:
    """DuckDB's CAST, except that a time loses what is finer than its milliseconds, without rounding."""
    if to.duck == "TIMESTAMP_MS":
        return f"CAST(date_trunc('millisecond', CAST({value} AS TIMESTAMP)) AS TIMESTAMP_MS)"
    return f"CAST({value} AS {to.duck})"


def from_text(value: str, to: SqlType) -> str:
    """A text as a value of another type; one that is no such value makes the row fail."""
    if to.duck == "VARCHAR":
        return padded(f"left({value}, {to.length})" if to.length is not None else value, to)
    trimmed = f"trim({value})"
    if is_integer(to.duck):
        whole = r"[+-]?\d+(\.0*)?", "a whole number"
        return once(lambda text: _matching(text, *whole, exactly(f"split_part({text}, '.', 1)", to), to.duck), trimmed)
    if family(to.duck) in _FORMS:
        return once(lambda text: _matching(text, *_FORMS[family(to.duck)], exactly(text, to), to.duck), trimmed)
    return exactly(trimmed, to)


def _matching(value: str, form: str, shown: str, given: str, duck: str) -> str:
    wrong = f"CAST({refusing(value, shown)} AS {duck})"
    return f"CASE WHEN regexp_full_match({value}, '{form}') OR {value} IS NULL THEN {given} ELSE {wrong} END"


def _to_text(value: str, duck: str, to: SqlType) -> str:
    sql = value if family(duck) == "text" else f"CAST({value} AS VARCHAR)"
    if to.length is None:
        return sql
    if family(duck) == "text":
        return padded(f"left({sql}, {to.length})", to)
    message = f"the text is longer than {to.length} characters"
    return padded(guarded(sql, lambda value: f"length({value}) > {to.length}", message, "VARCHAR"), to)


def padded(sql: str, to: SqlType) -> str:
    return f"rpad({sql}, {to.length}, ' ')" if to.padded else sql
