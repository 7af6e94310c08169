"""A stream at work: its router, and the gate that appends pass.

A shard that is split or merged ends at an offset that is then in the journal for ever, and no record may land behind it.
So a reshard closes the gate: appends that are under way finish, new ones wait, the ends are read and committed, the gate
opens, and whoever waited finds the new shards. Reads never wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streams.control.stream import Stream
from streams.core.hashing import Router
from streams.core.records import ProducerMark, Records
from streams.log.log import Log
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
        self._appends: dict[asyncio.Task[int], tuple[str, Records]] = {}
        self.gathering = Gathering(self.start)
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
        self._appends[task] = self.ids[route], records
        task.add_done_callback(self._over)
        return task

    def _over(self, append: asyncio.Task[int]) -> None:
        shard, records = self._appends.pop(append)
        # The exception is looked at: its caller may have gone away.
        if not append.cancelled() and append.exception() is None:
            self._metrics.put(self.stream, shard, len(records), records.size)

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
