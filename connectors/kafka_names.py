"""What a cluster says of a topic: its partitions, and the id that tells it from another one of its name.

aiokafka asks for metadata up to version 5, which has no ids; brokers have them from 3.1 on, in version 12.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any
from uuid import UUID

from streams.core.errors import ExtraMissing

try:
    from aiokafka.errors import KafkaError, LeaderNotAvailableError, UnknownTopicOrPartitionError, for_code
    from aiokafka.protocol.abstract import AbstractType
    from aiokafka.protocol.api import Request, RequestStruct, Response
    from aiokafka.protocol.metadata import MetadataRequest_v5
    from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields
except ModuleNotFoundError as missing:
    raise ExtraMissing("kafka", "a Kafka topic") from missing

_METADATA = 3
_NONE = UUID(int=0)
_PASSING = (LeaderNotAvailableError.errno,)


@dataclass(frozen=True, slots=True)
class Topic:
    """`id` is empty where brokers do not tell it."""

    id: str
    partitions: tuple[int, ...]


class _Id(AbstractType[UUID]):
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


_NAME = CompactString("utf-8")


class _Answer(Response):
    API_KEY = _METADATA
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(("node_id", Int32), ("host", _NAME), ("port", Int32), ("rack", _NAME), ("tags", TaggedFields)),
        ),
        ("cluster_id", _NAME),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", _NAME),
                ("topic_id", _Id),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Question(RequestStruct):
    API_KEY = _METADATA
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Id), ("topic", _NAME), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicRequest(Request[MetadataRequest_v5 | _Question]):
    API_KEY = _METADATA

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[Any]) -> Any:
        if request_struct_class is _Question:
            return _Question([(_NONE, self._topic, {})], False, False, {})
        return request_struct_class([self._topic], False)


async def topic_of(client: Any, name: str) -> Topic | None:
    """What the brokers of an AIOKafkaClient say now; None where there is no such topic. Raises `KafkaError`."""
    answer = await client.send(client.get_random_node(), _TopicRequest(name))
    (found,) = answer.topics
    code = found[0]
    if code == UnknownTopicOrPartitionError.errno:
        return None
    if code and code not in _PASSING:
        error: type[KafkaError] = for_code(code)
        raise error(f"topic {name}")
    has_id = isinstance(answer, _Answer)
    listed = found[4] if has_id else found[3]
    identity = found[2].hex if has_id and found[2] != _NONE else ""
    return Topic(identity, tuple(sorted(partition[1] for partition in listed)))
