"""A log that other processes append to as well, where a shard ends as the catalog says.

A process that splits or merges knows of its own appends that they are over; of those of others it does not. So it says in
the journal that the stream is *held*, reads the ends, and commits them:

    journal     … ── held ──────────────── split, end = 7 ── …
    shard       … 4  5  6 │ 7'                               7' came behind the end, and is nothing

Whoever has appended looks into the journal before it says so. If a record lies behind the end, the journal said "held"
before the record was there, so that look finds it: the append fails and is tried again, on the new shards. Whoever reads
looks too, and shows nothing behind the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from streams.control.controller import Controller
from streams.control.following import Following
from streams.control.stream import ORIGIN, Stream, StreamShard
from streams.core.errors import HeadraceError, ShardClosed
from streams.core.records import Batch, ProducerMark, Records
from streams.log.log import Appended, Appends, SharedLog

_ENDED = "{shard} ended at {end} while records were appended to it"


class FencedLog:
    """See `streams.log.log.Log`; `by` names this process."""

    shared = True

    def __init__(self, log: SharedLog, controller: Controller, following: Following, by: str) -> None:
        self._log = log
        self._controller = controller
        self._following = following
        self._by = by
        self._read_to: dict[str, int] = {}
        """Offsets below which nothing can lie behind an end, of the shards that are read."""

    async def create(self, shard: str) -> None:
        await self._log.create(shard)

    async def append(self, shard: str, records: Records, mark: ProducerMark | None = None) -> int:
        """Raises `ShardClosed`, beside what the log raises."""
        offset = await self._log.append(shard, records, mark, packed=self._packed(shard))
        await self._settled(shard)
        end = self._end(shard)
        if end is not None and offset >= end:
            raise ShardClosed(_ENDED.format(shard=shard, end=end))
        return offset

    def append_each(self, shards: Sequence[str], ends: Sequence[int], records: Records) -> asyncio.Future[Appends]:
        """The shards are those of one stream."""
        return asyncio.ensure_future(self._append_each(shards, ends, records))

    async def _append_each(self, shards: Sequence[str], ends: Sequence[int], records: Records) -> Appends:
        appends = await self._log.append_each(shards, ends, records, packed=self._packed(shards[0]))
        try:
            await self._settled(shards[0])
        except HeadraceError as error:
            return [error] * len(shards)
        return [self._within(shard, appended) for shard, appended in zip(shards, appends, strict=True)]

    def _within(self, shard: str, appended: Appended | HeadraceError) -> Appended | HeadraceError:
        """That the shard ended, where the append came behind its end."""
        end = self._end(shard)
        if isinstance(appended, HeadraceError) or end is None or appended.first < end:
            return appended
        return ShardClosed(_ENDED.format(shard=shard, end=end))

    async def read(self, shard: str, offset: int, size_max: int) -> Batch:
        end = self._end(shard)
        if end is not None and offset >= end:
            return Batch(shard, offset, offset, Records.empty().with_arrival(0))
        batch = await self._log.read(shard, offset, size_max)
        if end is None and batch.next > self._read_to.get(shard, 0) and shard.startswith(ORIGIN):
            await self._settled(shard)
            end = self._end(shard)
            self._read_to[shard] = batch.next
        if end is None or batch.next <= end:
            return batch
        return Batch(shard, offset, max(end, offset), batch.records.slice(0, max(0, end - offset)))

    async def wait(self, shard: str, offset: int) -> None:
        await self._log.wait(shard, offset)

    async def bounds(self, shard: str) -> tuple[int, int]:
        first, next_ = await self._log.bounds(shard)
        return first, self._cut(shard, next_)

    async def find(self, shard: str, arrival_ms: int) -> int:
        return self._cut(shard, await self._log.find(shard, arrival_ms))

    async def seen(self, shard: str, mark: ProducerMark) -> int | None:
        found = await self._log.seen(shard, mark)
        end = self._end(shard)
        return None if found is None or (end is not None and found >= end) else found

    async def trim(self, shard: str, before: int) -> None:
        await self._log.trim(shard, before)

    async def drop(self, shard: str) -> None:
        self._read_to.pop(shard, None)
        await self._log.drop(shard)

    async def shards(self) -> list[str]:
        return await self._log.shards()

    async def close(self) -> None:
        await self._log.close()

    async def _settled(self, shard: str) -> None:
        """The catalog says what became of everything that was held before this was called."""
        stream_id = _stream_of(shard)
        if stream_id is None:
            return
        await self._following.current()
        while True:
            held = self._controller.catalog.held.get(stream_id)
            if held is None or held.by == self._by:
                return
            await self._following.change.wait()  # which comes in any case: `Holding` sees to it

    def _cut(self, shard: str, offset: int) -> int:
        end = self._end(shard)
        return offset if end is None else min(offset, end)

    def _end(self, shard: str) -> int | None:
        found = self._shard(shard)
        return None if found is None else found.end

    def _packed(self, shard: str) -> bool:
        stream = self._stream(shard)
        return stream is not None and stream.packed

    def _stream(self, shard: str) -> Stream | None:
        stream_id = _stream_of(shard)
        return None if stream_id is None else self._controller.catalog.by_id(stream_id)

    def _shard(self, shard: str) -> StreamShard | None:
        stream = self._stream(shard)
        if stream is None:
            return None
        index = int(shard.rpartition("-")[2])
        return next((one for one in stream.shards if one.index == index), None)


def _stream_of(shard: str) -> str | None:
    return shard.split("/")[1] if shard.startswith(ORIGIN) else None
