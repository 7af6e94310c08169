"""Partition keys out of JSON records by a jq query, in a process that is killed when the query runs away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import jq
import pyarrow as pa

from connectors.functions.jq_program import Answer, NotJson, answers
from streams.core.errors import InvalidArgument

TIMEOUT_S = 5.0
"""How long a query may take for one slice of records; a thousand ordinary records take 10 ms."""

NOT_JSON = "Non JSON record provided"

Keys = dict[str, Any] | str
"""The object that the query made of a record, or why there is none."""


def check_query(text: str) -> None:
    """Raises `InvalidArgument` where it does not compile."""
    try:
        jq.compile(text)
    except ValueError as error:
        raise InvalidArgument(f"MetadataExtractionQuery is not a jq program: {error}") from error


class Query:
    """`invoke` runs `connectors.functions.query`."""

    def __init__(self, text: str, invoke: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._text = text
        self._invoke = invoke

    async def run(self, data: pa.Array) -> list[Keys]:
        """One answer for each record of the binary `data`."""
        return [_keys(answer) for answer in await answers(self._text, self._invoke, data.to_pylist())]


def _keys(answer: Answer) -> Keys:
    match answer:
        case NotJson():
            return NOT_JSON
        case [dict() as keys]:
            return keys
        case {"error": error}:
            return f"MetadataExtractionQuery failed: {error}"
    return "MetadataExtractionQuery gave no object"
