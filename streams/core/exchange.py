"""What a stream and its readers and writers hand each other: descriptions, receipts, places to start, fetches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from streams.core.records import Batch
from streams.core.shards import Shard

FETCH_SIZE_MAX = 8 << 20
"""Bytes that one fetch may bring: large enough to hide a round trip at 1 GB/s, small enough to hold a few."""


@dataclass(frozen=True, slots=True)
class StreamDescription:
    """A stream and all of its shards that still have records or may get some, by index. `status` as AWS spells it."""

    name: str
    arn: str
    id: str
    status: str
    retention_hours: int
    created_ms: int
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Receipt:
    """Where the records of one put went, in the order given: record i is in ``shards[shard[i]]`` at ``offset[i]``.

    shard   int32 array
    offset  int64 array
    """

    shards: tuple[str, ...]
    shard: pa.Array
    offset: pa.Array


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin in a stream: its oldest record, what comes after now, or the first arrival at or after a time."""

    kind: Literal["trim_horizon", "latest", "at_timestamp"]
    timestamp_ms: int = 0


TRIM_HORIZON = Start("trim_horizon")
LATEST = Start("latest")


def at_timestamp(timestamp_ms: int) -> Start:
    return Start("at_timestamp", timestamp_ms)


@dataclass(frozen=True, slots=True)
class Fetch:
    """What a fetch brought: at most one batch a shard (none for shards with nothing new), the shards of the question
    that are closed and read to their end, and for each shard asked the offset after its newest record. `grown`: there are
    shards that the question did not name, though none that it named has ended."""

    batches: tuple[Batch, ...]
    ended: tuple[str, ...] = ()
    tips: Mapping[str, int] = field(default_factory=dict)
    grown: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """A shard that a member of a consumer group reads, alone, from `position` on, until it is told otherwise. Where
    `intent` is not None, the batch up to it was begun by somebody before: it is repeated first, and as one."""

    generation: int
    position: int
    intent: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """What a member has done of a shard: all before `position`. `intent` is the end of the batch that it works on now."""

    generation: int
    position: int
    intent: int | None = None


@dataclass(frozen=True, slots=True)
class GroupShard:
    """Where a consumer group stands in a shard: who reads it (None: nobody now), what is next, and the offset after the
    newest record."""

    id: str
    member: str | None
    position: int
    tip: int


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """A consumer group: its members, and the shards that it has not finished."""

    name: str
    members: tuple[str, ...]
    shards: tuple[GroupShard, ...]
