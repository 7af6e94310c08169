"""A jq program over records, each for itself, in a process that is killed when the program runs away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import jq
import msgspec

from connectors.functions import query
from connectors.functions.errors import FunctionError, StatementError
from connectors.functions.pool import FunctionPool
from connectors.functions.query import NO_VALUE

RECORDS_MAX = 500
"""Records of one slice: as many as a program that runs away takes along into the error output."""

SLICE_SIZE_MAX = 1 << 20
"""Bytes of one slice; as JSON text inside JSON it is at most twice that, well below the limit of a call."""


class NotJson(str):
    """Of a record that is not JSON: why."""

    __slots__ = ()


Answer = list[Any] | dict[str, str] | NotJson
"""What a program makes of a record: ``[the first value]``, ``{"error": why there is none}``, or that it is no JSON."""


async def answers(text: str, invoke: Callable[[bytes], Awaitable[bytes]], data: Sequence[bytes]) -> list[Answer]:
    """One for each of `data`, in slices. `invoke` runs `connectors.functions.query`; a call that fails is the error of each
    record of its slice."""
    found: list[Answer] = [NotJson()] * len(data)
    waiting: list[tuple[int, str]] = []
    size = 0

    async def flush() -> None:
        event = {"query": text, "records": [record for _, record in waiting]}
        try:
            told: list[Answer] = msgspec.json.decode(await invoke(msgspec.json.encode(event)))
        except FunctionError as error:
            told = [{"error": error.message}] * len(waiting)
        for (place, _), answer in zip(waiting, told, strict=True):
            found[place] = answer

    for place, record in enumerate(data):
        try:
            msgspec.json.decode(record)
            plain = record.decode()
        except (UnicodeDecodeError, msgspec.DecodeError) as error:
            found[place] = NotJson(error)
            continue
        if waiting and (len(waiting) == RECORDS_MAX or size + len(record) > SLICE_SIZE_MAX):
            await flush()
            waiting, size = [], 0
        waiting.append((place, plain))
        size += len(record)
    if waiting:
        await flush()
    return found


class JqProgram:
    """`timeout_s` is for one slice. Raises `StatementError` where the program does not compile."""

    def __init__(self, text: str, timeout_s: float, scratch: Path) -> None:
        try:
            jq.compile(text)
        except ValueError as error:
            raise StatementError(f"not a jq program: {error}") from error
        self._text = text
        self._pool = FunctionPool(query.function(timeout_s), scratch=scratch)

    async def run(self, data: Sequence[bytes]) -> tuple[dict[int, bytes], dict[int, str]]:
        """The first value that the program gives of each of `data`, as JSON, by its index; or why it fails. One that gives
        no value is in neither."""
        made: dict[int, bytes] = {}
        failed: dict[int, str] = {}
        for index, answer in enumerate(await answers(self._text, self._pool.invoke, data)):
            if isinstance(answer, NotJson):
                failed[index] = f"InvalidJson: {answer}"
            elif isinstance(answer, list):
                made[index] = msgspec.json.encode(answer[0])
            elif answer["error"] != NO_VALUE:
                failed[index] = f"the jq program failed: {answer['error']}"
        return made, failed

    async def close(self) -> None:
        await self._pool.close()
