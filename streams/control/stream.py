"""Streams, shards and consumers as the catalog keeps them: values, that an event replaces by others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import numpy as np

from streams.core.scope import Scope
from streams.core.shards import HASH_KEY_MAX, HashRange, Shard, shard_id

HOUR_MS = 3_600_000
ORIGIN = "streams/"
"""Where the log keeps the shards of streams: ``streams/<stream id>/<shard id>``. Everything below it is the catalog's."""


PACKED_TAG = "headrace:packed"
"""Of a stream whose records a shared log keeps many in one (see docs/kafka.md), where its value is ``true``."""


class Key(NamedTuple):
    """What names a stream."""

    account: str
    region: str
    name: str


class StreamShard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A shard as the catalog keeps it. Hash keys are 16 big-endian bytes, the range inclusive.

    `sequence_ms` is the creation time that its sequence numbers carry. It is `created_ms`, unless a parent was created in
    the same second or the clock went back: a child's numbers lie above those of its parents.
    """

    index: int
    first_key: bytes
    last_key: bytes
    created_ms: int
    sequence_ms: int
    parents: tuple[int, ...] = ()
    end: int | None = None
    closed_ms: int | None = None

    @property
    def id(self) -> str:
        return shard_id(self.index)

    @property
    def open(self) -> bool:
        return self.end is None

    @property
    def hash_range(self) -> HashRange:
        return HashRange(int.from_bytes(self.first_key, "big"), int.from_bytes(self.last_key, "big"))


class StreamConsumer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An enhanced fan-out consumer, of the stream `stream_arn`. A name that is registered again is another consumer, with
    another ARN."""

    stream_arn: str
    name: str
    created_ms: int
    active_ms: int = 0
    gone_ms: int | None = None
    tags: dict[str, str] = {}

    @property
    def arn(self) -> str:
        return f"{self.stream_arn}/consumer/{self.name}:{self.created_ms // 1000}"

    def status(self, now_ms: int) -> str:
        """CREATING, ACTIVE or DELETING."""
        if self.gone_ms is not None:
            return "DELETING"
        return "CREATING" if now_ms < self.active_ms else "ACTIVE"

    def gone(self, now_ms: int) -> bool:
        return self.gone_ms is not None and self.gone_ms <= now_ms


