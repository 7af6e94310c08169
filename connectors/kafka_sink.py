"""`TopicSink`: deliveries into a Kafka topic, each exactly once for whoever reads committed records.

The records of a delivery and its number go in one transaction: the number is committed as the offset of a consumer group that
has nobody in it, so both are there or neither is. A sink that begins takes the transactional id over from the one before it,
whose transaction is aborted and who can do nothing more, and passes over deliveries that have been made. Brokers forget such a
number a week after the last delivery (``offsets.retention.minutes``).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from connectors.kafka_producer import transactional
from streams.core.brokers import Brokers
from streams.core.clock import Clock, SystemClock
from streams.core.errors import ExtraMissing, HeadraceError
from streams.sdk.retry import pauses

try:
    from aiokafka import AIOKafkaConsumer, TopicPartition
    from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerFenced
    from aiokafka.structs import OffsetAndMetadata
except ModuleNotFoundError as missing:
    raise ExtraMissing("kafka", "a Kafka topic") from missing

log = logging.getLogger(__name__)


class TopicSinkError(HeadraceError):
    """The sink cannot go on: what is wrong, and what would be right."""


class TopicSink:
    """Close it. `producer` names whose deliveries they are, through all restarts: their numbers rise."""

    def __init__(self, brokers: Brokers, topic: str, producer: str, *, clock: Clock | None = None) -> None:
        self._brokers = brokers
        self._topic = topic
        self._name = f"headrace.{producer}"
        self._clock = clock or SystemClock()
        self._producer: Any = None
        self._done = 0

    async def put(self, number: int, keys: Sequence[str | None], values: Sequence[bytes]) -> None:
        """Committed when it returns. What passes by itself is tried again without end. Raises `TopicSinkError`."""
        waits = pauses(random.Random())
        while True:
            try:
                await self._put(number, keys, values)
                return
            except ProducerFenced as error:
                raise TopicSinkError(f"another process has taken over {self._name} into {self._topic}") from error
            except MessageSizeTooLargeError as error:
                raise TopicSinkError(
                    f"a record is larger than the topic {self._topic} takes: raise its max.message.bytes"
                ) from error
            except (KafkaError, TimeoutError) as error:
                await self.close()
                pause = next(waits)
                log.warning("the topic %s at %s: %r: trying again in %.1f s", self._topic, self._brokers, error, pause)
                await self._clock.sleep(pause)

    async def close(self) -> None:
        """It may be used again."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError, AssertionError):
                await producer.stop()

    async def _put(self, number: int, keys: Sequence[str | None], values: Sequence[bytes]) -> None:
        if self._producer is None:
            await self._begin()
        if number <= self._done:
            return
        producer = self._producer
        await producer.begin_transaction()
        sent: list[asyncio.Future[Any]] = []
        try:
            for key, value in zip(keys, values, strict=True):
                sent.append(await producer.send(self._topic, value, None if key is None else key.encode()))
            await asyncio.gather(*sent)
            place = TopicPartition(self._topic, 0)
            await producer.send_offsets_to_transaction({place: OffsetAndMetadata(number, "")}, self._name)
            await producer.commit_transaction()
        except BaseException:
            for one in sent:
                one.add_done_callback(lambda done: done.cancelled() or done.exception())  # it is known by now
            # The next producer under this id aborts what is left.
            await self.close()
            raise
        self._done = number

    async def _begin(self) -> None:
        self._producer = transactional(self._brokers, f"{self._name}.{self._topic}")
        await self._producer.start()
        # The id is ours by now: nobody commits behind what is read here.
        consumer = AIOKafkaConsumer(group_id=self._name, enable_auto_commit=False, **self._brokers.options())
        await consumer.start()
        try:
            place = TopicPartition(self._topic, 0)
            consumer.assign([place])
            self._done = await consumer.committed(place) or 0
        finally:
            await consumer.stop()
