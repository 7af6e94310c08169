"""The supply: what of a queue's records is there to be received, with its data. Only the dispatcher's pump draws on it.

Records that are visible again come before those that were never received, which are read ahead, from the shards in turn.
Nothing is received until `give`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Protocol

from streams.control.queue import QueueAttributes
from streams.control.store import Store
from streams.core.clock import Clock
from streams.core.errors import ShardUnknown
from streams.core.records import Batch
from streams.queues.events import Died, Passed, Received, Run, Settled, runs_of
from streams.queues.state import Out, State

_logger = logging.getLogger(__name__)

OUT_MAX = 500_000
"""Records that are out at a time, dead letters included: some 100 bytes each. Further ones wait in the stream."""

ANSWER_SIZE_MAX = 10 << 20
"""Bytes of data in one answer, but for one larger record: AWS's bound of GetRecords."""

READ_SIZE = 128 << 10
"""Bytes read ahead of a shard."""

FRESH_MS = 1000
"""How long what was read ahead is good: retention may have passed it by then."""

PURGE_MS = 60_000
"""How often records that are out and have aged out are looked for."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard of the queue's stream: its index, its name in the log, its end where it has one."""

    index: int
    log: str
    end: int | None


class Source(Protocol):
    """The queue's stream."""

    start_ms: int
    """What arrived before is not delivered."""

    def attributes(self) -> QueueAttributes: ...

    def shards(self) -> Sequence[Shard]:
        """Those that are there."""
        ...

    async def read(self, shard: int, position: int, size_max: int) -> Batch:
        """From `position` or the first record that has not aged out. Raises `ShardUnknown` where the shard is gone."""
        ...

    async def horizon(self, shard: int) -> int | None:
        """The first offset that has not aged out; None where the shard is gone."""
        ...

    async def tip(self, shard: Shard) -> int:
        """The offset that the next record gets, or its end."""
        ...

    def arrival(self, shard: Shard, offset: int) -> Coroutine[Any, Any, Any]:
        """Returns when there is a record at `offset`, or none can be any more."""
        ...

    def change(self) -> Coroutine[Any, Any, Any]:
        """Returns when the stream has other shards than now."""
        ...


class Given(NamedTuple):
    """A received record. `number` tells this delivery of it from others."""

    shard: int
    offset: int
    key: str
    data: bytes
    arrival_ms: int
    number: int
    receives: int
    first_ms: int


class Row(NamedTuple):
    shard: int
    offset: int
    key: str
    data: bytes
    arrival_ms: int


@dataclass(slots=True)
class _Ahead:
    """Rows of a shard from its cursor on, read at `read_ms`."""

    rows: deque[Row]
    read_ms: int


