"""A program on trial: rows of its inputs and of its streams as lines of JSON, and how two sets of them are compared.

    {"stream": "SOURCE_SQL_STREAM_001", "rowtime": "2026-01-01T00:00:00.000Z", "row": {"TICKER": "A", "PRICE": 1.5}}

Rows are compared as multisets by stream and ROWTIME. What JSON writes in several ways is one value: 1 and 1.0, a time with
``T`` and ``Z`` or with a space, a column that is null or left out; floating point to twelve digits.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analytics.errors import SqlError, closest
from analytics.places import place_of
from analytics.program import ERROR_STREAM, Program, folded
from connectors.formats.schema import Column
from streams.core.errors import ValidationError

DIGITS = 12
"""Significant digits of floating point that are compared: what sums keep in whatever order they are made."""

_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|\+00:?00)?")


@dataclass(frozen=True, slots=True)
class Line:
    """A row of `stream`; `rowtime` is None where an expectation leaves it open."""

    stream: str
    rowtime: str | None
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not alike in one stream."""

    stream: str
    missing: list[Line]
    surplus: list[Line]


def parse_lines(text: str, name: str) -> list[Line]:
    """The lines of a file; `name` stands in messages. Raises `ValidationError`."""
    lines = []
    for number, content in enumerate(text.splitlines(), 1):
        if not content.strip():
            continue
        try:
            value = json.loads(content)
        except ValueError as error:
            raise ValidationError(f"{name}, line {number}: this is not JSON: {error}") from error
        if (
            not isinstance(value, dict)
            or not isinstance(value.get("stream"), str)
            or not isinstance(value.get("row"), dict)
        ):
            raise ValidationError(f'{name}, line {number}: a line is {{"stream": "…", "rowtime": "…", "row": {{…}}}}')
        time = value.get("rowtime")
        if time is not None and not (isinstance(time, str) and _TIME.fullmatch(time)):
            raise ValidationError(
                f"{name}, line {number}: rowtime is a time like 2026-01-01T00:00:00.000Z, not {time!r}"
            )
        lines.append(Line(value["stream"], time, value["row"]))
    return lines


def records_of(lines: Sequence[Line]) -> list[bytes]:
    """Records of an input with their time under ``ROWTIME``. Raises `ValidationError` where a row has none."""
    records = []
    for line in lines:
        if line.rowtime is None:
            raise ValidationError(f"a row of the input {line.stream} has no rowtime: {json.dumps(line.row)[:100]}")
        records.append(json.dumps({**line.row, "ROWTIME": line.rowtime}).encode())
    return records


def inputs_of(
    program: Program, given: Sequence[Line], declared: Mapping[str, Sequence[Column]], references: Mapping[str, str]
) -> dict[str, str]:
    """The name of each input in the program → the stream of the lines (or of the schema) that it reads."""
    known = list(dict.fromkeys([*(line.stream for line in given), *declared]))
    tables = {name.upper() for name in references}
    found: dict[str, str] = {}
    for identifier in program.sources():
        name = folded(identifier)
        if name in found or name.upper() in tables or name.lower() == ERROR_STREAM:
            continue  # that the last cannot be read is for the compiler to say
        alike = [name] if name in known else [each for each in known if each.upper() == name]
        if len(alike) != 1:
            what = f"no row of the input is of a stream {name}"
            raise SqlError(what, place_of(identifier), suggestion=closest(name, known))
        found[name] = alike[0]
    return found


def compare(wanted: Sequence[Line], found: Sequence[Line]) -> list[Difference]:
    """The streams that `wanted` names and that differ."""
    differences = []
    for stream in dict.fromkeys(line.stream for line in wanted):
        ours = [line for line in wanted if line.stream == stream]
        timed = all(line.rowtime is not None for line in ours)
        columns = {name for line in ours for name in line.row} if stream == "error_stream" else None
        theirs = [line for line in found if line.stream == stream]
        missing = _without(ours, theirs, timed, columns)
        surplus = _without(theirs, ours, timed, columns)
        if missing or surplus:
            differences.append(Difference(stream, missing, surplus))
    return differences


def _without(lines: Sequence[Line], others: Sequence[Line], timed: bool, columns: set[str] | None) -> list[Line]:
    left = Counter(_key(line, timed, columns) for line in others)
    kept = []
    for line in lines:
        key = _key(line, timed, columns)
        if left[key]:
            left[key] -= 1
        else:
            kept.append(line)
    return kept


def _key(line: Line, timed: bool, columns: set[str] | None) -> str:
    row = {
        name: _value(value)
        for name, value in line.row.items()
        if value is not None and (columns is None or name in columns)
    }
    return json.dumps([_value(line.rowtime) if timed else None, row], sort_keys=True)


def _value(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return str(value) if isinstance(value, int) and abs(value) >= 10**DIGITS else f"{value:.{DIGITS}g}"
    if isinstance(value, str) and _TIME.fullmatch(value):
        plain = re.sub(r"Z|\+00:?00$", "", value.replace("T", " "))
        try:
            return f"{dt.datetime.fromisoformat(plain):%Y-%m-%d %H:%M:%S.%f}"
        except ValueError:
            return value
    return value
