"""Topics of others, and what tests do to them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.kafka.kafka_broker import Broker


class Topics:
    """Topics of the broker, and what a test does to one."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
        self.producer = AIOKafkaProducer(
            bootstrap_servers=broker.address, transactional_id=f"t-{uuid.uuid4().hex[:8]}", metadata_max_age_ms=500
        )

    async def make(self, partitions: int = 1, name: str = "") -> str:
        name = name or f"topic-{uuid.uuid4().hex[:8]}"
        await self.admin.create_topics([NewTopic(name, partitions, 1)])
        while (await self.admin.describe_topics([name]))[0]["error_code"]:  # noqa: ASYNC110 : the broker tells nobody
            await asyncio.sleep(0.05)
        return name

    async def put(
        self, topic: str, values: Sequence[bytes], *, partition: int = 0, abort: bool = False, at_ms: int | None = None
    ) -> None:
        """In one transaction, whose end takes an offset too."""
        await self.producer.begin_transaction()
        for value in values:
            await self.producer.send_and_wait(topic, value, b"k", partition=partition, timestamp_ms=at_ms)
        await (self.producer.abort_transaction() if abort else self.producer.commit_transaction())
