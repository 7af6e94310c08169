"""The catalog: which streams exist, with their shards. Built from events; `apply` is the only mutator.

Streams are values: an event replaces a stream by another one, so whoever holds a `Stream` holds a consistent picture, and
whether anything has changed is a question of identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import singledispatchmethod
from typing import NamedTuple

import msgspec

from streams.control.events import (
    AnyEvent,
    Founded,
    ShardsExpired,
    ShardsMerged,
    ShardSplit,
    StreamCreated,
    StreamDeleted,
    StreamGone,
)
from streams.core.scope import Scope
from streams.core.shards import HASH_KEY_MAX, HashRange, Shard, shard_id

HOUR_MS = 3_600_000
ORIGIN = "streams/"
"""Where the log keeps the shards of streams: ``streams/<stream id>/<shard id>``. Everything below it is the catalog's."""


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


class Stream(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stream. `shards` by index, `shards_made` the index of the next one; until `busy_ms` it is in state `busy`."""

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
    tags: dict[str, str] = {}

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
        return now_ms - self.retention_hours * HOUR_MS

    def log(self, shard: StreamShard) -> str:
        """The shard's name in the log."""
        return f"{ORIGIN}{self.id}/{shard.id}"

    def logs(self) -> list[str]:
        return [self.log(shard) for shard in self.shards]

    def open_shards(self) -> list[StreamShard]:
        """In the order of their hash keys: together they cover the key space."""
        return sorted((shard for shard in self.shards if shard.open), key=lambda shard: shard.first_key)

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


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The whole catalog, in place of the events that made it."""

    key: bytes
    streams: list[Stream]


class Catalog:
    """All streams of all accounts and regions."""

    def __init__(self) -> None:
        self.key = b""
        self.streams: dict[Key, Stream] = {}
        self._keys: dict[str, Key] = {}

    def by_id(self, stream_id: str) -> Stream | None:
        key = self._keys.get(stream_id)
        return None if key is None else self.streams[key]

    def of_scope(self, scope: Scope) -> Iterator[Stream]:
        return (
            stream
            for stream in self.streams.values()
            if stream.account == scope.account and stream.region == scope.region
        )

    def snapshot(self) -> Snapshot:
        return Snapshot(key=self.key, streams=list(self.streams.values()))

    def restore(self, snapshot: Snapshot) -> None:
        self.key = snapshot.key
        self.streams = {stream.key: stream for stream in snapshot.streams}
        self._keys = {stream.id: stream.key for stream in snapshot.streams}

    @singledispatchmethod
    def apply(self, event: AnyEvent) -> None:
        """What `event` says is so."""
        raise AssertionError(f"nobody applies {type(event).__name__}")

    @apply.register
    def _(self, event: Founded) -> None:
        self.key = event.key

    @apply.register
    def _(self, event: StreamCreated) -> None:
        shards = tuple(
            StreamShard(
                index=index,
                first_key=hash_range.first.to_bytes(16, "big"),
                last_key=hash_range.last.to_bytes(16, "big"),
                created_ms=event.at_ms,
                sequence_ms=event.at_ms,
            )
            for index, hash_range in enumerate(HashRange.divide(event.shards))
        )
        stream = Stream(
            account=event.account,
            region=event.region,
            name=event.name,
            id=event.id,
            created_ms=event.at_ms,
            shards=shards,
            shards_made=len(shards),
            busy="CREATING",
            busy_ms=event.active_ms,
            on_demand=event.on_demand,
            retention_hours=event.retention_hours,
            record_size_max_kib=event.record_size_max_kib,
            warm_mibps=event.warm_mibps,
            tags=event.tags,
        )
        self.streams[stream.key] = stream
        self._keys[stream.id] = stream.key

    @apply.register
    def _(self, event: StreamDeleted) -> None:
        self._change(event.id, gone_ms=event.gone_ms)

    @apply.register
    def _(self, event: StreamGone) -> None:
        del self.streams[self._keys.pop(event.id)]

    @apply.register
    def _(self, event: ShardSplit) -> None:
        stream = self._stream(event.id)
        parent = next(shard for shard in stream.shards if shard.index == event.shard)
        last = (int.from_bytes(event.first_key, "big") - 1).to_bytes(16, "big")
        self._reshard(
            stream,
            {event.shard: event.end},
            [(parent.first_key, last), (event.first_key, parent.last_key)],
            event.at_ms,
            event.active_ms,
        )

    @apply.register
    def _(self, event: ShardsMerged) -> None:
        stream = self._stream(event.id)
        ends = {event.shard: event.end, event.adjacent: event.adjacent_end}
        merged = [shard for shard in stream.shards if shard.index in ends]
        first = min(shard.first_key for shard in merged)
        last = max(shard.last_key for shard in merged)
        self._reshard(stream, ends, [(first, last)], event.at_ms, event.active_ms)

    @apply.register
    def _(self, event: ShardsExpired) -> None:
        stream = self._stream(event.id)
        self._change(event.id, shards=tuple(shard for shard in stream.shards if shard.index not in event.shards))

    def _reshard(
        self, stream: Stream, ends: dict[int, int], ranges: list[tuple[bytes, bytes]], at_ms: int, active_ms: int
    ) -> None:
        """Closes the shards of `ends` and opens one child for each of `ranges`."""
        shards = [
            msgspec.structs.replace(shard, end=ends[shard.index], closed_ms=at_ms) if shard.index in ends else shard
            for shard in stream.shards
        ]
        sequence_ms = max(at_ms, *(shard.sequence_ms + 1000 for shard in stream.shards if shard.index in ends))
        for index, (first, last) in enumerate(ranges, stream.shards_made):
            shards.append(
                StreamShard(
                    index=index,
                    first_key=first,
                    last_key=last,
                    created_ms=at_ms,
                    sequence_ms=sequence_ms,
                    parents=tuple(ends),
                )
            )
        self._change(
            stream.id,
            shards=tuple(shards),
            shards_made=stream.shards_made + len(ranges),
            busy="UPDATING",
            busy_ms=active_ms,
        )

    def _stream(self, stream_id: str) -> Stream:
        return self.streams[self._keys[stream_id]]

    def _change(self, stream_id: str, **fields: object) -> None:
        key = self._keys[stream_id]
        self.streams[key] = msgspec.structs.replace(self.streams[key], **fields)


def covers(shards: list[StreamShard]) -> bool:
    """Whether the ranges, in order, are the whole key space with neither gap nor overlap."""
    after = 0
    for shard in shards:
        if shard.hash_range.first != after:
            return False
        after = shard.hash_range.last + 1
    return after == HASH_KEY_MAX + 1
