"""Partition keys out of a JSON record by a jq query."""

from __future__ import annotations

from typing import Any

import jq
import msgspec

from streams.core.errors import InvalidArgument


class QueryError(Exception):
    """A record that gives no keys, and why."""


class Query:
    """A compiled query. Raises `InvalidArgument` where it does not compile."""

    def __init__(self, text: str) -> None:
        try:
            self._program = jq.compile(text)
        except ValueError as error:
            raise InvalidArgument(f"MetadataExtractionQuery is not a jq program: {error}") from error

    def run(self, record: bytes) -> dict[str, Any] | QueryError:
        """The object that the query makes of the record."""
        try:
            text = record.decode()
            msgspec.json.decode(text)
        except (UnicodeDecodeError, msgspec.DecodeError):
            return QueryError("Non JSON record provided")
        try:
            found = self._program.input_text(text).first()
        except (ValueError, StopIteration) as error:
            return QueryError(f"MetadataExtractionQuery failed: {error}")
        return found if isinstance(found, dict) else QueryError("MetadataExtractionQuery gave no object")
