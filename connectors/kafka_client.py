"""`TopicClient`: a Kafka topic that is read as a stream is, its partitions as shards that neither split nor end.

Offsets are Kafka's. Some of them have no record for readers: the ends of transactions, what was aborted, what compaction took
away; they are passed over along with the record behind them (`SparseBatch`). The arrival of a record is its timestamp.
What a cluster cannot say now, `LogUnreachable` says; a topic that is not there, or not the same any more, is
`ResourceNotFound`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from connectors.kafka_names import topic_of
from connectors.kafka_topic import key_of
from streams.core.brokers import Brokers
from streams.core.clock import Clock, SystemClock
from streams.core.errors import ExtraMissing, LogUnreachable, ResourceNotFound
from streams.core.exchange import FETCH_SIZE_MAX, Fetch, Start, StreamDescription
from streams.core.records import Records, SparseBatch
from streams.core.shards import HASH_KEY_MAX, HashRange, Shard

try:
    from aiokafka import AIOKafkaConsumer, TopicPartition
    from aiokafka.client import AIOKafkaClient
    from aiokafka.errors import KafkaError, OffsetOutOfRangeError
except ModuleNotFoundError as missing:
    raise ExtraMissing("kafka", "a Kafka topic") from missing

RECORDS_MAX = 10_000
"""Records of one answer: aiokafka makes an object of each, some 10 µs and 1 KB."""

AHEAD_SIZE_MAX = 32 << 20
PARTITION_SIZE_MIN, PARTITION_SIZE_MAX = 64 << 10, 4 << 20
"""Bytes that are read ahead, of all partitions together and of each."""

CHECK_MS = 10_000
"""How often it is looked whether the topic is the same and has more partitions: how late either is noticed."""

ANSWER_MS = 200
PATIENCE_S = 15.0
"""How long what is known to be there may take to come: as long as a partition's leadership may be on its way."""

REQUEST_MS = 10_000
"""After which a request that is not answered has failed."""

_WHOLE = HashRange(0, HASH_KEY_MAX)
_NAME = "partition-"


@dataclass(slots=True)
class _Place:
    """Where a reader stands in a partition: it is expected to ask for `next`. The consumer stands behind what is `waiting`, or
    behind offsets that hold nothing. `first` is later than `next` where the records between were gone."""

    next: int
    first: int
    waiting: list[Any] = field(default_factory=list)


