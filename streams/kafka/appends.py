"""Appends to one shard: what waits goes into one record batch, one batch at a time, in order.

    append ──▶ waiting ──▶ [ marks caught up ] ──▶ a batch, packed or plain ──▶ acks=all ──▶ first offsets

One batch under way keeps the order whatever fails, and what arrives meanwhile shares the next one: the slower the brokers,
the larger the batches. aiokafka repeats a batch with its sequence until a broker has taken it once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiokafka.errors import KafkaError

from streams.core.clock import Clock
from streams.core.errors import HeadraceError, LogUnreachable
from streams.core.records import ProducerMark, Records
from streams.kafka.batches import Outgoing
from streams.kafka.cluster import PATIENCE_S
from streams.kafka.codec import plain
from streams.kafka.packing import packed
from streams.kafka.past import Past
from streams.kafka.places import Place
from streams.kafka.producers import Producers
from streams.log.log import Appended

_logger = logging.getLogger(__name__)

GATHER_SIZE_MAX = 4 << 20
"""Bytes of appends that share a batch."""

BUILD_INLINE_MAX = 64 << 10
"""Bytes up to which a batch is made on the event loop: handing it to a thread costs as much."""

Taken = Callable[[int, Records], None]
"""Told of records that are in the log: their first offset, and they with their arrival."""


@dataclass(slots=True, eq=False)
class _Append:
    records: Records
    mark: ProducerMark | None
    packed: bool
    first: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    arrival_ms: int = 0


class Appends:
    """Of the shard at `place`. `past` knows what is there already."""

    def __init__(self, shard: str, place: Place, producers: Producers, past: Past, clock: Clock, taken: Taken) -> None:
        self._shard = shard
        self._place = place
        self._producers = producers
        self._past = past
        self._clock = clock
        self._taken = taken
        self._waiting: deque[_Append] = deque()
        self._task: asyncio.Task[None] | None = None

    async def append(self, records: Records, mark: ProducerMark | None, packed: bool = False) -> Appended:
        """Where it lies; of an append that was there already, when it arrived is not said (0). Raises `LogUnreachable` after
        `PATIENCE_S`."""
        one = _Append(records, mark, packed)
        self._waiting.append(one)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        done, _ = await asyncio.wait([one.first], timeout=PATIENCE_S)
        if not done:
            if one in self._waiting:
                self._waiting.remove(one)
            one.first.cancel()
            raise LogUnreachable(f"{self._shard}: Kafka has not taken records within {PATIENCE_S:g} s")
        return Appended(one.first.result(), one.arrival_ms)

    def fail(self, error: HeadraceError) -> None:
        """Nothing that waits is sent any more."""
        while self._waiting:
            _settle_error(self._waiting.popleft(), error)

    async def idle(self) -> None:
        """Returns when nothing is under way."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # all that comes in this turn of the loop shares the batch
                batch = self._take()
                try:
                    await self._write(batch)
                except HeadraceError as error:
                    _settle_errors(batch, error)
                except Exception as error:
                    _logger.exception("%s: an append", self._shard)
                    _settle_errors(batch, LogUnreachable(f"{self._shard}: {error!r}"))
        finally:
            self._task = None

    def _take(self) -> list[_Append]:
        taken: list[_Append] = []
        size = 0
        while self._waiting:
            one = self._waiting[0]
            if taken and (size + one.records.size > GATHER_SIZE_MAX or one.packed != taken[0].packed):
                break
            self._waiting.popleft()
            size += one.records.size
            taken.append(one)
        return taken

    async def _write(self, batch: Sequence[_Append]) -> None:
        if any(one.mark is not None for one in batch):
            await self._past.catch_up()
            await self._past.remember(self._clock.now_ms())
        arrival_ms = max(await self._past.arrival_ms(), self._clock.now_ms())
        fresh: list[tuple[_Append, int]] = []
        again: list[tuple[_Append, int]] = []
        inside: dict[str, tuple[int, int]] = {}
        count = 0
        for one in batch:
            mark = one.mark
            if mark is not None:
                seen = self._past.marks.seen(mark)
                if seen is not None:
                    _settle(one, seen)
                    continue
                before = inside.get(mark.producer)
                if before is not None and mark.sequence <= before[0]:
                    again.append((one, before[1]))
                    continue
                inside[mark.producer] = (mark.sequence, count)
            fresh.append((one, count))
            count += len(one.records)
        if not fresh:
            return
        records = Records.concat([one.records for one, _ in fresh])
        marks = [(one.mark, at) for one, at in fresh if one.mark is not None]
        first = await self._send(await self._built(records, arrival_ms, marks, batch[0].packed))
        self._past.extend(first, count, arrival_ms, [(mark, first + at) for mark, at in marks])
        self._taken(first, records.with_arrival(arrival_ms))
        for one, at in [*fresh, *again]:
            one.arrival_ms = arrival_ms
            _settle(one, first + at)

    async def _built(
        self, records: Records, arrival_ms: int, marks: list[tuple[ProducerMark, int]], pack: bool
    ) -> Outgoing:
        compression = self._producers.compression
        make = packed if pack else plain
        if records.size <= BUILD_INLINE_MAX:
            return make(records, arrival_ms, marks, compression)
        return await asyncio.to_thread(make, records, arrival_ms, marks, compression)

    async def _send(self, batch: Outgoing) -> int:
        try:
            return await self._producers.send(batch, self._place)
        except KafkaError as error:
            raise LogUnreachable(f"{self._shard}: Kafka has not taken records: {error!r}") from error


def _settle(one: _Append, first: int) -> None:
    if not one.first.done():
        one.first.set_result(first)


def _settle_error(one: _Append, error: HeadraceError) -> None:
    if not one.first.done():
        one.first.set_exception(type(error)(error.message))


def _settle_errors(batch: Sequence[_Append], error: HeadraceError) -> None:
    for one in batch:
        _settle_error(one, error)
