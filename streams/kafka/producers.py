"""The idempotent producer that appends go through, and another one where it has failed.

An idempotent producer numbers its batches; one that a broker refused leaves a gap, after which it is refused for ever. So
a producer that has failed once is retired: what it has under way ends, and what comes goes through a new one.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.core.errors import LogUnreachable, ShardUnknown
from streams.kafka.address import Address
from streams.kafka.cluster import BATCH_SIZE_MAX, PATIENCE_S, REQUEST_S
from streams.kafka.places import Place

KNOW_S = (0, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Pauses in which a broker hears of a partition that another one has made."""

RETIRE_S = 5.0
"""What a failed producer is given to end what it has under way."""


class Producers:
    def __init__(self, address: Address) -> None:
        self._address = address
        self._current: asyncio.Task[Any] | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    async def batch(self) -> tuple[Any, Any]:
        """A producer, and an empty batch for it. Raises `LogUnreachable`."""
        task: asyncio.Task[Any] | None = self._current
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._current = asyncio.create_task(self._start())
        producer = await asyncio.shield(task)
        return producer, producer.create_batch()

    async def know(self, producer: Any, place: Place) -> None:
        """The producer knows the partition, which another process may have made. Raises `ShardUnknown`."""
        for pause in KNOW_S:
            if place.partition in (producer.client.cluster.partitions_for_topic(place.topic) or ()):
                return
            await producer.client.force_metadata_update()
            await asyncio.sleep(pause)
        raise ShardUnknown(f"no partition {place} in this cluster")

    async def refresh(self) -> None:
        """The producer knows the topics that there are now."""
        producer, _ = await self.batch()
        await producer.client.force_metadata_update()

    def spoiled(self, producer: Any) -> None:
        """It has failed."""
        task = self._current
        if task is not None and task.done() and not task.cancelled() and task.result() is producer:
            self._current = None
            self._retire(producer)

    async def close(self) -> None:
        """Returns when what is under way has ended, or cannot."""
        task, self._current = self._current, None
        if task is not None:
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                self._retire(task.result())
        if self._retiring:
            await asyncio.wait(self._retiring)

    async def _start(self) -> Any:
        producer: Any = AIOKafkaProducer(
            bootstrap_servers=list(self._address.brokers),
            client_id="headrace",
            enable_idempotence=True,
            acks="all",
            compression_type=self._address.compression,
            max_batch_size=BATCH_SIZE_MAX,
            max_request_size=BATCH_SIZE_MAX,
            request_timeout_ms=round(REQUEST_S * 1000),
            retry_backoff_ms=50,
        )
        try:
            await asyncio.wait_for(producer.start(), PATIENCE_S)
        except (KafkaError, TimeoutError) as error:
            await producer.client.close()
            producer._closed = True
            raise LogUnreachable(f"no broker takes a producer: {error!r}") from error
        return producer

    def _retire(self, producer: Any) -> None:
        task = asyncio.create_task(_stop(producer))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


async def _stop(producer: Any) -> None:
    try:
        await asyncio.wait_for(producer.stop(), RETIRE_S)
    except (KafkaError, TimeoutError):
        await producer.client.close()