class TopicClient:
    """Of one topic; what is asked for a stream is of it, whatever the stream's name. For one reader: where it asks next is
    remembered. `arn` is how descriptions name the topic."""

    def __init__(self, brokers: Brokers, topic: str, *, arn: str = "", clock: Clock | None = None) -> None:
        self._brokers = brokers
        self._topic = topic
        self._arn = arn
        self._clock = clock or SystemClock()
        self._client: Any = None
        self._consumer: Any = None
        self._places: dict[Any, _Place] = {}
        self._id = ""
        self._checked_ms = 0

    async def describe_stream(self, stream: str) -> StreamDescription:
        """Raises `ResourceNotFound`, `LogUnreachable`."""
        try:
            if self._client is None:
                self._client = AIOKafkaClient(**self._options())
                await self._client.bootstrap()
            found = await topic_of(self._client, self._topic)
        except (KafkaError, TimeoutError) as error:
            await self.close()
            raise self._unreachable(error) from error
        if found is None:
            raise ResourceNotFound(f"there is no topic {self._topic} at {self._brokers}")
        self._id = found.id
        self._checked_ms = self._clock.now_ms()
        shards = tuple(Shard(f"{_NAME}{number}", number, "", _WHOLE, 0) for number in found.partitions)
        return StreamDescription(self._topic, self._arn, found.id, "ACTIVE", 0, 0, shards)

    async def find(self, stream: str, start: Start, shards: tuple[str, ...] | None = None) -> dict[str, int]:
        """Raises `ResourceNotFound`, `LogUnreachable`."""
        names = shards or tuple(shard.id for shard in (await self.describe_stream(stream)).shards)
        places = {self._place(name): name for name in names}
        try:
            consumer = await self._opened(places)
            if start.kind == "trim_horizon":
                found = await consumer.beginning_offsets(list(places))
            else:
                found = await consumer.end_offsets(list(places))
            if start.kind == "at_timestamp":
                timed = await consumer.offsets_for_times(dict.fromkeys(places, max(0, start.timestamp_ms)))
                found = {place: end if timed[place] is None else timed[place].offset for place, end in found.items()}
        except (KafkaError, TimeoutError) as error:
            await self.close()
            raise self._unreachable(error) from error
        return {name: found[place] for place, name in places.items()}

    async def fetch(
        self, stream: str, positions: Mapping[str, int], *, size_max: int = FETCH_SIZE_MAX, wait_ms: int = 0
    ) -> Fetch:
        """Raises `ResourceNotFound`, `LogUnreachable`."""
        grown = await self._check(stream, positions)
        asked = {self._place(name): position for name, position in positions.items()}
        try:
            consumer = await self._opened(asked)
            for place, position in asked.items():
                if place not in self._places or self._places[place].next != position:
                    consumer.seek(place, position)
                    self._places[place] = _Place(position, position)
            ends = await self._read_moving(consumer, asked, 0 if grown else wait_ms)
            batches = self._taken(asked, size_max)
            tips = {_shard(place): await self._tip(consumer, place, ends) for place in asked}
        except (KafkaError, TimeoutError) as error:
            await self.close()
            raise self._unreachable(error) from error
        return Fetch(tuple(batches), tips=tips, grown=grown)

    async def close(self) -> None:
        """It may be asked again."""
        consumer, client, self._consumer, self._client, self._places = self._consumer, self._client, None, None, {}
        if consumer is not None:
            await asyncio.sleep(0)  # aiokafka cancels a task of its own, and minds where that has not begun
            await consumer.stop()
        if client is not None:
            await client.close()

    async def _check(self, stream: str, positions: Mapping[str, int]) -> bool:
        """Whether there are other partitions. Raises `ResourceNotFound` where the topic is not the one that was read."""
        if self._checked_ms <= self._clock.now_ms() < self._checked_ms + CHECK_MS:
            return False
        before = self._id
        description = await self.describe_stream(stream)
        if before not in ("", description.id):
            await self.close()
            raise ResourceNotFound(f"the topic {self._topic} at {self._brokers} was made anew")
        return any(shard.id not in positions for shard in description.shards)

    async def _opened(self, places: Iterable[Any]) -> Any:
        """The consumer, with these partitions."""
        wanted = set(places)
        if self._consumer is None:
            size = AHEAD_SIZE_MAX // max(1, len(wanted))
            self._consumer = AIOKafkaConsumer(
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                max_partition_fetch_bytes=min(PARTITION_SIZE_MAX, max(PARTITION_SIZE_MIN, size)),
                **self._options(),
            )
            await self._consumer.start()
        if self._consumer.assignment() != wanted:
            # What is assigned has no position until it is sought.
            self._places = {}
            self._consumer.assign(list(wanted))
        return self._consumer

    async def _read_moving(self, consumer: Any, asked: Mapping[Any, int], wait_ms: int) -> Mapping[Any, int]:
        """As `_read`, from the oldest records on where older ones were asked for: an answer without records would say that
        there are none."""
        begun = asyncio.get_running_loop().time()
        while True:
            try:
                return await self._read(consumer, asked, wait_ms)
            except OffsetOutOfRangeError as error:
                if asyncio.get_running_loop().time() - begun > PATIENCE_S + wait_ms / 1000:
                    raise
                await self._move_up(error.args[0])

    async def _read(self, consumer: Any, asked: Mapping[Any, int], wait_ms: int) -> Mapping[Any, int]:
        """Waits for records, which are `waiting` then. Where it asked for them, the ends of the partitions."""
        if any(self._places[place].waiting for place in asked):
            return {}
        ends: Mapping[Any, int] = {}
        if not wait_ms and not await self._known(consumer, asked, ends):
            ends = await consumer.end_offsets(list(asked))
        begun = asyncio.get_running_loop().time()
        while True:
            # An answer without what is known to be there would say that it is not.
            there = await self._known(consumer, asked, ends)
            found = await consumer.getmany(*asked, timeout_ms=ANSWER_MS if there else wait_ms, max_records=RECORDS_MAX)
            for place, records in found.items():
                self._places[place].waiting += records
            if found or not there:
                return ends
            if asyncio.get_running_loop().time() - begun > PATIENCE_S:
                raise TimeoutError(f"records have not come for {PATIENCE_S:g} s")

    async def _known(self, consumer: Any, asked: Iterable[Any], ends: Mapping[Any, int]) -> bool:
        """Whether there is more behind where the consumer stands: records, or ends of transactions."""
        for place in asked:
            end = max(ends.get(place, 0), consumer.last_stable_offset(place) or 0)
            if await consumer.position(place) < end:
                return True
        return False

    def _taken(self, asked: Iterable[Any], size_max: int) -> list[SparseBatch]:
        batches: list[SparseBatch] = []
        size = 0
        for place in asked:
            at = self._places[place]
            count = 0
            for record in at.waiting:
                size += len(record.value or b"")
                if size > size_max and (count or batches):
                    break
                count += 1
            if count:
                batches.append(_batch(place, at.first, at.waiting[:count]))
                at.waiting = at.waiting[count:]
                at.next = at.first = batches[-1].next
            if size > size_max:
                break
        return batches

    async def _tip(self, consumer: Any, place: Any, ends: Mapping[Any, int]) -> int:
        """The offset after the newest record; with nothing but ends of transactions behind it, where the reader stands."""
        at = self._places[place]
        end = max(ends.get(place, 0), consumer.last_stable_offset(place) or 0)
        if at.waiting:
            return max(end, int(at.waiting[-1].offset) + 1)
        return at.next if await consumer.position(place) >= end else max(end, at.next)

    async def _move_up(self, places: Mapping[Any, int]) -> None:
        """To the oldest records of these partitions, in which the offsets that were asked for are none. Raises
        `ResourceNotFound` for a topic that ends before them, `KafkaError`."""
        firsts = await self._consumer.beginning_offsets(list(places))
        ends = await self._consumer.end_offsets(list(places))
        for place, asked in places.items():
            if asked > ends[place]:
                await self.close()
                raise ResourceNotFound(
                    f"partition {place.partition} of {self._topic} at {self._brokers} ends at {ends[place]}, and was read up to"
                    f" {asked}: the topic was made anew"
                )
            at = self._places[place]
            at.first = max(at.next, firsts[place])
            self._consumer.seek(place, max(asked, firsts[place]))

    def _place(self, shard: str) -> Any:
        return TopicPartition(self._topic, int(shard.removeprefix(_NAME)))

    def _options(self) -> dict[str, Any]:
        return {"request_timeout_ms": REQUEST_MS, **self._brokers.options()}

    def _unreachable(self, error: Exception) -> LogUnreachable:
        return LogUnreachable(f"no broker of {self._brokers} answers for the topic {self._topic}: {error}")


def _shard(place: Any) -> str:
    return f"{_NAME}{place.partition}"


def _batch(place: Any, first: int, records: Sequence[Any]) -> SparseBatch:
    offsets = np.array([record.offset for record in records], np.int64)
    keys = [key_of(record.key, place.partition) for record in records]
    times = np.maximum(np.array([record.timestamp for record in records], np.int64), 0)
    taken = Records.of(keys, [record.value or b"" for record in records]).with_arrival(times)
    return SparseBatch(_shard(place), first, int(offsets[-1]) + 1, taken, offsets)
