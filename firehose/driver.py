"""Runs one lane of a delivery stream: reads its source, processes, buffers, and hands what is due to the delivery.

Reading goes on while a delivery is under way. A delivery that is slow or fails lets the buffer grow up to the process's
bound on memory; then reading waits, and the backlog stays in the log. Whatever goes wrong in between, the driver begins
again from what the journal says is settled. Where more partitions are allowed than memory is meant for, what is buffered goes
to disk instead of growing, up to a bound of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from firehose.book import Book
from firehose.buffer import DATA, DROPPED, Buffer, Chunk, Piece
from firehose.configuration import Destination
from firehose.delivery import PAUSE_S_MAX, Delivery
from firehose.memory import Memory
from firehose.meters import Meter
from firehose.pipeline import Pipeline
from firehose.source import Source, Unsettled
from firehose.spill import Spill
from firehose.stream import Lane
from firehose.threads import to_its_end
from streams.core.clock import Clock

log = logging.getLogger(__name__)

PROCESSING_MAX = 2
"""Reads that are processed at once, each of up to 8 MB: the next keeps the function's processes busy while the last one's
answers are sorted out."""


PLAN_MAX = 1_000
"""Partitions that are delivered together: the journal takes a plan of them at once, and their files wait side by side."""


class Driver:
    """`spill`, where there is one, takes what is buffered when memory is full, within the bound of `disk`. `start` it, `stop` it; in between it delivers."""

    def __init__(
        self,
        lane: Lane,
        destination: Destination,
        source: Source,
        pipeline: Pipeline,
        delivery: Delivery,
        book: Book,
        memory: Memory,
        clock: Clock,
        retry_s: float,
        meter: Meter,
        spill: Spill | None = None,
        disk: Memory | None = None,
    ) -> None:
        self._lane = lane
        self._destination = destination
        self._source = source
        self._pipeline = pipeline
        self._delivery = delivery
        self._book = book
        self._memory = memory
        self._clock = clock
        self._retry_s = retry_s
        self._meter = meter
        self._spill = spill
        self._disk = disk
        self._buffer = self._new_buffer()
        self._in_flight = 0
        self._taken: list[Chunk] = []
        self._oldest_ms: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._delivering: asyncio.Task[bool] | None = None

    @property
    def trouble(self) -> str | None:
        """Why the source cannot be read now."""
        return self._source.trouble

    def start(self) -> None:
        self._memory.register(self)
        if self._disk is not None:
            self._disk.register(self)
        self._task = asyncio.create_task(self._run(), name=f"delivery stream {self._lane.name}")

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
            if self._disk is not None:
                self._disk.forget(self)

    async def _run(self) -> None:
        pause_s = self._retry_s
        while True:
            began_ms = self._clock.now_ms()
            try:
                await self._deliver_forever()
            except Exception as error:
                log.exception("%s: delivery starts again in %.1f s: %s", self._lane.title, pause_s, error)
            if self._clock.now_ms() - began_ms > PAUSE_S_MAX * 1000:
                pause_s = self._retry_s
            await self._clock.sleep(pause_s)
            pause_s = min(pause_s * 2, max(PAUSE_S_MAX, self._retry_s))

    async def _deliver_forever(self) -> None:
        """Returns only when the records have to be read again from what is settled."""
        self._buffer = self._new_buffer()
        if self._spill is not None:
            await to_its_end(self._spill.begin)
        self._account()
        # A plan that was on its way into the journal when the last run ended must be seen, or it would come out twice.
        await self._book.quiet()
        await self._delivery.resume()
        await self._source.open()
        reading: asyncio.Task[list[Unsettled]] | None = None
        processing: deque[asyncio.Task[list[Piece]]] = deque()
        waiting: set[asyncio.Task[Any]] = set()
        try:
            while True:
                await self._make_room()
                self._flush()
                if reading is None and len(processing) < PROCESSING_MAX and self._memory.room(self):
                    reading = asyncio.create_task(self._source.read())
                waiting = self._pauses()
                tasks = (reading, self._delivering, *itertools.islice(processing, 1))
                running = [task for task in tasks if task is not None]
                await asyncio.wait([*running, *waiting], return_when=asyncio.FIRST_COMPLETED)
                await _cancelled(waiting)
                if self._delivering is not None and self._delivering.done():
                    whole = self._delivering.result()
                    self._delivering = None
                    self._in_flight = 0
                    if self._spill is not None:
                        self._spill.release(self._taken)
                    self._taken = []
                    if not whole:
                        return
                if reading is not None and reading.done():
                    processing.append(asyncio.create_task(self._process(reading.result())))
                    reading = None
                while processing and processing[0].done():
                    for piece in processing.popleft().result():
                        self._buffer.add(piece, self._clock.now_ms())
                        if piece.partition.kind not in (DATA, DROPPED):
                            self._meter.failed[piece.partition.kind] += len(piece.offsets)
                self._account()
        finally:
            rest = (reading, self._delivering, *processing, *waiting)
            await _cancelled([task for task in rest if task is not None])
            await self._source.close()
            self._delivering = None
            self._in_flight = 0
            self._taken = []

    async def _make_room(self) -> None:
        """Moves what is buffered to disk, if memory is full and the disk may take it."""
        if self._spill is None or self._disk is None or self._memory.room(self) or not self._disk.room(self):
            return
        chunks = self._buffer.in_memory()
        if not chunks:
            return
        try:
            await to_its_end(self._spill.write, chunks)
        except OSError as error:
            # Then memory stays full, and everything is due.
            log.warning("%s: partitions cannot be kept on disk: %s", self._lane.title, error)
            return
        if self._delivering is not None:
            # Records on their way share memory with what was written: all of it stays until they have arrived.
            self._in_flight = max(self._in_flight, self._buffer.weight)
        self._buffer.unloaded()
        self._account()

    def _flush(self) -> None:
        """Hands over what is due, unless a delivery is under way: what has become due meanwhile grows, and goes next.
        Where there is no room to read more, everything is due."""
        if self._delivering is not None:
            return
        full = not self._memory.room(self)
        due = self._buffer.partitions() if full else self._buffer.due(self._clock.now_ms())
        if due:
            chunks = self._buffer.take(due[:PLAN_MAX])
            self._in_flight = sum(chunk.weight for chunk in chunks)
            self._taken = chunks
            self._oldest_ms = min(chunk.oldest_ms for chunk in chunks)
            self._delivering = asyncio.create_task(self._delivery.deliver(chunks))

    def _pauses(self) -> set[asyncio.Task[Any]]:
        """What else may wake the loop: the end of the next interval."""
        deadline_ms = self._buffer.deadline_ms()
        if self._delivering is not None or deadline_ms is None:
            return set()
        pause_s = max(0.0, (deadline_ms - self._clock.now_ms()) / 1000)
        return {asyncio.ensure_future(self._clock.sleep(pause_s))}

    def _account(self) -> None:
        self._memory.hold(self, self._buffer.weight + self._in_flight)
        if self._spill is not None and self._disk is not None:
            self._disk.hold(self, self._spill.size)
        meter, times = self._meter, [self._buffer.oldest_ms(), self._oldest_ms if self._in_flight else None]
        meter.buffered = self._buffer.weight + self._in_flight
        meter.spilled = 0 if self._spill is None else self._spill.size
        meter.partitions = len(self._buffer)
        meter.oldest_ms = min((at_ms for at_ms in times if at_ms is not None), default=None)

    async def _process(self, found: Sequence[Unsettled]) -> list[Piece]:
        active = frozenset(self._buffer.partitions())
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._pipeline.process(part.shard, part.offsets, part.records, active))
                for part in found
            ]
        return [piece for task in tasks for piece in task.result()]

    def _new_buffer(self) -> Buffer:
        output = self._destination.output
        return Buffer(output.size_max, output.interval_ms, shared=self._spill is not None)


async def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Returns when they have ended; what they raised is not of interest any more."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
