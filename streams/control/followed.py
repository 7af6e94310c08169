"""A journal of one item of the work (`streams.core.work`): its owner writes it, all processes follow it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streams.control.divided import DividedJournal
from streams.control.following import Following
from streams.control.journal import Replay
from streams.core.clock import Clock
from streams.core.errors import JournalMoved, ServiceUnavailable
from streams.core.work import Work, part_of
from streams.log.log import Log


class FollowedJournal:
    """`follow` is called with what comes, whoever wrote it. Close it."""

    def __init__(self, log: Log, name: str, item: str, clock: Clock, work: Work) -> None:
        self.follow: Callable[[Replay], None] = lambda _: None
        self.part = part_of(item)
        self._work = work
        self._epoch: int | None = None
        self._journal = DividedJournal(log, name)
        self._following = Following(self._journal, lambda replay: self.follow(replay), clock)

    @property
    def events_since_snapshot(self) -> int:
        return self._journal.events_since_snapshot

    async def open(self) -> Replay:
        replay = await self._journal.open()
        self._following.start()
        return replay

    async def current(self) -> None:
        """What any process had written when this was called has been followed. Raises `LogError`."""
        await self._following.current()

    async def claim(self) -> None:
        """This process is the owner. Raises `LogError`."""
        self._epoch = await self._journal.claim([self.part], self._following.applied)

    def release(self) -> None:
        self._epoch = None

    async def append(self, events: Sequence[bytes]) -> None:
        """All of them or none; durable and followed when it returns. Raises `ServiceUnavailable` where this process is not
        the owner, `JournalMoved`."""
        if self._epoch is None:
            raise ServiceUnavailable("Another process does this, or takes it over just now.")
        try:
            await self._journal.write(self.part, self._epoch, events, self._following.applied)
        except JournalMoved:
            self._work.begin_again(self.part)
            raise

    async def snapshot(self, state: bytes) -> None:
        try:
            await self._journal.snapshot(state)
        except JournalMoved:
            pass  # somebody wrote at that moment: the next change tries again

    async def close(self) -> None:
        await self._following.stop()
