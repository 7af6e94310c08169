"""Which partition of which topic is a shard.

    streams/8c1f/shardId-000000000006   ↔   partition 6 of the topic headrace.streams.8c1f
    control/catalog                     ↔   partition 0 of the topic headrace_control.catalog

A stream is one topic, so that any Kafka tool reads it as one. What is no stream's shard has a topic of its own.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from streams.core.shards import shard_id

ORIGINS = "origins"

_SHARD = re.compile(r"(.+)/shardId-(\d{12})")


class Place(NamedTuple):
    """A partition of a topic: aiokafka's TopicPartition, and equal to one."""

    topic: str
    partition: int


def place_of(prefix: str, shard: str) -> Place:
    """A name that has a dot in it is a bug of the caller: it could not be told from another one."""
    assert "." not in shard, f"not a shard name on Kafka: {shard!r}"
    found = _SHARD.fullmatch(shard)
    if found:
        return Place(f"{prefix}.{found[1].replace('/', '.')}", int(found[2]))
    return Place(f"{prefix}_{shard.replace('/', '.')}", 0)


def origins_place(prefix: str) -> Place:
    """See `origins`. It is no shard's."""
    return Place(f"{prefix}_{ORIGINS}", 0)


def group_of(prefix: str) -> str:
    """The group of those who share the log's work, and the topic of that name (see `membership`)."""
    return f"{prefix}-work"


def shards_of(prefix: str, topic: str, partitions: int) -> list[str]:
    """The shards of a topic, by partition; none of somebody else's."""
    if not topic.startswith((f"{prefix}.", f"{prefix}_")) or topic == origins_place(prefix).topic:
        return []
    path = topic[len(prefix) + 1 :].replace(".", "/")
    if topic[len(prefix)] == "_":
        return [path]
    return [f"{path}/{shard_id(index)}" for index in range(partitions)]
