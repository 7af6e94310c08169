"""What DuckDB says of a row that failed, as a sentence in the language's words, and the name of the error behind it."""

from __future__ import annotations

import re

import duckdb

VALUE_SHOWN_MAX = 80
"""Characters of a value that a sentence repeats."""

_TYPES = {
    "INT8": "TINYINT",
    "INT16": "SMALLINT",
    "INT32": "INTEGER",
    "INT64": "BIGINT",
    "FLOAT": "REAL",
    "BOOL": "BOOLEAN",
    "TIMESTAMP_MS": "TIMESTAMP",
}
"""Types as DuckDB calls them and the language does, where that is not the same."""

MARK = "fault: "
"""Begins what our own SQL has to say of a row (`analytics.guards`): to DuckDB it is a text that is no number."""

_OWN = "{}"
_RANGE = "{} is out of range of {}"
_SENTENCES: tuple[tuple[str, str], ...] = (
    (r"while executing the UDF: (?:ValueError|TimeIsUp): ([^\n]*)", _OWN),
    (
        r"Could not convert string ['\"](\s*[+-]?[\d.]+(?:[eE][+-]?\d+)?\s*)['\"] to (INT\d+|FLOAT|DOUBLE|DECIMAL\([\d,]+\))",
        _RANGE,
    ),
    (rf"Could not convert string '{MARK}(.*)' to INT32", _OWN),
    (r"Could not convert string ['\"](.*)['\"] to ([\w(),]+)", "'{}' is no {}"),
    (r"Division by zero", "division by zero"),
    (
        r"Type \w+ with value (\S+) can't be cast because the value is out of range for the destination type (\w+)",
        _RANGE,
    ),
    (r"Failed to cast decimal value (\S+) to type (\w+)", _RANGE),
    (r"Casting value \"(.*)\" to type ([\w(),]+) failed: value is out of range", _RANGE),
    (r"Could not cast value (\S+) to ([\w(),]+)", _RANGE),
    (r"(?:date|time|timestamp) field value out of range: \"(.*)\"", "'{}' is no time that there is"),
    (r"Could not convert Timestamp|not in timestamp range", "the time is out of range of TIMESTAMP"),
    (r"Overflow in (\w+) of DECIMAL", "overflow in {} of DECIMAL"),
    (r"Overflow in (\w+) of INT\d+ \((.*)\)", "overflow in {}: {}"),
)
"""The first that is found says it."""


def sentence(error: duckdb.Error) -> str:
    """What a row did wrong."""
    said = str(error)
    for pattern, form in _SENTENCES:
        found = re.search(pattern, said, re.DOTALL)
        if found is not None:
            parts = found.groups()
            return parts[0] if form == _OWN else form.format(*(_TYPES.get(part, _short(part)) for part in parts))
    return re.sub(r"^[A-Za-z ]+ Error: | when casting from source column \w+", "", said.split("\n", 1)[0])


def kind(sentence: str) -> str:
    """The name of the error behind a sentence."""
    if sentence == "division by zero":
        return "DivideByZero"
    if sentence.startswith("function "):
        return "FunctionError"
    if sentence.startswith("NULL into"):
        return "NullValue"
    if "out of range" in sentence.lower() or "overflow" in sentence.lower():
        return "NumericOverflow"
    return "RowError"


def _short(value: str) -> str:
    return value if len(value) <= VALUE_SHOWN_MAX else value[:VALUE_SHOWN_MAX] + "…"
