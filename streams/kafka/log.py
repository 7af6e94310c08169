"""The log on Apache Kafka: a shard is a partition, and any number of processes append to it and read it.

Offsets are Kafka's, or in a copied log that began later by so much more (see `origins`); arrival is the appending process's clock. In one process it never goes back in a shard; between
processes by as much as their clocks differ.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Self

from aiokafka.errors import OffsetOutOfRangeError

from streams.core.clock import Clock, SystemClock
from streams.core.errors import LogClosed, LogError, LogUnreachable, OffsetOutOfRange, ShardUnknown
from streams.core.records import Batch, ProducerMark, Records
from streams.kafka import origins
from streams.kafka.address import Address
from streams.kafka.appends import Appends
from streams.kafka.batches import BATCH_SIZE_MAX
from streams.kafka.cluster import EARLIEST, LATEST, Cluster
from streams.kafka.codec import decode
from streams.kafka.origins import NONE, Origins
from streams.kafka.past import Past
from streams.kafka.places import Place, place_of, shards_of
from streams.kafka.producers import Producers
from streams.kafka.recent import Recent
from streams.kafka.remembered import Remembered
from streams.kafka.tails import Tails
from streams.log.log import Appended, side_by_side
from streams.log.log import Appends as Outcomes
from streams.log.names import check_name
from streams.log.waiting import Waiters

READ_INLINE_MAX = 256 << 10
"""Bytes up to which a fetch is taken apart on the event loop."""

FETCH_SIZE_MIN = 64 << 10
"""Bytes that a fetch asks for, however few are wanted: what is over is kept for the next read."""

APPEND_SIZE_MAX = BATCH_SIZE_MAX - (16 << 20)
"""Bytes of one append: it is one record batch, whose headers and lengths need room too."""

_EMPTY = Records.empty().with_arrival(0)


class _Shard:
    """Its offsets are Kafka's, which are `origin` less than the log's. `next` is as far as this process knows: the shard
    has at least so many records."""

    def __init__(self, place: Place, origin: int, appends: Appends, past: Past) -> None:
        self.place = place
        self.origin = origin
        self.appends = appends
        self.past = past
        self.next = 0
        self.trimmed = 0
        self.waiters = Waiters()
        self.gone = False


class KafkaLog:
    """See `streams.log.log.Log`. Open it with `KafkaLog.open`."""

    shared = True

    def __init__(
        self, address: Address, cluster: Cluster, clock: Clock, pending_max: int, found: Origins = NONE
    ) -> None:
        self.address = address
        self.cluster = cluster
        self._origins = found
        self._clock = clock
        self._producers = Producers(address)
        self._remembered = Remembered(address, cluster, self._producers)
        self._tails = Tails(cluster)
        self._recent = Recent()
        self._shards: dict[str, _Shard] = {}
        self._dropped: set[str] = set()
        """Shards of topics of which other shards are left."""
        self._changing = asyncio.Lock()
        self._wanted: defaultdict[str, set[int]] = defaultdict(set)
        """Partitions of each topic that are to be made: whoever comes first makes them for all, in one request."""
        self._pending = 0
        self._pending_max = pending_max
        self._room: deque[asyncio.Future[None]] = deque()
        self._closed = False

    @classmethod
    async def open(cls, address: Address, *, clock: Clock | None = None, pending_size_max: int = 256 << 20) -> Self:
        """Raises `LogUnreachable` where no broker answers, `LogError` where the log is a copy that is not finished."""
        cluster = await Cluster.open(address)
        try:
            found = await origins.read(cluster, address.prefix)
            if found.copying:
                raise LogError(
                    f"the log {address.prefix} is a copy of {found.source} that is not finished: go on with headrace log copy"
                )
        except BaseException:
            await cluster.close()
            raise
        return cls(address, cluster, clock or SystemClock(), pending_size_max, found)

    async def create(self, shard: str) -> None:
        self._check_open()
        check_name(shard)
        place = place_of(self.address.prefix, shard)
        wanted = self._wanted[place.topic]
        wanted.add(place.partition)
        try:
            async with self._changing:
                self._check_open()
                if self.cluster.leader(place) is None:
                    await self._remembered.exist()
                    await self.cluster.create(place.topic, max(wanted | {place.partition}) + 1)
                self._dropped.discard(shard)
        finally:
            wanted.discard(place.partition)
            if not wanted:
                self._wanted.pop(place.topic, None)

    async def append(
        self, shard: str, records: Records, mark: ProducerMark | None = None, *, packed: bool = False
    ) -> int:
        if not len(records):
            at = await self._shard(shard)
            return at.origin + await self.cluster.offset(at.place, LATEST)
        return (await self._append(shard, records, mark, packed=packed)).first

    def append_each(
        self, shards: Sequence[str], ends: Sequence[int], records: Records, *, packed: bool = False
    ) -> asyncio.Future[Outcomes]:
        return side_by_side(lambda shard, part: self._append(shard, part, None, packed=packed), shards, ends, records)

    async def _append(self, shard: str, records: Records, mark: ProducerMark | None, *, packed: bool) -> Appended:
        at = await self._shard(shard)
        size = records.size
        if size > APPEND_SIZE_MAX:
            raise AssertionError(f"an append of {size} bytes; split it below {APPEND_SIZE_MAX}")
        while self._pending and self._pending + size > self._pending_max:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._room.append(waiting)
            await waiting
        self._check(at)
        self._pending += size
        try:
            appended = await at.appends.append(records, mark, packed)
            return appended._replace(first=at.origin + appended.first)
        except LogUnreachable:
            self._check(at)
            raise
        finally:
            self._pending -= size
            while self._room:
                waiting = self._room.popleft()
                if not waiting.done():
                    waiting.set_result(None)

    async def read(self, shard: str, offset: int, size_max: int) -> Batch:
        at = await self._shard(shard)
        inside = offset - at.origin
        records = self._recent.get(at.place, inside, size_max) if inside >= at.trimmed else None
        if records is None:
            records = await self._fetch(shard, at, inside, size_max)
        if len(records) > 1 and records.size > size_max:
            records = records.slice(0, records.count_within(size_max))
        return Batch(shard, offset, offset + len(records), records)

    async def wait(self, shard: str, offset: int) -> None:
        at = await self._shard(shard)
        offset -= at.origin
        if offset < at.next:
            return
        self._moved(at, await self.cluster.offset(at.place, LATEST))
        self._check(at)
        if offset < at.next:
            return
        self._tails.enter(at.place, at.next, lambda next_: self._seen(shard, at, next_))
        try:
            await at.waiters.until(offset)
        finally:
            self._tails.leave(at.place)

    async def bounds(self, shard: str) -> tuple[int, int]:
        at = await self._shard(shard)
        first, next_ = await asyncio.gather(
            self.cluster.offset(at.place, EARLIEST), self.cluster.offset(at.place, LATEST)
        )
        self._check(at)
        self._moved(at, next_)
        return at.origin + first, at.origin + next_

    async def find(self, shard: str, arrival_ms: int) -> int:
        at = await self._shard(shard)
        arrival_ms = max(0, arrival_ms)
        found = await self.cluster.offset(at.place, arrival_ms)
        if found >= 0:
            return at.origin + found
        # What comes between the two questions must not lie below the answer.
        next_ = await self.cluster.offset(at.place, LATEST)
        found = await self.cluster.offset(at.place, arrival_ms)
        return at.origin + (next_ if found < 0 else found)

    async def seen(self, shard: str, mark: ProducerMark) -> int | None:
        at = await self._shard(shard)
        await at.past.catch_up()
        found = at.past.marks.seen(mark)
        return None if found is None else at.origin + found

    async def trim(self, shard: str, before: int) -> None:
        at = await self._shard(shard)
        first, next_ = await self.bounds(shard)
        before = min(before, next_)
        if before > first:
            await self.cluster.trim(at.place, before - at.origin)
            at.trimmed = max(at.trimmed, before - at.origin)

    async def drop(self, shard: str) -> None:
        self._check_open()
        async with self._changing:
            self._check_open()
            place = place_of(self.address.prefix, shard)
            there = (await self.cluster.topics()).get(place.topic, 0)
            if place.partition >= there or shard in self._dropped:
                return
            self._forget(shard, ShardUnknown(f"shard {shard} was dropped"))
            self._dropped.add(shard)
            await self._remembered.forget(shard, self._clock.now_ms())
            others = set(shards_of(self.address.prefix, place.topic, there))
            if others <= self._dropped:
                await self.cluster.delete(place.topic)
                await self._producers.refresh()
                self._dropped -= others
            else:
                await self.cluster.trim(place, LATEST)

    async def shards(self) -> list[str]:
        self._check_open()
        found = []
        for topic, partitions in (await self.cluster.topics()).items():
            found += shards_of(self.address.prefix, topic, partitions)
        return sorted(set(found) - self._dropped)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        closed = LogClosed("the log was closed")
        for waiting in self._room:
            if not waiting.done():
                waiting.set_exception(closed)
        for at in self._shards.values():
            at.waiters.fail(closed)
        await asyncio.gather(*(at.appends.idle() for at in self._shards.values()))
        await self._tails.close()
        await self._producers.close()
        await self.cluster.close()

    async def _shard(self, name: str) -> _Shard:
        self._check_open()
        at = self._shards.get(name)
        if at is not None:
            return at
        place = place_of(self.address.prefix, name)
        if name not in self._dropped and place.partition >= self.cluster.partitions(place.topic):
            await self.cluster.refresh()
        if name in self._dropped or place.partition >= self.cluster.partitions(place.topic):
            raise ShardUnknown(f"no shard {name} in this log")
        at = self._shards.get(name)
        if at is None:
            past = Past(self.cluster, name, place, self._remembered)
            appends = Appends(
                *(
                    name,
                    place,
                    self._producers,
                    past,
                    self._clock,
                    lambda first, records: self._taken(at, first, records),
                )
            )
            at = self._shards[name] = _Shard(place, self._origins.of(name), appends, past)
        return at

    async def _fetch(self, shard: str, at: _Shard, offset: int, size_max: int) -> Records:
        """At least one record from `offset` on, if there is any."""
        try:
            if offset < 0:
                raise OffsetOutOfRangeError
            fetched = await self.cluster.fetch(at.place, offset, max(size_max, FETCH_SIZE_MIN))
        except OffsetOutOfRangeError:
            first, next_ = await self.bounds(shard)
            if first <= offset + at.origin <= next_:  # appended meanwhile
                return await self._fetch(shard, at, offset, size_max)
            raise OffsetOutOfRange(f"{shard} holds [{first}, {next_}), not {offset + at.origin}") from None
        self._check(at)
        if len(fetched.data) > READ_INLINE_MAX:
            parts = await asyncio.to_thread(lambda: list(decode(fetched.data, shard)))
        else:
            parts = list(decode(fetched.data, shard))
        if not parts:
            return _EMPTY
        records = Records.concat([part.records for part in parts])
        self._recent.put(at.place, parts[0].first, records)
        return records.slice(offset - parts[0].first)

    def _taken(self, at: _Shard | None, first: int, records: Records) -> None:
        """This process has appended."""
        assert at is not None, "appends are made with their shard"
        self._recent.put(at.place, first, records)
        self._moved(at, first + len(records))

    def _seen(self, shard: str, at: _Shard, next_: int | None) -> None:
        """Others have appended, or dropped it."""
        if next_ is None:
            self._forget(shard, ShardUnknown(f"shard {shard} was dropped"))
        else:
            self._moved(at, next_)

    def _moved(self, at: _Shard, next_: int) -> None:
        if next_ > at.next:
            at.next = next_
            self._tails.moved(at.place, next_)
            at.waiters.wake(next_)

    def _forget(self, shard: str, error: ShardUnknown) -> None:
        at = self._shards.pop(shard, None)
        if at is not None:
            at.gone = True
            self._tails.forget(at.place)
            self._recent.forget(at.place)
            at.appends.fail(error)
            at.waiters.fail(error)

    def _check(self, at: _Shard) -> None:
        self._check_open()
        if at.gone:
            raise ShardUnknown(f"shard {at.place} was dropped")

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed("the log is closed")
