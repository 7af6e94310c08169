"""A stream at work: its router, and the gate that appends pass.

A shard that is split or merged ends at an offset that is then in the journal for ever, and no record may land behind it.
So a reshard closes the gate: appends that are under way finish, new ones wait, the ends are read and committed, the gate
opens, and whoever waited finds the new shards. Reads never wait.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from streams.control.stream import Stream
from streams.core.hashing import Router
from streams.core.records import ProducerMark, Records
from streams.log.log import Appended, Appends, Log
from streams.operations.gathering import Gathering
from streams.operations.metrics import Metrics


class Live:
    """The open shards of a stream by route, and who is appending to them.

    router   hash key → route
    shards   the open shards by route, as `StreamShard`
    logs     their names in the log
    ids      their AWS ids
    gathering  records that are put one by one
    change   set at the next refresh
    unseen   producer → a sequence from which on no closed shard has taken an append of it
    """

    def __init__(self, log: Log, stream: Stream, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self._open = asyncio.Event()
        self._open.set()
        self._closing = False
        self._held = False
        self._appends: set[asyncio.Future[Any]] = set()
        self.gathering = Gathering(self.append_each)
        self.change = asyncio.Event()
        self.refresh(stream)

    def refresh(self, stream: Stream) -> None:
        """The stream has changed: new routes, and `change` happens."""
        self.gathering.flush()
        self.stream = stream
        self.shards = stream.open_shards()
        self.logs = [stream.log(shard) for shard in self.shards]
        self.ids = [shard.id for shard in self.shards]
        self._turn = 0
        self.router = Router([shard.first_key for shard in self.shards])
        self.unseen: dict[str, int] = {}
        self.change.set()
        self.change = asyncio.Event()

    def spread(self, count: int) -> list[int]:
        """Routes for so many records, evenly over the shards, whatever their keys: RecordDistributionStrategy AUTO."""
        first, shards = self._turn, len(self.shards)
        self._turn = (first + count) % shards
        return [(first + place) % shards for place in range(count)]

    @property
    def open(self) -> bool:
        """Whether appends may start now."""
        return self._open.is_set()

    def hold(self, held: bool) -> None:
        """Whether another process is about to reshard: then appends wait."""
        self._held = held
        self._turn_gate()

    async def enter(self) -> None:
        """Returns when the gate is open. Route and start the appends before the next await."""
        while not self._open.is_set():
            await self._open.wait()

    def start(self, route: int, records: Records, mark: ProducerMark | None = None) -> asyncio.Task[int]:
        """An append under way, whose result is the first offset. Never cancel it: the log may be writing already, and a
        reshard must know when it is over. `asyncio.wait` leaves it alone where its caller goes away."""
        task = asyncio.create_task(self._log.append(self.logs[route], records, mark))

        def over(_: asyncio.Future[int]) -> None:
            self._appends.discard(task)
            # The exception is looked at: its caller may have gone away.
            if not task.cancelled() and task.exception() is None:
                self._metrics.put(self.stream, shard, len(records), records.size)

        shard = self.ids[route]
        self._appends.add(task)
        task.add_done_callback(over)
        return task

    def append_each(self, routes: Sequence[int], ends: Sequence[int], records: Records) -> asyncio.Future[Appends]:
        """As `Log.append_each`, to the shards at the routes. As `start` otherwise."""
        append = self._log.append_each([self.logs[route] for route in routes], ends, records)

        def over(_: asyncio.Future[Appends]) -> None:
            self._appends.discard(append)
            if not append.cancelled() and append.exception() is None:
                self._count([ids[route] for route in routes], ends, records, append.result())

        ids = self.ids
        self._appends.add(append)
        append.add_done_callback(over)
        return append

    def _count(self, shards: Sequence[str], ends: Sequence[int], records: Records, appends: Appends) -> None:
        if not self.stream.metrics and all(isinstance(one, Appended) for one in appends):
            # Counts of the whole stream only.
            self._metrics.put(self.stream, "", len(records), records.size)
            return
        for shard, (first, end), one in zip(shards, itertools.pairwise((0, *ends)), appends, strict=True):
            if isinstance(one, Appended):
                part = records.slice(first, end - first)
                self._metrics.put(self.stream, shard, len(part), part.size)

    @asynccontextmanager
    async def closed_gate(self) -> AsyncIterator[dict[int, int]]:
        """Holds appends back; gives the end of each open shard by index. One at a time."""
        self._closing = True
        self._turn_gate()
        try:
            self.gathering.flush()
            if self._appends:
                await asyncio.wait(self._appends)
            bounds = await asyncio.gather(*(self._log.bounds(name) for name in self.logs))
            yield {shard.index: following for shard, (_, following) in zip(self.shards, bounds, strict=True)}
        finally:
            self._closing = False
            self._turn_gate()

    def _turn_gate(self) -> None:
        if self._closing or self._held:
            self._open.clear()
        else:
            self._open.set()
