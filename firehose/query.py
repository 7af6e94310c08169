"""Partition keys out of JSON records by a jq query, in a process that is killed when the query runs away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import jq
import msgspec
import pyarrow as pa

from connectors.functions.errors import FunctionError
from streams.core.errors import InvalidArgument

TIMEOUT_S = 5.0
"""How long a query may take for one slice of records; a thousand ordinary records take 10 ms."""

RECORDS_MAX = 500
"""Records of one slice: as many as a query that runs away takes along into the error output."""

SLICE_SIZE_MAX = 1 << 20
"""Bytes of one slice; as JSON text inside JSON it is at most twice that, well below the limit of a call."""

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
        found: list[Keys] = [NOT_JSON] * len(data)
        waiting: list[tuple[int, str]] = []
        size = 0
        for place, record in enumerate(data.to_pylist()):
            text = _json(record)
            if text is None:
                continue
            if waiting and (len(waiting) == RECORDS_MAX or size + len(record) > SLICE_SIZE_MAX):
                await self._slice(waiting, found)
                waiting, size = [], 0
            waiting.append((place, text))
            size += len(record)
        if waiting:
            await self._slice(waiting, found)
        return found

    async def _slice(self, records: Sequence[tuple[int, str]], found: list[Keys]) -> None:
        event = {"query": self._text, "records": [text for _, text in records]}
        try:
            answers = msgspec.json.decode(await self._invoke(msgspec.json.encode(event)))
        except FunctionError as error:
            for place, _ in records:
                found[place] = f"MetadataExtractionQuery failed: {error.message}"
            return
        for (place, _), answer in zip(records, answers, strict=True):
            found[place] = _keys(answer)


def _json(record: bytes) -> str | None:
    try:
        msgspec.json.decode(record)
        return record.decode()
    except (UnicodeDecodeError, msgspec.DecodeError):
        return None


def _keys(answer: Any) -> Keys:
    match answer:
        case [dict() as keys]:
            return keys
        case {"error": error}:
            return f"MetadataExtractionQuery failed: {error}"
    return "MetadataExtractionQuery gave no object"
