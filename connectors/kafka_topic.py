"""A Kafka topic as a source that a `Mirror` follows: its partitions are shards, which neither split nor end.

A record's key is its partition key, where it is text of 1 to 256 characters; one without a key gets that of its partition, so
that it keeps its order; other bytes are written in base64. The value is the data, and one that is not there has none. Headers
are not taken along. What a transaction has aborted is not read.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from typing import Any

from connectors.kinesis import SourceBatch, SourceRecord, SourceRefused, SourceShard
from streams.core.brokers import Brokers
from streams.core.clock import Clock, SystemClock
from streams.core.errors import ExtraMissing
from streams.core.shards import HASH_KEY_MAX, HashRange

try:
    from aiokafka import AIOKafkaConsumer, TopicPartition
    from aiokafka.client import AIOKafkaClient
    from aiokafka.errors import KafkaError, OffsetOutOfRangeError
except ModuleNotFoundError as missing:
    raise ExtraMissing("kafka", "a Kafka topic") from missing

log = logging.getLogger(__name__)

CLIENT = "headrace-mirror"
"""How brokers name a mirror in their logs."""

KEY_MAX = 256
"""Characters of a partition key."""

RECORDS_MAX = 2000
POLL_MS = 500
PAUSE_S = 1.0
"""After brokers that did not answer."""

_EVERYTHING = HashRange(0, HASH_KEY_MAX)


class KafkaTopicSource:
    """The topic of a cluster. Close it. Brokers that do not answer are asked again without end, once they have answered."""

    def __init__(self, brokers: Brokers, topic: str, *, clock: Clock | None = None) -> None:
        self._brokers = brokers
        self._topic = topic
        self._clock = clock or SystemClock()

    async def created(self) -> float:
        """0: a topic does not say when it was made. Raises `SourceRefused` where there is none, or no broker answers."""
        await self.shards()
        return 0.0

    async def shards(self) -> list[SourceShard]:
        """Raises `SourceRefused`."""
        client = AIOKafkaClient(**self._brokers.options(CLIENT))
        try:
            await client.bootstrap()
            partitions = (await client.fetch_all_metadata()).partitions_for_topic(self._topic)
        except KafkaError as error:
            raise SourceRefused(f"no broker of {self._brokers} answers: {error}") from error
        finally:
            await client.close()
        if not partitions:
            raise SourceRefused(f"there is no topic {self._topic} at {self._brokers}")
        return [SourceShard(f"partition-{number}", (), _EVERYTHING, open=True) for number in sorted(partitions)]

    async def read(self, shard: str, *, after: int | None, start_ms: int | None) -> AsyncIterator[SourceBatch]:
        """Batches behind the offset `after`; without one, from `start_ms` or the oldest record on. It does not end."""
        place = TopicPartition(self._topic, int(shard.rpartition("-")[2]))
        while True:
            consumer = self._consumer()
            try:
                await consumer.start()
                consumer.assign([place])
                await self._seek(consumer, place, after, start_ms)
                while True:
                    found = (await consumer.getmany(place, timeout_ms=POLL_MS, max_records=RECORDS_MAX)).get(place, [])
                    records = [
                        SourceRecord(one.offset, key_of(one.key, place.partition), one.value or b"") for one in found
                    ]
                    position = await consumer.position(place)
                    end = consumer.last_stable_offset(place)
                    behind_ms = 0
                    if end is None or position < end:  # before a broker's first answer nobody knows what is there
                        behind_ms = max(1, self._clock.now_ms() - found[-1].timestamp) if found else 1
                    yield SourceBatch(records, behind_ms)
                    if records:
                        after = records[-1].number
            except OffsetOutOfRangeError:
                log.warning(
                    "%s of %s: records after offset %s are gone: it goes on with the oldest", shard, self._topic, after
                )
                after = start_ms = None
            except KafkaError as error:
                log.warning("%s of %s: %s: asked again", shard, self._topic, error)
                await self._clock.sleep(PAUSE_S)
            finally:
                await _stop(consumer)

    def close(self) -> None:
        """Nothing is open between reads."""

    async def _seek(self, consumer: Any, place: Any, after: int | None, start_ms: int | None) -> None:
        end = (await consumer.end_offsets([place]))[place]
        if after is not None:
            if after >= end:
                raise SourceRefused(
                    f"partition {place.partition} of {place.topic} ends at {end}, and {after} was read from it: the topic was"
                    " made anew, and needs a state file of its own"
                )
            begin = (await consumer.beginning_offsets([place]))[place]
            if after + 1 < begin:
                raise OffsetOutOfRangeError
            consumer.seek(place, after + 1)
        elif start_ms is not None:
            found = (await consumer.offsets_for_times({place: start_ms}))[place]
            consumer.seek(place, end if found is None else found.offset)
        else:
            await consumer.seek_to_beginning(place)

    def _consumer(self) -> Any:
        return AIOKafkaConsumer(
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=4 << 20,
            **self._brokers.options(CLIENT),
        )


async def _stop(consumer: Any) -> None:
    await asyncio.sleep(0)  # aiokafka cancels a task of its own, and minds where that has not begun
    await consumer.stop()


def key_of(key: bytes | None, partition: int) -> str:
    """What is the partition key of a record with this key."""
    if not key:
        return f"partition-{partition}"
    try:
        text = key.decode()
    except UnicodeDecodeError:
        text = base64.b64encode(key).decode()
    return text[:KEY_MAX]
