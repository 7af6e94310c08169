"""The control plane's driver: decide, append, apply; one operation at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, TypeVar

from streams.control.catalog import Catalog, Snapshot
from streams.control.decisions import Decision, T
from streams.control.events import AnyEvent, Founded, decode_as, decode_event, encode
from streams.control.following import Following
from streams.control.journal import Journal, Replay
from streams.core.clock import Clock
from streams.core.errors import JournalMoved, LogFull, LogUnreachable
from streams.log.log import Log

_logger = logging.getLogger(__name__)

W = TypeVar("W")

JOURNAL = "control/catalog"
SNAPSHOT_EVENTS = 1_000
"""Events after which a snapshot is written: replay at a restart stays under some tens of milliseconds."""


class Controller:
    """Owns the catalog and its journal. Reading `catalog` is free; changing it goes through `execute`.

    Over a log that processes share, each has a controller, and all of them the same journal: see `Following`.
    """

    def __init__(self, log: Log, clock: Clock, random: Callable[[int], bytes]) -> None:
        self.catalog = Catalog()
        self._log = log
        self._clock = clock
        self._random = random
        self._journal = Journal(log, JOURNAL)
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()
        self.following = Following(self._journal, self._apply, clock) if log.shared else None

    async def open(self) -> None:
        """Replays the journal; founds the catalog where there is none."""
        self._apply(await self._journal.open())
        while not self.catalog.key:
            founded = Founded(at_ms=self._clock.now_ms(), key=self._random(32))
            await self._commit((founded,), self._journal.position)
        if self.following is not None:
            self.following.start()

    async def execute(self, decide: Callable[[Catalog, int], Decision[T]]) -> T:
        """Decides on the catalog as it is now, commits the events, and answers the reply.

        A caller that goes away does not stop an operation half-way: an event in the journal is always applied.
        """
        return await self.execute_within(nullcontext(), lambda catalog, now_ms, _: decide(catalog, now_ms))

    async def execute_within(
        self, preparation: AbstractAsyncContextManager[W], decide: Callable[[Catalog, int, W], Decision[T]]
    ) -> T:
        """As `execute`, inside of a preparation whose fruit the decision needs: it is entered when no other operation runs
        here, and left when the events are applied, or when the decision is an error."""
        task = asyncio.create_task(self._execute(preparation, decide))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def propose(self, *events: AnyEvent, expected: int) -> bool:
        """Commits events inside of a preparation; False where another process was first. Over a shared log only."""
        return await self._commit(events, expected)

    async def current(self) -> None:
        """Returns when the catalog has all that any process had decided when this was called. Raises `LogError`."""
        if self.following is not None:
            await self.following.current()

    @property
    def position(self) -> int:
        """Where the journal goes on: what is decided on the catalog as it is now expects it."""
        return self._journal.position

    def quiet(self) -> asyncio.Lock:
        """Held, nothing is changed from here."""
        return self._lock

    async def close(self) -> None:
        """Returns when what runs has ended."""
        if self._running:
            await asyncio.wait(self._running)
        if self.following is not None:
            await self.following.stop()

    async def _execute(
        self, preparation: AbstractAsyncContextManager[W], decide: Callable[[Catalog, int, W], Decision[T]]
    ) -> T:
        async with self._lock:
            await self.current()
            async with preparation as prepared:
                while True:
                    decision = decide(self.catalog, self._clock.now_ms(), prepared)
                    expected = self._journal.position
                    # Before the event, so that no stream is ever without its shards; a crash leaves orphans, dropped later.
                    await asyncio.gather(*(self._log.create(shard) for shard in decision.create))
                    if await self._commit(decision.events, expected):
                        break
                if self._journal.events_since_snapshot >= SNAPSHOT_EVENTS:
                    await write_snapshot(self._journal, encode(self.catalog.snapshot()))
                return decision.reply

    async def _commit(self, events: Sequence[AnyEvent], expected: int) -> bool:
        """Durable and applied; False where another process was first, whose events are applied then."""
        if not events:
            return True
        encoded = [encode(event) for event in events]
        if self.following is None:
            await self._journal.append(encoded)
            self.catalog.apply_all(events)
            return True
        proposed = await self._journal.propose(encoded, expected)
        await self.following.catch_up()
        return proposed

    def _apply(self, replay: Replay) -> None:
        if replay.snapshot is not None:
            self.catalog.restore(decode_as(Snapshot, replay.snapshot))
        self.catalog.apply_all(decode_event(data) for data in replay.events)


def catalog_of(replay: Replay) -> Catalog:
    """The catalog that a journal tells of."""
    catalog = Catalog()
    if replay.snapshot is not None:
        catalog.restore(decode_as(Snapshot, replay.snapshot))
    catalog.apply_all(decode_event(data) for data in replay.events)
    return catalog


async def write_snapshot(journal: Journal, state: bytes) -> None:
    """What led here is committed whether or not there is room for a snapshot: the next change tries again."""
    try:
        await journal.snapshot(state)
    except JournalMoved:
        pass  # another process was first
    except (LogFull, LogUnreachable) as error:
        _logger.warning("no snapshot of a journal: %s", error)
