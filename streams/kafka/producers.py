"""The idempotent producer that appends go through, and another one where it has failed.

An idempotent producer numbers its records; a batch that a broker refused leaves a gap, after which it is refused for ever.
So a producer that has failed once is retired: what it has under way ends, and what comes goes through a new one. So is one
whose numbers come to an end: they have 31 bits, and aiokafka counts on below zero, which a broker refuses.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.core.brokers import connection_options
from streams.core.errors import LogUnreachable, ShardUnknown
from streams.kafka.address import Address
from streams.kafka.batches import BATCH_SIZE_MAX, Outgoing
from streams.kafka.cluster import PATIENCE_S, REQUEST_S
from streams.kafka.places import Place
from streams.kafka.requests import copy_once

KNOW_S = (0, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Pauses in which a broker hears of a partition that another one has made."""

NUMBERS = 2**31
"""Records that a producer can number in a partition."""

UNDER_WAY_MAX = BATCH_SIZE_MAX
"""Bytes of batches that a producer has at a time: all that a broker leads may go into one request, which it takes up to
100 MiB of."""

RETIRE_S = 5.0
"""What a failed producer is given to end what it has under way."""


class Producers:
    def __init__(self, address: Address) -> None:
        self._address = address
        self._current: asyncio.Task[Any] | None = None
        self._numbered: dict[Place, int] = {}
        """Records that the current producer has numbered."""
        self._under_way = 0
        self._room: deque[asyncio.Future[None]] = deque()
        self._retiring: set[asyncio.Task[None]] = set()

    @property
    def compression(self) -> str | None:
        return self._address.compression

    async def send(self, batch: Outgoing, place: Place) -> int:
        """Its first offset, when all replicas in sync have it. One batch of a partition at a time. Raises `LogUnreachable`,
        `ShardUnknown`, `KafkaError`."""
        size = batch.size()
        while self._under_way and self._under_way + size > UNDER_WAY_MAX:
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._room.append(room)
            await room
        self._under_way += size
        try:
            return await self._send(batch, place)
        finally:
            self._under_way -= size
            while self._room:
                room = self._room.popleft()
                if not room.done():
                    room.set_result(None)

    async def _send(self, batch: Outgoing, place: Place) -> int:
        producer = await self._producer()
        count = batch.record_count()
        if self._numbered.get(place, 0) + count > NUMBERS:
            self.spoiled(producer)
            producer = await self._producer()
        await self.know(producer, place)
        numbered = self._numbered
        numbered[place] = numbered.get(place, 0) + count
        try:
            future = await producer.send_batch(batch, place.topic, partition=place.partition)
            return int((await future).offset)
        except KafkaError:
            # What it has numbered is not what the brokers have: it must not number on.
            self.spoiled(producer)
            raise

    async def _producer(self) -> Any:
        task: asyncio.Task[Any] | None = self._current
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            self._numbered = {}
            task = self._current = asyncio.create_task(self._start())
        return await asyncio.shield(task)

    async def know(self, producer: Any, place: Place) -> None:
        """The producer knows the partition, which may have been made since it last looked, here or by another process.
        Raises `ShardUnknown`, and `LogUnreachable` where no broker answers."""
        answered = False
        for pause in KNOW_S:
            if place.partition in (producer.client.cluster.partitions_for_topic(place.topic) or ()):
                return
            await asyncio.sleep(pause)
            answered |= bool(await producer.client.force_metadata_update())
        if place.partition in (producer.client.cluster.partitions_for_topic(place.topic) or ()):
            return
        if not answered:
            raise LogUnreachable("no broker answers a producer")
        raise ShardUnknown(f"no partition {place} in this cluster")

    async def refresh(self) -> None:
        """The producer knows the topics that there are now."""
        producer = await self._producer()
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
            max_batch_size=BATCH_SIZE_MAX,
            max_request_size=BATCH_SIZE_MAX,
            request_timeout_ms=round(REQUEST_S * 1000),
            retry_backoff_ms=50,
            **connection_options(self._address.security),
        )
        copy_once(producer)
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
