"""SubscribeToShard: records pushed to a consumer as they arrive, for five minutes. Nothing is polled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from streams.control.resources import find_consumer
from streams.control.stream import Stream, StreamConsumer, StreamShard
from streams.core.errors import DryRunOperation, LogClosed, ResourceInUse, ResourceNotFound, ShardUnknown
from streams.core.scope import Scope
from streams.core.sequence import SequenceNumber
from streams.core.shards import shard_id
from streams.core.waits import first
from streams.operations import guard
from streams.operations.addressing import find_shard
from streams.operations.context import Context
from streams.operations.fanout import Event
from streams.operations.iterators import DRY_RUN, Place, position_of
from streams.operations.reading import read
from streams.operations.records import behind_ms, child_reply, record_replies

EVENT_SIZE_MAX = 1 << 20
"""Bytes of keys and data in one event. A single larger record is an event of its own."""

HEARTBEAT_MS = 5_000
"""An event at least so often, empty if need be: clients give up a silent connection after 30 seconds."""


class Subscription(AsyncIterator[Event]):
    """One consumer at one shard. Iterate it; an error that it raises is told in the stream, as the last message. `close`
    it when the reader has gone."""

    def __init__(self, context: Context, stream: Stream, consumer: StreamConsumer, shard: StreamShard) -> None:
        self.key = consumer.arn, shard.index
        self.log = stream.log(shard)
        self.began_ms = context.now_ms()
        self.wake = asyncio.Event()
        self.superseded = False
        self._context = context
        self._position = 0
        self._end_ms = self.began_ms + round(context.settings.subscription_s * 1000)
        self._due_ms = 0
        self._timer: asyncio.Task[None] | None = None
        self._ended = False

    def begin(self, position: int) -> None:
        """Raises `ResourceInUse`, see `Fanout.begin`."""
        context = self._context
        context.fanout.begin(self, position, context.now_ms(), strict=context.throttles.on)
        self._position = position
        self._due_ms = min(self._end_ms, context.now_ms() + HEARTBEAT_MS)
        self._timer = asyncio.create_task(self._tick())

    def close(self) -> None:
        """Whoever read it has gone. Closing twice does nothing."""
        self._ended = True
        self._context.fanout.end(self)
        if self._timer is not None:
            self._timer.cancel()

    async def __anext__(self) -> Event:
        if self._ended:
            raise StopAsyncIteration
        try:
            event = await self._next()
        except ShardUnknown:
            self.close()
            raise ResourceNotFound(f"Consumer {self.key[0]} not found.") from None
        except LogClosed:
            event = None
        except BaseException:
            self.close()
            raise
        if event is None:
            self.close()
            raise StopAsyncIteration
        self._due_ms = min(self._end_ms, self._context.now_ms() + HEARTBEAT_MS)
        return event

    async def _next(self) -> Event | None:
        """None at the end of its time."""
        context = self._context
        while True:
            # Before anything is looked at: what happens from now on sets it again.
            self.wake.clear()
            now_ms = context.now_ms()
            if context.fanout.stopping or now_ms >= self._end_ms:
                return None
            if self.superseded:
                raise ResourceInUse(
                    f"Another subscription has taken over for this consumer: {self.key[0]} and shard {shard_id(self.key[1])}."
                )
            stream, consumer = find_consumer(context.catalog, self.key[0], now_ms)
            if consumer.gone_ms is not None:
                raise ResourceNotFound(f"Consumer {self.key[0]} not found.")
            shard = find_shard(stream, self.key[1], now_ms)
            if shard.end is not None and self._position >= shard.end:
                self.close()
                children = [child_reply(child) for child in stream.children(shard.index)]
                return Event({"Records": [], "MillisBehindLatest": 0, "ChildShards": children}, shard.end, now_ms)
            _, tip = await context.log.bounds(self.log)
            wait_s = context.throttles.push_wait_s(self.key[0], self.log)
            if wait_s and self._position < tip:
                await first(self.wake.wait(), context.clock.sleep(wait_s))
            elif self._position < tip:
                read = partial(self._read, stream, shard, self._position, tip, now_ms)
                event = await context.fanout.share(self.log, self._position, now_ms, read)
                self._position = event.next
                if event.reply["Records"]:
                    context.throttles.pushed(self.key[0], self.log, event.size)
                    context.metrics.got(
                        stream, shard.id, len(event.reply["Records"]), event.size, event.reply["MillisBehindLatest"]
                    )
                    context.lag.seen(stream, shard.id, event.reply["MillisBehindLatest"])
                    return event
            elif now_ms >= self._due_ms:
                return self._empty(shard, now_ms)
            else:
                await self.wake.wait()

    async def _tick(self) -> None:
        """Wakes it when an event is due, or its time is over."""
        clock = self._context.clock
        while True:
            await clock.sleep(max(self._due_ms - clock.now_ms(), 1) / 1000)
            if clock.now_ms() >= self._due_ms:
                self.wake.set()

    async def _read(self, stream: Stream, shard: StreamShard, position: int, tip: int, now_ms: int) -> Event:
        batch = await read(self._context, stream, shard, position, EVENT_SIZE_MAX)
        count = min(len(batch), batch.records.count_within(EVENT_SIZE_MAX))
        following = batch.first + count
        arrival_s = int(batch.records.arrival_ms()[count - 1]) // 1000 if count else now_ms // 1000
        reply = {
            "Records": record_replies(stream, shard, batch, count),
            "ContinuationSequenceNumber": _number(shard, following, arrival_s),
            "MillisBehindLatest": behind_ms(batch, count, now_ms) if following < tip else 0,
        }
        return Event(reply, max(following, position), now_ms, batch.records.slice(0, count).size)

    def _empty(self, shard: StreamShard, now_ms: int) -> Event:
        number = _number(shard, self._position, now_ms // 1000)
        reply = {"Records": [], "ContinuationSequenceNumber": number, "MillisBehindLatest": 0}
        return Event(reply, self._position, now_ms)


async def subscribe_to_shard(context: Context, request: Any, scope: Scope) -> Subscription:
    """The subscription, which has begun."""
    now_ms = context.now_ms()
    stream, consumer = find_consumer(context.catalog, request.consumer_arn, now_ms)
    shard = find_shard(stream, request.shard_id, now_ms)
    if consumer.status(now_ms) != "ACTIVE":
        raise ResourceInUse(f"Consumer {consumer.arn} is not ACTIVE, instead in state {consumer.status(now_ms)}.")
    if context.guarded:
        await guard.subscribe_to_shard(context, stream, shard)
    start = request.starting_position
    place = Place(start.type, start.sequence_number, start.timestamp)
    position = await position_of(context, "SubscribeToShard", place, stream, shard, now_ms)
    if request.dry_run:
        raise DryRunOperation(DRY_RUN)
    subscription = Subscription(context, stream, consumer, shard)
    subscription.begin(position)
    return subscription


def _number(shard: StreamShard, position: int, arrival_s: int) -> str:
    """A number after which the record at `position` is the next, whether there is one before it or not."""
    return str(SequenceNumber(shard.sequence_ms // 1000, shard.index, position, arrival_s))
