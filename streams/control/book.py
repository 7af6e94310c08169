"""A catalog and its journal: append, then apply, one change at a time. For a catalog that one process owns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from streams.control.journal import Journal, Replay
from streams.core.clock import Clock
from streams.core.errors import LogFull

_logger = logging.getLogger(__name__)

T = TypeVar("T")
E = TypeVar("E")


class Kept(Protocol):
    """A catalog that events make."""

    @property
    def apply(self) -> Any: ...

    @property
    def restore(self) -> Any: ...

    def snapshot(self) -> Any: ...


C = TypeVar("C", bound=Kept)

Decision = tuple[T, Sequence[E]]
"""What is decided on a catalog: the reply, and the events that make it true."""


@dataclass(frozen=True, slots=True)
class Form(Generic[E]):
    """How events and snapshots of a catalog are written. `name` is the journal's, for messages."""

    name: str
    encode: Callable[[Any], bytes]
    event: Callable[[bytes], E]
    snapshot: Callable[[bytes], Any]

    def follow(self, catalog: Kept, replay: Replay) -> None:
        """Applies what a journal holds to a catalog of nothing."""
        if replay.snapshot is not None:
            catalog.restore(self.snapshot(replay.snapshot))
        for data in replay.events:
            catalog.apply(self.event(data))


class Book(Generic[C, E]):
    """Owns the catalog. Reading it is free; changing it goes through `execute` or `commit`. After `snapshot_events` events
    a snapshot is written."""

    def __init__(self, journal: Journal, clock: Clock, catalog: C, form: Form[E], snapshot_events: int) -> None:
        self.catalog = catalog
        self._journal = journal
        self._clock = clock
        self._form = form
        self._snapshot_events = snapshot_events
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[object]] = set()

    async def open(self) -> None:
        self._form.follow(self.catalog, await self._journal.own())

    async def execute(self, decide: Callable[[C, int], Decision[T, E]]) -> T:
        """Decides on the catalog as it is now, commits, and answers the reply. A caller that goes away does not stop it
        half-way: an event in the journal is always applied."""
        task = asyncio.create_task(self._execute(decide))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def commit(self, *events: E) -> None:
        """Durable and applied when it returns. Raises `LogFull`: then nothing happened."""
        await self.execute(lambda _catalog, _now_ms: (None, events))

    async def quiet(self) -> None:
        """Returns when every change that was begun has ended, also those whose callers went away."""
        if self._running:
            await asyncio.wait(self._running)

    async def _execute(self, decide: Callable[[C, int], Decision[T, E]]) -> T:
        async with self._lock:
            reply, events = decide(self.catalog, self._clock.now_ms())
            await self._journal.append([self._form.encode(event) for event in events])
            for event in events:
                self.catalog.apply(event)
            if self._journal.events_since_snapshot >= self._snapshot_events:
                await self._snapshot()
            return reply

    async def _snapshot(self) -> None:
        try:
            await self._journal.snapshot(self._form.encode(self.catalog.snapshot()))
        except LogFull as error:
            # The events are committed all the same; the next change tries again.
            _logger.warning("the journal of %s could not be shortened: %s", self._form.name, error)
