"""`TopicMirror`: follows a stream and puts its records into a Kafka topic, each exactly once for whoever reads committed ones.

A batch goes into the topic and the position behind it into the topic `TOPIC.headrace-mirror` in one transaction: both are
there, or neither is. A mirror that begins reads the positions and goes on from there. It takes its transactional id over from
the one before: what that one has under way is aborted, and it can do nothing more.

    topic                   key: the partition key, value: the data, timestamp: the arrival
    topic.headrace-mirror   compacted; key: "stream", value: the stream's ARN and id
                                       key: a shard's id, value: the offset that is read next, decimal
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import Any

from connectors.kafka_producer import transactional
from connectors.kafka_topic import CLIENT
from connectors.mirror import MirrorError
from streams.core.brokers import Brokers
from streams.core.clock import Clock, SystemClock
from streams.core.errors import ExtraMissing
from streams.core.exchange import Start
from streams.core.records import Batch
from streams.sdk.client import LATEST, TRIM_HORIZON, Client
from streams.sdk.consumer import Consumer
from streams.sdk.retry import pauses

try:
    from aiokafka import AIOKafkaConsumer, TopicPartition
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic
    from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerFenced, TopicAlreadyExistsError, for_code
except ModuleNotFoundError as missing:
    raise ExtraMissing("kafka", "a Kafka topic") from missing

log = logging.getLogger(__name__)

RECORDS_MAX = 5000
"""Records of a transaction: aiokafka keeps each of them as objects."""

_STREAM = "stream"


class TopicMirror:
    """Of one stream into one topic, which is made by whoever owns the cluster, or by the brokers themselves."""

    def __init__(
        self,
        client: Client,
        stream: str,
        brokers: Brokers,
        topic: str,
        *,
        start: Start = TRIM_HORIZON,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._stream = stream
        self._brokers = brokers
        self._topic = topic
        self._start = start
        self._clock = clock or SystemClock()
        self.records = 0
        """Put since this mirror began."""

    @property
    def state_topic(self) -> str:
        return f"{self._topic}.headrace-mirror"

    async def run(self, *, follow: bool = True) -> None:
        """Until it is cancelled; without `follow`, until everything that was there at the begin has been put. Raises
        `MirrorError`, and what the stream's server refuses for good."""
        waits = pauses(random.Random())
        while True:
            before = self.records
            try:
                await self._once(follow=follow)
                return
            except ProducerFenced as error:
                raise MirrorError(f"another mirror of {self._stream} into {self._topic} has taken over") from error
            except MessageSizeTooLargeError as error:
                raise MirrorError(
                    f"a record of {self._stream} is larger than the topic {self._topic} takes: raise its max.message.bytes"
                ) from error
            except KafkaError as error:
                if self.records > before:
                    waits = pauses(random.Random())
                pause = next(waits)
                log.warning("the topic %s: %r: trying again in %.1f s", self._topic, error, pause)
                await self._clock.sleep(pause)

    async def _once(self, *, follow: bool) -> None:
        await self._make_state_topic()
        producer = transactional(self._brokers, f"headrace-mirror.{self._stream}.{self._topic}", CLIENT)
        await producer.start()
        try:
            await self._follow(producer, follow=follow)
        finally:
            with suppress(KafkaError):
                await producer.stop()

    async def _follow(self, producer: Any, *, follow: bool) -> None:
        # Its transactional id is ours by now: nothing is written behind what is read here.
        positions, made_of = await self._state()
        description = await self._client.describe_stream(self._stream)
        identity = f"{description.arn} {description.id}"
        if made_of not in ("", identity):
            raise MirrorError(
                f"{self._topic} is the mirror of {made_of}, and not of {identity}: give this one a topic of its own, or delete"
                f" {self.state_topic}"
            )
        left: dict[str, int] | None = None
        if not follow:
            firsts = await self._client.find(self._stream, TRIM_HORIZON)
            ends = await self._client.find(self._stream, LATEST)
            left = {shard: end for shard, end in ends.items() if end > firsts.get(shard, 0)}
        async with Consumer(
            self._client, self._stream, start=self._start, positions=positions or None, clock=self._clock
        ) as consumer:
            if not positions:
                await self._put(producer, [], {_STREAM: identity} | _text(consumer.positions))
            while left is None or any(consumer.positions.get(shard, 0) < end for shard, end in left.items()):
                batch = await anext(consumer)
                for first in range(0, len(batch), RECORDS_MAX):
                    part = batch.records.slice(first, RECORDS_MAX)
                    next_ = batch.first + first + len(part)
                    await self._put(
                        producer, [Batch(batch.shard, batch.first + first, next_, part)], {batch.shard: str(next_)}
                    )

    async def _put(self, producer: Any, batches: list[Batch], state: dict[str, str]) -> None:
        """In one transaction. Raises `KafkaError`: then nothing of it is there, or all."""
        await producer.begin_transaction()
        sent = []
        try:
            for batch in batches:
                records = batch.records
                keys = records.partition_key.to_pylist()
                for key, data, at in zip(keys, records.data.to_pylist(), records.arrival_ms().tolist(), strict=True):
                    sent.append(await producer.send(self._topic, data, key.encode(), timestamp_ms=at))
            for name, value in state.items():
                sent.append(await producer.send(self.state_topic, value.encode(), name.encode(), partition=0))
            await asyncio.gather(*sent)
        except BaseException as error:
            for one in sent:
                if one.done() and not one.cancelled():
                    one.exception()  # is known by now
                one.cancel()
            if not isinstance(error, ProducerFenced):
                # Of one that can do nothing more aiokafka asserts that it does not; the next producer aborts in its place.
                with suppress(KafkaError, AssertionError):
                    await producer.abort_transaction()
            raise
        await producer.commit_transaction()
        self.records += sum(map(len, batches))

    async def _state(self) -> tuple[dict[str, int], str]:
        """Positions by shard, and of which stream; nothing where there is no mirror yet."""
        place = TopicPartition(self.state_topic, 0)
        consumer = AIOKafkaConsumer(
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            **self._brokers.options(CLIENT),
        )
        found: dict[str, str] = {}
        await consumer.start()
        try:
            consumer.assign([place])
            await consumer.seek_to_beginning(place)
            end = (await consumer.end_offsets([place]))[place]
            while await consumer.position(place) < end:
                for one in (await consumer.getmany(place, timeout_ms=1000)).get(place, []):
                    found[one.key.decode()] = one.value.decode()
        finally:
            await consumer.stop()
        made_of = found.pop(_STREAM, "")
        return {shard: int(position) for shard, position in found.items()}, made_of

    async def _make_state_topic(self) -> None:
        admin = AIOKafkaAdminClient(**self._brokers.options(CLIENT))
        await admin.start()
        try:
            new = NewTopic(self.state_topic, 1, 1, topic_configs={"cleanup.policy": "compact"})
            new.replication_factor = -1  # the brokers' own
            reply = await admin.create_topics([new])
            for _, code, message in reply.topic_errors:
                if code and for_code(code) is not TopicAlreadyExistsError:
                    raise for_code(code)(f"{self.state_topic}: {message}")
        finally:
            await admin.close()


def _text(positions: dict[str, int]) -> dict[str, str]:
    return {shard: str(position) for shard, position in positions.items()}