class Stream(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stream. `shards` by index, `shards_made` the index of the next one; until `busy_ms` it is in state `busy`.

    `key_id` names the key that it says its records are encrypted with, `metrics` what enhanced monitoring counts per
    shard. `encrypted` holds from when to when (ms of arrival, half open) records were. Nothing that arrived before
    `floor_ms` is there. `consumers` are in the order of their registration.
    """

    account: str
    region: str
    name: str
    id: str
    created_ms: int
    shards: tuple[StreamShard, ...]
    shards_made: int
    busy: str = "CREATING"
    busy_ms: int = 0
    gone_ms: int | None = None
    on_demand: bool = False
    retention_hours: int = 24
    record_size_max_kib: int = 1024
    warm_mibps: int | None = None
    distribution: str = "USER_PARTITION_KEY"
    key_id: str = ""
    encrypted: tuple[tuple[int, int | None], ...] = ()
    floor_ms: int = 0
    metrics: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    consumers: tuple[StreamConsumer, ...] = ()

    @property
    def key(self) -> Key:
        return Key(self.account, self.region, self.name)

    @property
    def scope(self) -> Scope:
        return Scope(self.account, self.region)

    @property
    def arn(self) -> str:
        return self.scope.stream_arn(self.name)

    @property
    def packed(self) -> bool:
        """What is put together is kept together, where the log knows how to."""
        return self.tags.get(PACKED_TAG, "").lower() == "true"

    @property
    def hidden(self) -> bool:
        """Out of the reach of the Kinesis API."""
        return "/" in self.name

    def status(self, now_ms: int) -> str:
        """CREATING, ACTIVE, UPDATING or DELETING."""
        if self.gone_ms is not None:
            return "DELETING"
        return self.busy if now_ms < self.busy_ms else "ACTIVE"

    def gone(self, now_ms: int) -> bool:
        """Its deletion is over, though the catalog may not have been swept yet."""
        return self.gone_ms is not None and self.gone_ms <= now_ms

    def horizon_ms(self, now_ms: int) -> int:
        """Records that arrived before this have aged out."""
        return max(now_ms - self.retention_hours * HOUR_MS, self.floor_ms)

    def encrypted_at(self, arrival_ms: np.ndarray) -> np.ndarray:
        """Which of these arrivals, int64 ms, were encrypted."""
        marks = np.zeros(len(arrival_ms), bool)
        for first, end in self.encrypted:
            marks |= (arrival_ms >= first) & (arrival_ms < (np.iinfo(np.int64).max if end is None else end))
        return marks

    def encryption_changed(self, on: bool, at_ms: int) -> tuple[tuple[int, int | None], ...]:
        """`encrypted` from then on."""
        running = bool(self.encrypted) and self.encrypted[-1][1] is None
        if on == running:
            return self.encrypted
        if on:
            return (*self.encrypted, (at_ms, None))
        return (*self.encrypted[:-1], (self.encrypted[-1][0], at_ms))

    def log(self, shard: StreamShard) -> str:
        """The shard's name in the log."""
        return f"{ORIGIN}{self.id}/{shard.id}"

    def logs(self) -> list[str]:
        return [self.log(shard) for shard in self.shards]

    def open_shards(self) -> list[StreamShard]:
        """In the order of their hash keys: together they cover the key space."""
        return _open_shards(self.shards)

    @property
    def open_count(self) -> int:
        """How many shards are open."""
        return len([None for shard in self.shards if shard.end is None])

    def being_created(self, now_ms: int) -> bool:
        return self.busy == "CREATING" and now_ms < self.busy_ms and self.gone_ms is None

    def visible_shards(self, now_ms: int) -> list[StreamShard]:
        """By index, without closed shards whose records have all aged out."""
        horizon = self.horizon_ms(now_ms)
        return [shard for shard in self.shards if shard.closed_ms is None or shard.closed_ms >= horizon]

    def shard_at(self, index: int, now_ms: int) -> StreamShard | None:
        """The visible shard of this index."""
        horizon = self.horizon_ms(now_ms)
        for shard in self.shards:
            if shard.index == index:
                return shard if shard.closed_ms is None or shard.closed_ms >= horizon else None
        return None

    def children(self, index: int) -> list[StreamShard]:
        return [shard for shard in self.shards if index in shard.parents]

    def consumer(self, name: str, now_ms: int) -> StreamConsumer | None:
        """The one that has this name now."""
        for consumer in self.consumers:
            if consumer.name == name and not consumer.gone(now_ms):
                return consumer
        return None

    def describe(self, shard: StreamShard) -> Shard:
        """The shard as the rest of the house knows it."""
        return Shard(
            shard.id,
            shard.index,
            self.log(shard),
            shard.hash_range,
            shard.created_ms,
            tuple(shard_id(parent) for parent in shard.parents),
            shard.end,
        )


class Resharding:
    """A stream while shards of it are split and merged, one after the other on what the last one has made: each costs what
    it touches, however many shards there are."""

    def __init__(self, stream: Stream) -> None:
        self.made = stream.shards_made
        """The index of the next shard."""
        self._stream = stream
        self._shards = {shard.index: shard for shard in stream.shards}
        self._active_ms = 0

    def split(self, index: int, end: int, first_key: bytes, at_ms: int, active_ms: int) -> None:
        """The shard ends at the offset `end`, and two children divide its range."""
        parent = self._shards[index]
        last = (int.from_bytes(first_key, "big") - 1).to_bytes(16, "big")
        self._replace({index: end}, [(parent.first_key, last), (first_key, parent.last_key)], at_ms, active_ms)

    def merge(self, ends: dict[int, int], at_ms: int, active_ms: int) -> None:
        """The two shards of `ends` become one."""
        merged = [self._shards[index] for index in ends]
        first = min(shard.first_key for shard in merged)
        last = max(shard.last_key for shard in merged)
        self._replace(ends, [(first, last)], at_ms, active_ms)

    def open_shards(self) -> list[StreamShard]:
        """As `Stream.open_shards`."""
        return _open_shards(self._shards.values())

    def stream(self) -> Stream:
        """As it is now."""
        return msgspec.structs.replace(
            self._stream,
            shards=tuple(self._shards.values()),
            shards_made=self.made,
            busy="UPDATING",
            busy_ms=self._active_ms,
        )

    def _replace(self, ends: dict[int, int], ranges: list[tuple[bytes, bytes]], at_ms: int, active_ms: int) -> None:
        """Closes the shards of `ends` and opens one child for each of `ranges`."""
        sequence_ms = max(at_ms, *(self._shards[index].sequence_ms + 1000 for index in ends))
        parents = tuple(ends)
        for index in parents:
            self._shards[index] = msgspec.structs.replace(self._shards[index], end=ends[index], closed_ms=at_ms)
        for first, last in ranges:
            self._shards[self.made] = StreamShard(
                index=self.made,
                first_key=first,
                last_key=last,
                created_ms=at_ms,
                sequence_ms=sequence_ms,
                parents=parents,
            )
            self.made += 1
        self._active_ms = active_ms


def _open_shards(shards: Iterable[StreamShard]) -> list[StreamShard]:
    return sorted((shard for shard in shards if shard.open), key=lambda shard: shard.first_key)


def covers(shards: list[StreamShard]) -> bool:
    """Whether the ranges, in order, are the whole key space with neither gap nor overlap."""
    after = 0
    for shard in shards:
        if shard.hash_range.first != after:
            return False
        after = shard.hash_range.last + 1
    return after == HASH_KEY_MAX + 1
