"""The catalog and its journal: append, then apply, one change at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from analytics.api.catalog import Catalog
from analytics.api.events import Event, decode_event, decode_snapshot, encode
from streams.control.journal import Journal
from streams.core.clock import Clock
from streams.core.errors import LogFull

log = logging.getLogger(__name__)

T = TypeVar("T")

SNAPSHOT_EVENTS = 1_000
"""Events after which a snapshot is written: a few may hold 100 KB of code each, and replay stays under a second."""

Decision = tuple[T, Sequence[Event]]
"""A pure function of the catalog and the time: the reply, and the events that make it true."""


class Book:
    """Owns the catalog. Reading it is free; changing it goes through `execute` or `commit`."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self.catalog = Catalog()
        self._journal = journal
        self._clock = clock
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[object]] = set()

    async def open(self) -> None:
        replay = await self._journal.own()
        if replay.snapshot is not None:
            self.catalog.restore(decode_snapshot(replay.snapshot))
        for data in replay.events:
            self.catalog.apply(decode_event(data))

    async def execute(self, decide: Callable[[Catalog, int], Decision[T]]) -> T:
        """Decides on the catalog as it is now, commits, and answers the reply. A caller that goes away does not stop it
        half-way: an event in the journal is always applied."""
        task = asyncio.create_task(self._execute(decide))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def commit(self, *events: Event) -> None:
        """Durable and applied when it returns. Raises `LogFull`: then nothing happened."""
        await self.execute(lambda _catalog, _now_ms: (None, events))

    async def quiet(self) -> None:
        """Returns when every change that was begun has ended, also those whose callers went away."""
        if self._running:
            await asyncio.wait(self._running)

    async def _execute(self, decide: Callable[[Catalog, int], Decision[T]]) -> T:
        async with self._lock:
            reply, events = decide(self.catalog, self._clock.now_ms())
            await self._journal.append([encode(event) for event in events])
            for event in events:
                self.catalog.apply(event)
            if self._journal.events_since_snapshot >= SNAPSHOT_EVENTS:
                await self._snapshot()
            return reply

    async def _snapshot(self) -> None:
        try:
            await self._journal.snapshot(encode(self.catalog.snapshot()))
        except LogFull as error:
            # The events are committed all the same; the next change tries again.
            log.warning("the journal of applications could not be shortened: %s", error)
