"""The functions that exist: a journal of what was put and deleted, and what it makes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from streams.core.errors import LogFull
from streams.core.scope import Scope

log = logging.getLogger(__name__)

SNAPSHOT_EVENTS = 500
"""Events after which a snapshot is written: an event is a function's whole configuration, some KB."""


class Replay(Protocol):
    """What a journal held."""

    @property
    def snapshot(self) -> bytes | None: ...

    @property
    def events(self) -> list[bytes]: ...


class Journal(Protocol):
    """Where events are kept: see `streams.control.journal`, which is one."""

    @property
    def events_since_snapshot(self) -> int: ...

    async def open(self) -> Replay: ...

    async def append(self, events: Sequence[bytes]) -> None: ...

    async def snapshot(self, state: bytes) -> None: ...


@runtime_checkable
class SharedJournal(Journal, Protocol):
    """One that several processes follow, and one of them writes: see `streams.control.followed`."""

    follow: Callable[[Replay], None]
    part: int

    async def current(self) -> None: ...

    async def claim(self) -> None: ...

    def release(self) -> None: ...

    async def close(self) -> None: ...


class Depot(Protocol):
    """Where other processes find the archives of code: see `streams.control.depot`."""

    async def put(self, shelf: str, name: str, path: Path) -> None: ...

    async def get(self, shelf: str, name: str, path: Path) -> bool: ...

    async def drop(self, shelf: str) -> None: ...


class FunctionRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="put"):
    """A function as it was created and changed. `code` is the SHA-256 of its archive in hexadecimal.

    `given` are members of the configuration that are only repeated; times are ms since the epoch.
    """

    account: str
    region: str
    name: str
    role: str
    runtime: str
    handler: str
    code: str
    code_sha256: str
    code_size: int
    description: str = ""
    timeout_s: int = 3
    memory_mb: int = 128
    scratch_mb: int = 512
    environment: dict[str, str] = {}
    architectures: tuple[str, ...] = ("x86_64",)
    tags: dict[str, str] = {}
    given: dict[str, Any] = {}
    revision: str
    created_ms: int
    modified_ms: int

    @property
    def scope(self) -> Scope:
        return Scope(self.account, self.region)


class FunctionDeleted(msgspec.Struct, frozen=True, tag="deleted"):
    account: str
    region: str
    name: str


Event = FunctionRecord | FunctionDeleted
Key = tuple[str, str, str]

_encode = msgspec.json.Encoder().encode
_event = msgspec.json.Decoder(Event).decode
_snapshot = msgspec.json.Decoder(list[FunctionRecord]).decode


class FunctionBook:
    """Reading is free; `execute` decides and commits, one change at a time. `followed` is told of events that other processes
    may have written."""

    def __init__(self, journal: Journal, followed: Callable[[Event], None]) -> None:
        self._journal = journal
        self._followed = followed
        self._records: dict[Key, FunctionRecord] = {}
        self._lock = asyncio.Lock()

    def __iter__(self) -> Iterator[FunctionRecord]:
        return iter(self._records.values())

    def get(self, scope: Scope, name: str) -> FunctionRecord | None:
        return self._records.get((scope.account, scope.region, name))

    def of(self, scope: Scope) -> list[FunctionRecord]:
        """By name."""
        found = [one for key, one in self._records.items() if key[:2] == (scope.account, scope.region)]
        return sorted(found, key=lambda one: one.name)

    async def open(self) -> None:
        replay = await self._journal.open()
        if replay.snapshot is not None:
            for record in _snapshot(replay.snapshot):
                self._apply(record)
        for data in replay.events:
            self._apply(_event(data))
        if isinstance(self._journal, SharedJournal):
            self._journal.follow = self._follow

    def _follow(self, replay: Replay) -> None:
        events: list[Event] = []
        if replay.snapshot is not None:
            kept = _snapshot(replay.snapshot)
            names = {(one.account, one.region, one.name) for one in kept}
            events += [FunctionDeleted(*key) for key in self._records if key not in names]
            events += kept
        events += [_event(data) for data in replay.events]
        for event in events:
            self._apply(event)
            self._followed(event)

    async def execute(self, decide: Callable[[], Event], applied: Callable[[Event], Awaitable[None]]) -> Event:
        """The event that `decide` makes of the state as it is, committed. Its callers may go away: what has begun is
        finished. Raises what `decide` raises, and `LogFull`."""
        return await asyncio.shield(asyncio.ensure_future(self._execute(decide, applied)))

    async def _execute(self, decide: Callable[[], Event], applied: Callable[[Event], Awaitable[None]]) -> Event:
        async with self._lock:
            event = decide()
            await self._journal.append([_encode(event)])
            self._apply(event)
            await applied(event)
            if self._journal.events_since_snapshot >= SNAPSHOT_EVENTS:
                try:
                    await self._journal.snapshot(_encode(list(self)))
                except LogFull as error:
                    log.warning("the journal of functions could not be shortened: %s", error)
            return event

    def _apply(self, event: Event) -> None:
        key = (event.account, event.region, event.name)
        if isinstance(event, FunctionDeleted):
            self._records.pop(key, None)
        else:
            self._records[key] = event
