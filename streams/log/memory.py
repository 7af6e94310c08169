"""A log in memory: the oracle that the conformance suite compares the other engines with. Nothing outlives `close`."""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Sequence

from streams.core.clock import Clock, SystemClock
from streams.core.errors import LogClosed, OffsetOutOfRange, ShardUnknown
from streams.core.records import Batch, ProducerMark, Records
from streams.log.log import Appended, Appends, side_by_side
from streams.log.marks import Marks
from streams.log.names import check_name
from streams.log.waiting import Waiters


class _Shard:
    """``appends[i]`` begins at offset ``starts[i]``."""

    def __init__(self) -> None:
        self.first = 0
        self.next = 0
        self.starts: list[int] = []
        self.appends: list[Records] = []
        self.arrival_ms = 0
        self.marks = Marks()
        self.waiters = Waiters()


class MemoryLog:
    """See `streams.log.log.Log`."""

    shared = False

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._shards: dict[str, _Shard] = {}
        self._closed = False

    async def create(self, shard: str) -> None:
        self._check_open()
        check_name(shard)
        self._shards.setdefault(shard, _Shard())

    async def append(self, shard: str, records: Records, mark: ProducerMark | None = None) -> int:
        at = self._shard(shard)
        if not len(records):
            return at.next
        if mark is not None:
            seen = at.marks.seen(mark)
            if seen is not None:
                return seen
            at.marks.note(mark, at.next)
        first = at.next
        at.arrival_ms = max(at.arrival_ms, self._clock.now_ms())
        at.starts.append(first)
        at.appends.append(records.with_arrival(at.arrival_ms))
        at.next += len(records)
        at.waiters.wake(at.next)
        return first

    def append_each(self, shards: Sequence[str], ends: Sequence[int], records: Records) -> asyncio.Future[Appends]:
        async def append(shard: str, part: Records) -> Appended:
            first = await self.append(shard, part)
            return Appended(first, int((await self.read(shard, first, 1)).records.arrival_ms()[0]))

        return side_by_side(append, shards, ends, records)

    async def read(self, shard: str, offset: int, size_max: int) -> Batch:
        at = self._shard(shard)
        if not at.first <= offset <= at.next:
            raise OffsetOutOfRange(f"{shard} holds [{at.first}, {at.next}), not {offset}")
        parts: list[Records] = []
        size, position = 0, offset
        for index in range(max(0, bisect.bisect_right(at.starts, offset) - 1), len(at.starts)):
            part = at.appends[index].slice(position - at.starts[index])
            parts.append(part)
            position += len(part)
            size += part.size
            if size >= size_max:
                break
        records = Records.concat(parts) if parts else Records.empty().with_arrival(0)
        if len(records) > 1 and records.size > size_max:
            records = records.slice(0, records.count_within(size_max))
        return Batch(shard, offset, offset + len(records), records)

    async def wait(self, shard: str, offset: int) -> None:
        at = self._shard(shard)
        if offset >= at.next:
            await at.waiters.until(offset)

    async def bounds(self, shard: str) -> tuple[int, int]:
        at = self._shard(shard)
        return at.first, at.next

    async def find(self, shard: str, arrival_ms: int) -> int:
        at = self._shard(shard)
        for start, part in zip(at.starts, at.appends, strict=True):
            if part.arrival_ms()[0] >= arrival_ms:
                return max(start, at.first)
        return at.next

    async def seen(self, shard: str, mark: ProducerMark) -> int | None:
        return self._shard(shard).marks.seen(mark)

    async def trim(self, shard: str, before: int) -> None:
        at = self._shard(shard)
        at.first = max(at.first, min(before, at.next))
        gone = sum(start + len(part) <= at.first for start, part in zip(at.starts, at.appends, strict=True))
        del at.starts[:gone], at.appends[:gone]

    async def drop(self, shard: str) -> None:
        self._check_open()
        gone = self._shards.pop(shard, None)
        if gone is not None:
            gone.waiters.fail(ShardUnknown(f"shard {shard} was dropped"))

    async def shards(self) -> list[str]:
        self._check_open()
        return sorted(self._shards)

    async def close(self) -> None:
        self._closed = True
        for at in self._shards.values():
            at.waiters.fail(LogClosed("the log was closed"))
        self._shards.clear()
        await asyncio.sleep(0)

    def _shard(self, name: str) -> _Shard:
        self._check_open()
        try:
            return self._shards[name]
        except KeyError:
            raise ShardUnknown(f"no shard {name} in this log") from None

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed("the log is closed")
