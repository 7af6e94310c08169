"""Faults on purpose: errors, throttles, latency and lost records of PutRecords, as the settings ask for.

For people's tests of their own retries. A fault names operation, stream and shard by patterns (``Put*``, ``orders-?``),
and strikes with a probability. One that names a shard strikes where the shard is known: after a record was routed to it,
when an iterator of it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from random import Random

from streams.core.clock import Clock
from streams.core.errors import InternalFailure, RequestError, SettingsError, request_errors
from streams.core.settings import Fault

_ANY = "*"

_LATE = frozenset({"GetRecords"})
"""Operations that name their stream within an iterator only: all of their faults strike when that has been read."""


class Faults:
    """`random` decides when; a seed replays a run. Raises `SettingsError` for an error that there is not."""

    def __init__(self, faults: Sequence[Fault], clock: Clock, random: Random) -> None:
        known = request_errors()
        for fault in faults:
            if fault.error and fault.error not in known:
                raise SettingsError(f"faults: there is no error {fault.error}; there are {', '.join(sorted(known))}")
        self.on = bool(faults)
        self._faults = faults
        self._clock = clock
        self._random = random
        self._errors = known

    async def call(self, operation: str, stream: str | None) -> None:
        """Before an operation begins: faults that name no shard."""
        if operation in _LATE:
            return
        for fault in self._faults:
            if fault.shard == _ANY and not fault.records and self._strikes(fault, operation, stream or ""):
                await self._strike(fault, operation, stream or "")

    async def shard(self, operation: str, stream: str, shard: str) -> None:
        """When the shard of an operation is known: faults that name one."""
        late = operation in _LATE
        for fault in self._faults:
            if (
                (late or fault.shard != _ANY)
                and not fault.records
                and fnmatchcase(shard, fault.shard)
                and self._strikes(fault, operation, stream)
            ):
                await self._strike(fault, operation, f"{stream}/{shard}")

    def records(self, stream: str, shard: str, count: int) -> list[tuple[str, str] | None]:
        """For each of the records that PutRecords has for a shard: the code and message of its failure, or None."""
        failures: list[tuple[str, str] | None] = [None] * count
        for fault in self._faults:
            if not fault.records or not fnmatchcase(shard, fault.shard):
                continue
            for place in range(count):
                if self._strikes(fault, "PutRecords", stream):
                    failures[place] = fault.error or InternalFailure.code, _text(fault, f"{stream}/{shard}")
        return failures

    def _strikes(self, fault: Fault, operation: str, stream: str) -> bool:
        return (
            fnmatchcase(operation, fault.operation)
            and fnmatchcase(stream, fault.stream)
            and self._random.random() < fault.probability
        )

    async def _strike(self, fault: Fault, operation: str, where: str) -> None:
        if fault.latency_ms:
            await self._clock.sleep(fault.latency_ms / 1000)
        if fault.error:
            error: RequestError = self._errors[fault.error](_text(fault, f"{operation} {where}".strip()))
            raise error


def _text(fault: Fault, where: str) -> str:
    return fault.message or f"Injected fault: {where}."
