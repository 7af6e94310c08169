"""Runs one delivery stream: reads its source, processes, buffers, and hands what is due to the delivery.

Reading goes on while a delivery is under way. A delivery that is slow or fails lets the buffer grow up to the process's
bound on memory; then reading waits, and the backlog stays in the log. Whatever goes wrong in between, the driver begins
again from what the journal says is settled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from firehose.book import Book
from firehose.buffer import Buffer, Piece
from firehose.catalog import DeliveryStream
from firehose.configuration import MIB, Destination
from firehose.delivery import PAUSE_S_MAX, Delivery
from firehose.events import Lost, Rebased, SourceSpec
from firehose.memory import Memory
from firehose.pipeline import Pipeline
from streams.core.clock import Clock
from streams.core.records import Batch
from streams.core.shards import Shard
from streams.sdk.client import FETCH_SIZE_MAX, TRIM_HORIZON, Client
from streams.sdk.lineage import Lineage

log = logging.getLogger(__name__)

WAIT_MS = 20_000
"""How long one question for new records stays open."""

RESHARDING_PAUSE_S = 5.0
"""How long to wait for the children of a shard that ended, when they are not listed yet."""


class Driver:
    """`start` it, `stop` it; in between it delivers."""

    def __init__(
        self,
        stream: DeliveryStream,
        destination: Destination,
        client: Client,
        pipeline: Pipeline,
        delivery: Delivery,
        book: Book,
        memory: Memory,
        clock: Clock,
        retry_s: float,
    ) -> None:
        self._stream = stream
        self._destination = destination
        self._client = client
        self._pipeline = pipeline
        self._delivery = delivery
        self._book = book
        self._memory = memory
        self._clock = clock
        self._retry_s = retry_s
        self._size_max = min(FETCH_SIZE_MAX, max(MIB, destination.size_max))
        self._buffer = self._new_buffer()
        self._shards: dict[str, Shard] = {}
        self._in_flight = 0
        self._flush_all = False
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._delivering: asyncio.Task[bool] | None = None

    def start(self) -> None:
        self._memory.register(self, self._relieve)
        self._task = asyncio.create_task(self._run(), name=f"delivery stream {self._stream.name}")

    async def stop(self, drain_s: float = 0.0) -> None:
        """Stops reading; a delivery that is under way gets `drain_s` to end. What is buffered is read again at the next
        start. Raises what the driver died of, if it did."""
        if self._task is None:
            return
        if self._delivering is not None and drain_s > 0:
            await asyncio.wait([self._delivering], timeout=drain_s)
        self._task.cancel()
        try:
            await self._task
        except asyncio.CancelledError:
            pass
        finally:
            self._task = None
            self._memory.forget(self)

    async def _run(self) -> None:
        pause_s = self._retry_s
        while True:
            began_ms = self._clock.now_ms()
            try:
                await self._deliver_forever()
            except Exception as error:
                log.exception("%s: delivery starts again in %.1f s: %s", self._stream.arn, pause_s, error)
            if self._clock.now_ms() - began_ms > PAUSE_S_MAX * 1000:
                pause_s = self._retry_s
            await self._clock.sleep(pause_s)
            pause_s = min(pause_s * 2, max(PAUSE_S_MAX, self._retry_s))

    async def _deliver_forever(self) -> None:
        """Returns only when the records have to be read again from what is settled."""
        self._buffer = self._new_buffer()
        self._account()
        await self._delivery.resume()
        lineage = await self._begin()
        reading: asyncio.Task[list[Piece]] | None = None
        waiting: set[asyncio.Task[Any]] = set()
        try:
            while True:
                self._flush()
                if reading is None and not self._memory.full:
                    reading = asyncio.create_task(self._read(lineage))
                waiting = self._pauses(blocked=reading is None)
                tasks = [task for task in (reading, self._delivering) if task is not None]
                await asyncio.wait([*tasks, *waiting], return_when=asyncio.FIRST_COMPLETED)
                await _cancelled(waiting)
                if self._delivering is not None and self._delivering.done():
                    whole = self._delivering.result()
                    self._delivering = None
                    self._in_flight = 0
                    if not whole:
                        return
                if reading is not None and reading.done():
                    for piece in reading.result():
                        self._buffer.add(piece, self._clock.now_ms())
                    reading = None
                self._account()
        finally:
            await _cancelled([task for task in (reading, self._delivering, *waiting) if task is not None])
            self._delivering = None
            self._in_flight = 0

    def _flush(self) -> None:
        """Hands over what is due, unless a delivery is under way: what has become due meanwhile grows, and goes next."""
        if self._delivering is not None:
            return
        due = self._buffer.partitions() if self._flush_all else self._buffer.due(self._clock.now_ms())
        self._flush_all = False
        if due:
            before = self._buffer.weight
            chunks = self._buffer.take(due)
            self._in_flight = before - self._buffer.weight
            self._delivering = asyncio.create_task(self._delivery.deliver(chunks))

    def _pauses(self, *, blocked: bool) -> set[asyncio.Task[Any]]:
        """What else may wake the loop: the next interval's end, room in memory, a request to flush."""
        pauses: list[Coroutine[Any, Any, Any]] = [self._wait_woken()]
        deadline_ms = self._buffer.deadline_ms()
        if self._delivering is None and deadline_ms is not None:
            pauses.append(self._clock.sleep(max(0.0, (deadline_ms - self._clock.now_ms()) / 1000)))
        if blocked:
            pauses.append(self._memory.room())
        return {asyncio.ensure_future(pause) for pause in pauses}

    async def _wait_woken(self) -> None:
        await self._woken.wait()
        self._woken.clear()

    def _relieve(self) -> None:
        if self._buffer.weight and not self._flush_all:
            self._flush_all = True
            self._woken.set()

    def _account(self) -> None:
        self._memory.hold(self, self._buffer.weight + self._in_flight)

    async def _begin(self) -> Lineage:
        """Positions are those of the journal; a source that was created anew under its name is read from its start."""
        source = self._stream.source
        description = await self._client.describe_stream(source.stream)
        if description.id != source.id:
            log.warning(
                "%s: stream %s is another than before; it is read from its start", self._stream.arn, source.stream
            )
            positions = await self._client.find(source.stream, TRIM_HORIZON)
            renewed = SourceSpec(source.stream, description.id, source.arn, source.role_arn)
            await self._book.commit(Rebased(self._stream.number, renewed, positions))
        lineage = Lineage(self._stream.positions())
        self._shards = {shard.id: shard for shard in description.shards}
        lineage.describe(description.shards)
        return lineage

    async def _read(self, lineage: Lineage) -> list[Piece]:
        """The next records, processed; the lineage's positions move past them."""
        name = self._stream.source.stream
        if not lineage.reading:
            await self._clock.sleep(RESHARDING_PAUSE_S)
            await self._describe(lineage)
            return []
        asked = dict(lineage.reading)
        fetch = await self._client.fetch(name, asked, size_max=self._size_max, wait_ms=WAIT_MS)
        for batch in fetch.batches:
            if batch.first > asked[batch.shard]:
                await self._lost(batch.shard, asked[batch.shard], batch.first)
        active = frozenset(self._buffer.partitions())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._process(batch, active)) for batch in fetch.batches]
        for batch in fetch.batches:
            lineage.advance(batch.shard, batch.next)
        for shard in fetch.ended:
            lineage.end(shard)
        if fetch.ended:
            await self._describe(lineage)
        return [piece for task in tasks for piece in task.result()]

    async def _process(self, batch: Batch, active: frozenset[Any]) -> list[Piece]:
        offsets = np.arange(batch.first, batch.next)
        records = batch.records
        settled = self._stream.ledger(batch.shard).settled(batch.first, batch.next)
        if settled.any():
            left = np.flatnonzero(~settled)
            offsets, records = offsets[left], records.take(pa.array(left))
        if not len(records):
            return []
        return await self._pipeline.process(self._shards[batch.shard], offsets, records, active)

    async def _describe(self, lineage: Lineage) -> None:
        description = await self._client.describe_stream(self._stream.source.stream)
        self._shards = {shard.id: shard for shard in description.shards}
        lineage.describe(description.shards)

    async def _lost(self, shard: str, asked: int, first: int) -> None:
        log.error(
            "%s: %s passed out of retention before it was delivered (%d to %d, %d records lost)",
            *(self._stream.arn, shard, asked, first - 1, first - asked),
        )
        await self._book.commit(Lost(self._stream.number, shard, first))

    def _new_buffer(self) -> Buffer:
        return Buffer(self._destination.size_max, self._destination.interval_ms)


async def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Returns when they have ended; what they raised is not of interest any more."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
