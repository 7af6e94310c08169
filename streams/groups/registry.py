"""The coordinators of consumer groups: one for all, or where processes share the log one for each part of the work."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable

from streams.core.clock import Clock
from streams.core.errors import ServiceUnavailable
from streams.core.shards import shard_id
from streams.core.work import PARTS, Work, groups_item, part_of
from streams.groups.coordinator import JOURNAL, Coordinator
from streams.log.log import Log

_ALL = -1
"""In the place of a part, where there are none."""

ELSEWHERE = "Consumer groups of this stream are another process's, or it takes them over just now."


class Coordinators:
    """`open` before anything else. A coordinator of a part is opened when it is first asked for, and closed by `release`."""

    def __init__(self, log: Log, clock: Clock, work: Work) -> None:
        self._log = log
        self._clock = clock
        self._work = work
        self._opened: dict[int, asyncio.Task[Coordinator]] = {}
        self._stopping = False

    async def open(self) -> None:
        if not self._log.shared:
            await self._coordinator(_ALL, JOURNAL)

    async def of(self, stream_id: str) -> Coordinator:
        """The one of the stream's groups. Raises `ServiceUnavailable` where it is another process's, `LogError`."""
        if not self._log.shared:
            return await self._coordinator(_ALL, JOURNAL)
        part = part_of(groups_item(stream_id))
        if not self._work.mine(part):
            raise ServiceUnavailable(ELSEWHERE)
        # The last part first: its shard is the last partition of a topic, which has the others too then.
        await self._log.create(_journal(PARTS - 1))
        return await self._coordinator(part, _journal(part))

    async def release(self, parts: Collection[int]) -> None:
        """Whoever waits is answered; those parts are others' when it returns."""
        tasks = [self._opened.pop(part) for part in parts if part in self._opened]
        for opened in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(opened, Coordinator):
                await opened.close()

    def keep(self, streams: set[str]) -> None:
        """All other streams are gone, and with them their groups."""
        for coordinator in self._there():
            coordinator.keep(streams)

    def stop(self) -> None:
        """Whoever waits is answered."""
        self._stopping = True
        for coordinator in self._there():
            coordinator.stop()

    async def close(self) -> None:
        await self.release(list(self._opened))

    async def _coordinator(self, part: int, journal: str) -> Coordinator:
        task = self._opened.get(part)
        if task is not None and task.done() and not task.cancelled() and not task.exception() and task.result().moved:
            await self.release([part])
            task = self._opened.get(part)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._opened[part] = asyncio.create_task(self._open(part, journal))
        coordinator = await asyncio.shield(task)
        if self._stopping:
            coordinator.stop()
        return coordinator

    async def _open(self, part: int, journal: str) -> Coordinator:
        coordinator = await Coordinator.open(self._log, self._clock, journal)
        if coordinator.fresh:
            # A log that was copied, or that one process coordinated before, has its groups in the other form.
            there = set(await self._log.shards())
            others = [JOURNAL] if part != _ALL else [_journal(each) for each in range(PARTS)]
            for other in there.intersection(others):
                groups = (await Coordinator.read(self._log, other)).groups
                mine = {key: one for key, one in groups.items() if part in (_ALL, part_of(groups_item(key[0])))}
                await coordinator.adopt(mine)
        return coordinator

    def _there(self) -> Iterable[Coordinator]:
        for task in self._opened.values():
            if task.done() and not task.cancelled() and task.exception() is None:
                yield task.result()


def _journal(part: int) -> str:
    return f"{JOURNAL}/{shard_id(part)}"
