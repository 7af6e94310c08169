"""The log on Kafka as the source and as the target of a copy.

A target's shards are partitions that begin with 0, whatever their first offset (see `origins`). Parts go to them in order,
one batch at a time, so a copy that was stopped goes on where a partition ends.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from typing import Self

from streams.core.errors import LogError
from streams.core.records import ProducerMark, Records
from streams.kafka import origins
from streams.kafka.address import Address
from streams.kafka.batches import BATCH_SIZE_MAX, Outgoing
from streams.kafka.cluster import EARLIEST, LATEST, Cluster
from streams.kafka.codec import decode, plain
from streams.kafka.origins import Origins
from streams.kafka.packing import packed as packed_batch
from streams.kafka.places import group_of, origins_place, place_of, shards_of
from streams.kafka.producers import Producers
from streams.log.copying import PART_SIZE, Part

SETTLE_S = 2.0
"""How long a copy that goes on waits first: the one before may have been killed with a batch on its way to the broker."""

BATCH_RECORDS_SIZE = BATCH_SIZE_MAX // 4
"""Bytes of records that go into a batch: small ones are several times as large there."""


async def _unused(cluster: Cluster, prefix: str) -> None:
    """Raises `LogError` where servers that share the log's work are running, idle or not."""
    count = await cluster.members(group_of(prefix))
    if count:
        raise LogError(
            f"the log {prefix} is in use by {count} {'server' if count == 1 else 'servers'}: stop them first"
        )


class KafkaSource:
    """Of a log to which nobody appends meanwhile. Open it with `open`."""

    def __init__(self, address: Address, cluster: Cluster, found: Origins) -> None:
        self._address = address
        self._cluster = cluster
        self._origins = found

    @classmethod
    async def open(cls, address: Address) -> Self:
        """Raises `LogError`."""
        cluster = await Cluster.open(address)
        try:
            await _unused(cluster, address.prefix)
            found = await origins.read(cluster, address.prefix)
            if found.copying:
                raise LogError(f"the log with the prefix {address.prefix} is itself a copy that is not finished")
            return cls(address, cluster, found)
        except BaseException:
            await cluster.close()
            raise

    async def shards(self) -> dict[str, tuple[int, int]]:
        names = await _shards(self._cluster, self._address.prefix)
        found = await asyncio.gather(*(self._bounds(name) for name in names))
        return dict(zip(names, found, strict=True))

    async def parts(self, shard: str, offset: int) -> AsyncIterator[Part]:
        place, origin = place_of(self._address.prefix, shard), self._origins.of(shard)
        following, end = offset, (await self._bounds(shard))[1]
        gathered: list[Part] = []
        size = 0
        while following < end:
            fetched = await self._cluster.fetch(place, following - origin, PART_SIZE)
            parts = await asyncio.to_thread(lambda data: list(decode(data, shard)), fetched.data)
            if not parts:
                raise LogError(f"{shard}: nothing is read at {following}, though it ends at {end}")
            for found in parts:
                moved = Part(found.first + origin, found.records, [(mark, at + origin) for mark, at in found.marks])
                part = moved.after(following)
                gathered.append(part)
                size += part.records.size
                following = part.next
            if size >= PART_SIZE or following >= end:
                marks = [mark for part in gathered for mark in part.marks]
                yield Part(gathered[0].first, Records.concat([part.records for part in gathered]), marks)
                gathered, size = [], 0

    async def close(self) -> None:
        await self._cluster.close()

    async def _bounds(self, shard: str) -> tuple[int, int]:
        place, origin = place_of(self._address.prefix, shard), self._origins.of(shard)
        first, next_ = await asyncio.gather(self._cluster.offset(place, EARLIEST), self._cluster.offset(place, LATEST))
        return origin + first, origin + next_


class KafkaTarget(KafkaSource):
    """Open it with `open`, which raises `LogError`."""

    def __init__(self, address: Address, cluster: Cluster, found: Origins) -> None:
        super().__init__(address, cluster, found)
        self._producers = Producers(address)
        self._known: dict[str, tuple[int, int]] = {}

    @classmethod
    async def open(cls, address: Address) -> Self:
        cluster = await Cluster.open(address)
        try:
            await _unused(cluster, address.prefix)
            return cls(address, cluster, await origins.read(cluster, address.prefix))
        except BaseException:
            await cluster.close()
            raise

    async def begin(self, origin: str, firsts: Mapping[str, int]) -> None:
        prefix = self._address.prefix
        asked = Origins(origin, True, dict(firsts))
        if self._origins.copying:
            if self._origins != asked:
                raise LogError(
                    f"the topics with the prefix {prefix} are the begin of a copy of {self._origins.source}, and not of this log"
                    " as it is now: delete them, and begin anew"
                )
            await asyncio.sleep(SETTLE_S)
        else:
            there = await self._topics()
            if there:
                raise LogError(
                    f"there are topics with the prefix {prefix}, such as {there[0]}: a copy needs a new place"
                )
            await self._cluster.create(origins_place(prefix).topic, 1)
            await origins.write(self._producers, prefix, asked, 0)
            self._origins = asked
        partitions: dict[str, int] = defaultdict(int)
        for shard in firsts:
            place = place_of(prefix, shard)
            partitions[place.topic] = max(partitions[place.topic], place.partition + 1)
        for topic, count in partitions.items():
            await self._cluster.create(topic, count)
        found = await asyncio.gather(*(self._bounds(shard) for shard in firsts))
        self._known = dict(zip(firsts, found, strict=True))

    async def shards(self) -> dict[str, tuple[int, int]]:
        return dict(self._known)

    async def next(self, shard: str) -> int:
        return self._known[shard][1]

    async def add(self, shard: str, part: Part, *, packed: bool) -> None:
        place, origin = place_of(self._address.prefix, shard), self._origins.of(shard)
        records, first = part.records, part.first
        while len(records):
            count = records.count_within(BATCH_RECORDS_SIZE)
            marks = [(mark, at - first) for mark, at in part.marks if first <= at < first + count]
            batch = await asyncio.to_thread(self._batch, records.slice(0, count), marks, packed)
            found = origin + await self._producers.send(batch, place)
            if found != first:
                raise LogError(
                    f"{shard}: somebody else has put records into the copy: delete its topics, and begin anew"
                )
            records, first = records.slice(count), first + count
        self._known[shard] = self._known[shard][0], first

    async def end(self, shard: str) -> None:
        """Every batch is with all replicas."""

    async def done(self) -> None:
        self._origins = Origins(self._origins.source, False, {s: at for s, at in self._origins.firsts.items() if at})
        await origins.write(self._producers, self._address.prefix, self._origins, 0)

    async def close(self) -> None:
        await self._producers.close()
        await super().close()

    def _batch(self, records: Records, marks: list[tuple[ProducerMark, int]], packed: bool) -> Outgoing:
        arrivals = records.arrival_ms()
        compression = self._producers.compression
        if packed:
            return packed_batch(records, (int(arrivals[0]), int(arrivals.max())), marks, compression)
        return plain(records, arrivals, marks, compression)

    async def _topics(self) -> list[str]:
        prefix = self._address.prefix
        return sorted(topic for topic in await self._cluster.topics() if topic.startswith((f"{prefix}.", f"{prefix}_")))


async def _shards(cluster: Cluster, prefix: str) -> list[str]:
    found: list[str] = []
    for topic, partitions in (await cluster.topics()).items():
        found += shards_of(prefix, topic, partitions)
    return sorted(found)
