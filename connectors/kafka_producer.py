"""The producer of what is written into a Kafka topic exactly once."""

from __future__ import annotations

from typing import Any

from streams.core.brokers import Brokers
from streams.core.errors import ExtraMissing

try:
    from aiokafka import AIOKafkaProducer
except ModuleNotFoundError as missing:
    raise ExtraMissing("kafka", "a Kafka topic") from missing

BATCH_SIZE_MAX = 1 << 20
REQUEST_SIZE_MAX = 64 << 20
"""Bytes; how large a record may be is for the topic to say."""


def transactional(brokers: Brokers, name: str, client: str = "headrace") -> Any:
    """An `AIOKafkaProducer` under the transactional id `name`; when it is started, whoever had the id before can do nothing
    more. Raises `SettingsError`."""
    return AIOKafkaProducer(
        transactional_id=name,
        max_batch_size=BATCH_SIZE_MAX,
        max_request_size=REQUEST_SIZE_MAX,
        **brokers.options(client),
    )
