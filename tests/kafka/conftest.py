"""Topics of others on the broker that tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.kafka.kafka_broker import Broker
from tests.kafka.topics import Topics


@pytest.fixture
async def topics(kafka_broker: Broker) -> AsyncIterator[Topics]:
    made = Topics(kafka_broker)
    await made.admin.start()
    await made.producer.start()
    yield made
    await made.producer.stop()
    await made.admin.close()
