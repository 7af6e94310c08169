"""Columns as the API declares them: ``{"RecordColumns": [{"Name": …, "SqlType": …, "Mapping": "$.…"}]}``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analytics.errors import SqlError
from analytics.nodes import CreateStream
from analytics.statements import parse_statements
from analytics.types import SqlType, declared
from connectors.formats.schema import Column
from streams.core.errors import ValidationError


def columns_of(path: Path, streams: Sequence[str]) -> dict[str, list[Column]]:
    """The columns that a file declares, by stream: an input schema for each, or one for all of `streams`. Empty where there
    is no file. Raises `ValidationError`."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValidationError(f"{path}: this is not JSON: {error}") from error
    if isinstance(content, list) or (isinstance(content, dict) and isinstance(content.get("RecordColumns"), list)):
        content = dict.fromkeys(streams, content)
    if not isinstance(content, dict):
        raise ValidationError(f'{path}: a schema is {{"STREAM": {{"RecordColumns": […]}}}}')
    return {stream: _columns(schema, f"{path}: {stream}") for stream, schema in content.items()}


def _columns(schema: Any, where: str) -> list[Column]:
    listed = schema.get("RecordColumns") if isinstance(schema, dict) else schema
    if isinstance(schema, dict) and listed is None:
        listed = [{"Name": name, "SqlType": kind} for name, kind in schema.items()]
    if not isinstance(listed, list):
        raise ValidationError(f"{where} has no RecordColumns")
    columns = [column_of(each, where) for each in listed]
    if not any(column.name == "ROWTIME" for column in columns):
        columns.append(column_of({"Name": "ROWTIME", "SqlType": "TIMESTAMP"}, where))
    return columns


def column_of(given: Any, where: str) -> Column:
    """A RecordColumn. Raises `ValidationError`."""
    if (
        not isinstance(given, dict)
        or not isinstance(given.get("Name"), str)
        or not isinstance(given.get("SqlType"), str)
    ):
        raise ValidationError(f'{where}: a column is {{"Name": "…", "SqlType": "…"}}, not {json.dumps(given)}')
    return Column(given["Name"], type_of(given, where).arrow, given.get("Mapping"))


def type_of(given: Any, where: str) -> SqlType:
    """The type of a RecordColumn. Raises `ValidationError`."""
    try:
        (statement,) = parse_statements(f"CREATE STREAM x (c {given['SqlType']})")
        assert isinstance(statement, CreateStream)
        return declared(statement.expressions[0].args["kind"])
    except (SqlError, ValueError) as error:
        raise ValidationError(f"{where}: {given['SqlType']!r} is not a type of column {given['Name']}") from error
