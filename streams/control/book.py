"""A catalog and its journal: append, then apply, one change at a time.

In one process the catalog is its own. Where processes share the log, each has all of the catalog, by following the journal,
and changes the parts of it that are its own: see `streams.control.divided`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from streams.control.divided import DividedJournal
from streams.control.following import Following
from streams.control.journal import Journal, Replay
from streams.core.clock import Clock
from streams.core.errors import JournalMoved, LogFull, LogUnreachable, ServiceUnavailable
from streams.core.work import ALONE, PARTS, Work

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

    def follow(self, catalog: Kept, replay: Replay) -> list[E]:
        """Applies what a journal holds to a catalog, which is one of nothing where there is a snapshot; the events."""
        if replay.snapshot is not None:
            catalog.restore(self.snapshot(replay.snapshot))
        events = [self.event(data) for data in replay.events]
        for event in events:
            catalog.apply(event)
        return events


class Book(Generic[C, E]):
    """Keeps the catalog. Reading it is free; changing it goes through `execute` or `commit`. After `snapshot_events` events
    a snapshot is written. `part` says of which part an event is, None where what it is about is gone."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        fresh: Callable[[], C],
        form: Form[E],
        snapshot_events: int,
        part: Callable[[C, E], int | None],
        work: Work = ALONE,
    ) -> None:
        self.catalog = fresh()
        self.renewed: Callable[[], None] = lambda: None
        """Called when the catalog is another object, since what made it was forgotten before it could be followed."""
        self.followed: Callable[[Sequence[E]], None] = lambda _: None
        """Called with events of any process, once they are applied, where processes share the catalog."""
        self._journal = journal
        self._clock = clock
        self._fresh = fresh
        self._form = form
        self._snapshot_events = snapshot_events
        self._part = part
        self._work = work
        self._epochs: dict[int, int] = {}
        self._divided = journal if isinstance(journal, DividedJournal) and journal.shared else None
        self._following: Following | None = None
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[object]] = set()

    @property
    def shared(self) -> bool:
        """Whether other processes have parts of it."""
        return self._divided is not None

    async def open(self) -> None:
        if self._divided is None:
            self._form.follow(self.catalog, await self._journal.own())
            return
        self._form.follow(self.catalog, await self._journal.open())
        self._following = Following(self._journal, self._follow, self._clock)
        self._following.start()

    async def claim(self, parts: Collection[int]) -> None:
        """The parts are this process's to change; what others did of them is known. Raises `LogError`."""
        if self._divided is not None and parts:
            epoch = await self._divided.claim(parts, self._follow_and_tell)
            self._epochs.update(dict.fromkeys(parts, epoch))

    def release(self, parts: Collection[int]) -> None:
        for part in parts:
            self._epochs.pop(part, None)

    async def current(self) -> None:
        """What any process had done when this was called is known. Raises `LogError`."""
        if self._following is not None:
            await self._following.current()

    def next_number(self, item_part: int, next_number: int) -> int:
        """A number for something new, at least `next_number`. Two processes that each make something of a part of their own
        never take the same one."""
        if not self.shared:
            return next_number
        return next_number + (item_part - next_number) % PARTS

    async def execute(self, decide: Callable[[C, int], Decision[T, E]]) -> T:
        """Decides on the catalog as it is now, commits, and answers the reply. A caller that goes away does not stop it
        half-way: an event in the journal is always applied. The events of a decision are of one part. Raises
        `ServiceUnavailable` where it is another process's."""
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

    async def close(self) -> None:
        """Returns when what was begun has ended, and no more is followed."""
        await self.quiet()
        if self._following is not None:
            await self._following.stop()

    async def _execute(self, decide: Callable[[C, int], Decision[T, E]]) -> T:
        async with self._lock:
            reply, events = decide(self.catalog, self._clock.now_ms())
            if self._divided is not None:
                await self._write(self._divided, events)
            else:
                await self._journal.append([self._form.encode(event) for event in events])
                for event in events:
                    self.catalog.apply(event)
            if self._journal.events_since_snapshot >= self._snapshot_events:
                await self._snapshot()
            return reply

    async def _write(self, journal: DividedJournal, events: Sequence[E]) -> None:
        part = self._part(self.catalog, events[0]) if events else None
        if part is None:
            return
        epoch = self._epochs.get(part)
        if epoch is None:
            raise ServiceUnavailable("Another process does this, or takes it over just now.")
        try:
            encoded = [self._form.encode(event) for event in events]
            await journal.write(part, epoch, encoded, self._follow_and_tell)
        except JournalMoved:
            if self._epochs.get(part) == epoch:
                self._work.begin_again(part)
            raise

    def _follow_and_tell(self, replay: Replay) -> None:
        """As `Following` does with what it reads."""
        assert self._following is not None, "open"
        self._following.applied(replay)

    def _follow(self, replay: Replay) -> None:
        renewed = replay.snapshot is not None
        if renewed:
            self.catalog = self._fresh()
        events = self._form.follow(self.catalog, replay)
        if renewed:
            self.renewed()
        self.followed(events)

    async def _snapshot(self) -> None:
        try:
            await self._journal.snapshot(self._form.encode(self.catalog.snapshot()))
        except JournalMoved:
            if not self.shared:
                raise
            # Somebody wrote at that moment: the next change tries again.
        except (LogFull, LogUnreachable) as error:
            # The events are committed all the same; the next change tries again.
            _logger.warning("the journal of %s could not be shortened: %s", self._form.name, error)
