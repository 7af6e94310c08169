"""A jq program over records, each for itself, in a process that is killed when the program runs away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jq
import msgspec

from connectors.functions import query
from connectors.functions.errors import FunctionError
from connectors.functions.pool import FunctionPool
from connectors.functions.query import NO_VALUE
from connectors.functions.sql_statement import StatementError

RECORDS_MAX = 500
"""Records of one slice: as many as a program that runs away takes along."""

SLICE_SIZE_MAX = 1 << 20
"""Bytes of one slice."""


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
        waiting: list[tuple[int, str]] = []
        size = 0
        for index, record in enumerate(data):
            try:
                msgspec.json.decode(record)
                text = record.decode()
            except (UnicodeDecodeError, msgspec.DecodeError) as error:
                failed[index] = f"InvalidJson: {error}"
                continue
            if waiting and (len(waiting) == RECORDS_MAX or size + len(record) > SLICE_SIZE_MAX):
                await self._slice(waiting, made, failed)
                waiting, size = [], 0
            waiting.append((index, text))
            size += len(record)
        if waiting:
            await self._slice(waiting, made, failed)
        return made, failed

    async def close(self) -> None:
        await self._pool.close()

    async def _slice(self, records: Sequence[tuple[int, str]], made: dict[int, bytes], failed: dict[int, str]) -> None:
        event = {"query": self._text, "records": [text for _, text in records]}
        try:
            answers: list[Any] = msgspec.json.decode(await self._pool.invoke(msgspec.json.encode(event)))
        except FunctionError as error:
            failed.update((index, f"the jq program failed: {error.message}") for index, _ in records)
            return
        for (index, _), answer in zip(records, answers, strict=True):
            if isinstance(answer, list):
                made[index] = msgspec.json.encode(answer[0])
            elif answer["error"] != NO_VALUE:
                failed[index] = f"the jq program failed: {answer['error']}"