class Supply:
    """`full` while no new records are given, because so many are out."""

    def __init__(self, store: Store[State], source: Source, clock: Clock) -> None:
        self.full = False
        self._store = store
        self._state = store.state
        self._source = source
        self._clock = clock
        self._ahead: dict[int, _Ahead] = {}
        self._turn = 0
        self._purged_ms = clock.now_ms()

    async def take(self, limit: int, dead: bool) -> tuple[list[Out], list[Row]]:
        """Up to `limit` records, of the dead letters if `dead`, and which of them were out before: give them, or give
        them back, before the next await. Raises `LogError`."""
        self._due()
        if self._clock.now_ms() >= self._purged_ms + PURGE_MS:
            await self._purge()
        again = await self._again(limit, dead)
        new: list[Row] = []
        if not dead and len(again) < limit:
            try:
                new = await self._new(limit - len(again), sum(len(row.data) for _, row in again))
            except BaseException:
                self._state.give_back([one for one, _ in again])
                raise
        # Somebody may have acknowledged a record meanwhile, by the handle of its last delivery.
        again = [(one, row) for one, row in again if self._stands(one)]
        return [one for one, _ in again], [*(row for _, row in again), *new]

    def give_back(self, taken: list[Out]) -> None:
        self._state.give_back(taken)

    def give(self, rows: list[Row], visibility_ms: int | None) -> list[Given]:
        """They are received now, and in flight for so long (None: as the queue says). Recorded, not yet durable."""
        now_ms = self._clock.now_ms()
        if visibility_ms is None:
            visibility_ms = self._source.attributes().visibility_s * 1000
        self._store.record(Received(runs_of([(row.shard, row.offset) for row in rows]), now_ms, now_ms + visibility_ms))
        given = []
        for row in rows:
            ahead = self._ahead.get(row.shard)
            if ahead is not None and ahead.rows and ahead.rows[0] is row:
                ahead.rows.popleft()
            delivery = self._state.find(row.shard, row.offset)
            assert delivery is not None, "what was just received"
            given.append(Given(*row, delivery.number, delivery.receives, delivery.first_ms))
        return given

    def forget(self) -> None:
        """What was read ahead."""
        self._ahead.clear()

    def _due(self) -> None:
        now_ms = self._clock.now_ms()
        dying = self._state.due(now_ms, self._source.attributes().receives_max)
        if dying:
            self._store.record(Died(runs_of([(shard, offset) for shard, offset, _ in dying])))
            self._state.due(now_ms, None)

    async def _purge(self) -> None:
        """Settles what has aged out: nobody receives it any more, so nobody else would notice."""
        self._purged_ms = self._clock.now_ms()
        for shard in list(self._state.out):
            horizon = await self._source.horizon(shard)
            gone = [(shard, offset) for offset in self._state.out.get(shard, ()) if horizon is None or offset < horizon]
            if gone:
                self._store.record(Settled(runs_of(gone)))

    async def _again(self, limit: int, dead: bool) -> list[tuple[Out, Row]]:
        """Visible records that were received before, with their data; those that aged out are settled, and those for
        which the answer has no room are given back."""
        taken = self._state.take(limit, dead)
        by_place = {(one.shard, one.offset): one for one in taken}
        found: list[tuple[Out, Row]] = []
        gone: list[tuple[int, int]] = []
        size = 0
        try:
            for run in runs_of(list(by_place)):
                rows, room = await self._read_run(run), True
                for row in rows:
                    room = not found or size + len(row.data) <= ANSWER_SIZE_MAX
                    if not room:
                        break
                    size += len(row.data)
                    found.append((by_place.pop((row.shard, row.offset)), row))
                if not room:
                    break
                there = {row.offset for row in rows}
                shard, begin, count = run
                gone += [(shard, offset) for offset in range(begin, begin + count) if offset not in there]
        except BaseException:
            self._state.give_back(taken)
            raise
        if gone:
            self._store.record(Settled(runs_of(gone)))
        self._state.give_back([one for one in by_place.values() if self._stands(one)])
        return found

    def _stands(self, one: Out) -> bool:
        """Whether the record is still as it was when it was taken."""
        return self._state.find(one.shard, one.offset) is one.delivery

    async def _read_run(self, run: Run) -> list[Row]:
        """Those of the run's records that have not aged out."""
        shard, position, count = run
        end = position + count
        rows: list[Row] = []
        while position < end:
            try:
                batch = await self._source.read(shard, position, 1 if end - position == 1 else READ_SIZE)
            except ShardUnknown:
                break
            if not len(batch) or batch.first >= end:
                break
            rows += _rows(shard, batch, end - batch.first)
            position = batch.next
        return rows

    async def _new(self, limit: int, size: int) -> list[Row]:
        """Up to `limit` records that were never received, in an answer that has `size` bytes already."""
        if self._state.count >= OUT_MAX:
            if not self.full:
                _logger.warning("a queue has %d records out, the most at a time: further ones wait", OUT_MAX)
            self.full = True
            return []
        self.full = False
        shards = self._source.shards()
        rows: list[Row] = []
        for place in range(len(shards)):
            shard = shards[(self._turn + place) % len(shards)]
            ahead = await self._ahead_of(shard)
            for row in islice(ahead.rows, limit - len(rows)) if ahead is not None else ():
                if size and size + len(row.data) > ANSWER_SIZE_MAX:
                    return rows
                size += len(row.data)
                rows.append(row)
            if len(rows) >= limit:
                self._turn = (self._turn + place + 1) % len(shards)
                break
        return rows

    async def _ahead_of(self, shard: Shard) -> _Ahead | None:
        """What there is from the shard's cursor on; None where it is at its tip."""
        now_ms = self._clock.now_ms()
        ahead = self._ahead.get(shard.index)
        if ahead is not None and ahead.rows and 0 <= now_ms - ahead.read_ms < FRESH_MS:
            return ahead
        self._ahead.pop(shard.index, None)
        cursor = self._state.cursor(shard.index)
        try:
            if cursor >= await self._source.tip(shard):
                return None
            batch = await self._source.read(shard.index, cursor, READ_SIZE)
        except ShardUnknown:
            return None
        rows = deque(_rows(shard.index, batch, len(batch)))
        while rows and rows[0].arrival_ms < self._source.start_ms:
            rows.popleft()
        following = rows[0].offset if rows else batch.next
        if following > cursor:
            self._store.record(Passed([(shard.index, cursor, following - cursor)]))
        if not rows:
            return None
        ahead = self._ahead[shard.index] = _Ahead(rows, now_ms)
        return ahead


def _rows(shard: int, batch: Batch, count: int) -> list[Row]:
    records = batch.records.slice(0, count)
    return [
        Row(shard, batch.first + place, key, data, arrival_ms)
        for place, (key, data, arrival_ms) in enumerate(
            zip(
                records.partition_key.to_pylist(),
                records.data.to_pylist(),
                records.arrival_ms().tolist(),
                strict=True,
            )
        )
    ]
