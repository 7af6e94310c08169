"""What a queue draws on: its stream, as far as it is there."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from streams.control.queue import Queue, QueueAttributes
from streams.control.stream import Stream, StreamShard
from streams.core.errors import ShardUnknown
from streams.core.records import Batch
from streams.operations.context import Context
from streams.operations.reading import read
from streams.operations.waits import arrival
from streams.queues.dispatcher import Dispatcher
from streams.queues.supply import Shard


class StreamSource:
    """`streams.queues.supply.Source` over a queue's stream."""

    def __init__(self, context: Context, queue: Queue) -> None:
        self.start_ms = queue.start_ms if queue.position == "AT_TIMESTAMP" else 0
        self._context = context
        self._queue = queue
        self._seen: Stream | None = None
        self._shards: list[Shard] = []

    def attributes(self) -> QueueAttributes:
        return self._context.catalog.queues.get(self._queue.id, self._queue).attributes

    def shards(self) -> Sequence[Shard]:
        stream = self._stream()
        if stream is not self._seen:
            self._seen = stream
            there = stream.visible_shards(self._context.now_ms()) if stream is not None else []
            self._shards = [Shard(shard.index, stream.log(shard), shard.end) for shard in there if stream is not None]
        return self._shards

    async def read(self, shard: int, position: int, size_max: int) -> Batch:
        stream, found = self._find(shard)
        return await read(self._context, stream, found, position, size_max)

    async def horizon(self, shard: int) -> int | None:
        try:
            stream, found = self._find(shard)
            return await self._context.log.find(stream.log(found), stream.horizon_ms(self._context.now_ms()))
        except ShardUnknown:
            return None

    async def tip(self, shard: Shard) -> int:
        return (await self._context.log.bounds(shard.log))[1] if shard.end is None else shard.end

    def arrival(self, shard: Shard, offset: int) -> Coroutine[Any, Any, Any]:
        return arrival(self._context.log, shard.log, offset)

    def change(self) -> Coroutine[Any, Any, Any]:
        stream = self._stream()
        assert stream is not None, "a stream lives longer than its queues"
        return self._context.live(stream).change.wait()

    def _stream(self) -> Stream | None:
        return self._context.catalog.by_id(self._queue.stream_id)

    def _find(self, shard: int) -> tuple[Stream, StreamShard]:
        stream = self._stream()
        found = None if stream is None else stream.shard_at(shard, self._context.now_ms())
        if stream is None or found is None:
            raise ShardUnknown(f"shard {shard} of stream {self._queue.stream_name}")
        return stream, found


async def dispatcher_of(context: Context, queue: Queue) -> Dispatcher:
    return await context.queues.dispatcher(queue, lambda: StreamSource(context, queue))
