"""The catalog: which streams exist, with their shards, consumers and queues. Built from events; `apply` is the only mutator.

Streams are values: an event replaces a stream by another one, so whoever holds a `Stream` holds a consistent picture, and
whether anything has changed is a question of identity.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from functools import singledispatchmethod
from itertools import groupby
from typing import cast

import msgspec

from streams.control.events import (
    AccountChanged,
    AnyEvent,
    ConsumerDeregistered,
    ConsumerGone,
    ConsumerRegistered,
    ConsumerTagged,
    Founded,
    PolicyPut,
    QueueChanged,
    QueueCreated,
    QueueDeleted,
    QueueGone,
    ShardsExpired,
    ShardsHeld,
    ShardsMerged,
    ShardSplit,
    ShardsReleased,
    StreamChanged,
    StreamCreated,
    StreamDeleted,
    StreamGone,
)
from streams.control.queue import Queue
from streams.control.stream import ORIGIN, Key, Resharding, Stream, StreamConsumer, StreamShard
from streams.core.scope import Scope
from streams.core.shards import HashRange


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The minimum throughput billing commitment of an account in a region."""

    account: str
    region: str
    started_ms: int
    ended_ms: int | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The whole catalog, in place of the events that made it."""

    key: bytes
    streams: list[Stream]
    policies: dict[str, str] = {}
    accounts: list[Account] = []
    queues: list[Queue] = []
    held: list[ShardsHeld] = []


class Catalog:
    """All streams of all accounts and regions."""

    def __init__(self) -> None:
        self.key = b""
        self.streams: dict[Key, Stream] = {}
        self.policies: dict[str, str] = {}
        """Resource policies by ARN."""
        self.accounts: dict[Scope, Account] = {}
        self.queues: dict[str, Queue] = {}
        """By id."""
        self.held: dict[str, ShardsHeld] = {}
        """Streams that a process is about to reshard, by id."""
        self.gone: set[str] = set()
        """What the log may drop: names of shards, and of the folders that streams had. Whoever drops them empties it."""
        self._keys: dict[str, Key] = {}
        self._names: dict[Scope, list[str]] = {}
        """Of all streams in a scope, in order: a page of them costs what is on it."""

    def by_id(self, stream_id: str) -> Stream | None:
        key = self._keys.get(stream_id)
        return None if key is None else self.streams[key]

    def of_scope(self, scope: Scope, after: str = "") -> Iterator[Stream]:
        """By name, those beyond `after`. Nothing may be applied meanwhile."""
        names = self._names.get(scope, [])
        for at in range(bisect_right(names, after), len(names)):
            yield self.streams[Key(scope.account, scope.region, names[at])]

    def snapshot(self) -> Snapshot:
        return Snapshot(
            key=self.key,
            streams=list(self.streams.values()),
            policies=dict(self.policies),
            accounts=list(self.accounts.values()),
            queues=list(self.queues.values()),
            held=list(self.held.values()),
        )

    def restore(self, snapshot: Snapshot) -> None:
        self.key = snapshot.key
        self.streams = {stream.key: stream for stream in snapshot.streams}
        self._keys = {stream.id: stream.key for stream in snapshot.streams}
        self._names = {}
        for stream in sorted(snapshot.streams, key=lambda stream: stream.name):
            self._names.setdefault(Scope(stream.account, stream.region), []).append(stream.name)
        self.policies = dict(snapshot.policies)
        self.accounts = {Scope(account.account, account.region): account for account in snapshot.accounts}
        self.queues = {queue.id: queue for queue in snapshot.queues}
        self.held = {held.id: held for held in snapshot.held}

    @singledispatchmethod
    def apply(self, event: AnyEvent) -> None:
        """What `event` says is so."""
        raise AssertionError(f"nobody applies {type(event).__name__}")

    def apply_all(self, events: Iterable[AnyEvent]) -> None:
        """As `apply`, in order. A thousand splits of a stream make it anew once, not a thousand times."""
        for stream_id, run in groupby(events, _resharded):
            if stream_id is not None:
                self._reshard(stream_id, cast("Iterable[ShardSplit | ShardsMerged]", run))
            else:
                for event in run:
                    self.apply(event)

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
            distribution=event.distribution,
            tags=event.tags,
        )
        self.streams[stream.key] = stream
        self._keys[stream.id] = stream.key
        insort(self._names.setdefault(Scope(stream.account, stream.region), []), stream.name)

    @apply.register
    def _(self, event: StreamDeleted) -> None:
        self._change(event.id, gone_ms=event.gone_ms)

    @apply.register
    def _(self, event: StreamGone) -> None:
        self.gone.add(f"{ORIGIN}{event.id}")
        stream = self.streams.pop(self._keys.pop(event.id))
        self.held.pop(event.id, None)
        names = self._names[Scope(stream.account, stream.region)]
        del names[bisect_left(names, stream.name)]
        for arn in [stream.arn, *(consumer.arn for consumer in stream.consumers)]:
            self.policies.pop(arn, None)

    @apply.register
    def _(self, event: StreamChanged) -> None:
        fields: dict[str, object] = {
            name: value
            for name in (
                "retention_hours",
                "record_size_max_kib",
                "on_demand",
                "distribution",
                "key_id",
                "metrics",
                "tags",
            )
            if (value := getattr(event, name)) is not None
        }
        if event.retention_hours is not None:
            # What had aged out does not come back.
            fields["floor_ms"] = self._stream(event.id).horizon_ms(event.at_ms)
        if event.key_id is not None:
            fields["encrypted"] = self._stream(event.id).encryption_changed(bool(event.key_id), event.at_ms)
        if event.warm_mibps is not None:
            fields["warm_mibps"] = event.warm_mibps if event.warm_mibps >= 0 else None
        if event.active_ms:
            fields |= {"busy": "UPDATING", "busy_ms": event.active_ms}
        self._change(event.id, **fields)

    @apply.register(ShardSplit)
    @apply.register(ShardsMerged)
    def _(self, event: ShardSplit | ShardsMerged) -> None:
        self._reshard(event.id, [event])

    @apply.register
    def _(self, event: ShardsHeld) -> None:
        self.held[event.id] = event

    @apply.register
    def _(self, event: ShardsReleased) -> None:
        self.held.pop(event.id, None)

    @apply.register
    def _(self, event: ShardsExpired) -> None:
        stream = self._stream(event.id)
        self.gone |= {stream.log(shard) for shard in stream.shards if shard.index in event.shards}
        self._change(event.id, shards=tuple(shard for shard in stream.shards if shard.index not in event.shards))

    @apply.register
    def _(self, event: ConsumerRegistered) -> None:
        stream = self._stream(event.id)
        consumer = StreamConsumer(
            stream_arn=stream.arn,
            name=event.name,
            created_ms=event.at_ms,
            active_ms=event.active_ms,
            tags=event.tags,
        )
        self._change(event.id, consumers=(*stream.consumers, consumer))

    @apply.register
    def _(self, event: ConsumerTagged) -> None:
        self._change_consumer(event.id, event.name, tags=event.tags)

    @apply.register
    def _(self, event: ConsumerDeregistered) -> None:
        self._change_consumer(event.id, event.name, gone_ms=event.gone_ms)

    @apply.register
    def _(self, event: ConsumerGone) -> None:
        stream = self._stream(event.id)
        for consumer in stream.consumers:
            if consumer.name == event.name:
                self.policies.pop(consumer.arn, None)
        self._change(event.id, consumers=tuple(one for one in stream.consumers if one.name != event.name))

    @apply.register
    def _(self, event: QueueCreated) -> None:
        self.queues[event.id] = event.queue(self._stream(event.stream))

    @apply.register
    def _(self, event: QueueChanged) -> None:
        fields: dict[str, object] = {
            name: value for name in ("attributes", "tags") if (value := getattr(event, name)) is not None
        }
        if event.active_ms:
            fields |= {"busy": "UPDATING", "busy_ms": event.active_ms}
        self.queues[event.id] = msgspec.structs.replace(self.queues[event.id], **fields)

    @apply.register
    def _(self, event: QueueDeleted) -> None:
        self.queues[event.id] = msgspec.structs.replace(self.queues[event.id], gone_ms=event.gone_ms)

    @apply.register
    def _(self, event: QueueGone) -> None:
        queue = self.queues.pop(event.id)
        self.gone.add(queue.log)
        self.policies.pop(queue.arn, None)

    @apply.register
    def _(self, event: PolicyPut) -> None:
        if event.policy:
            self.policies[event.arn] = event.policy
        else:
            self.policies.pop(event.arn, None)

    @apply.register
    def _(self, event: AccountChanged) -> None:
        scope = Scope(event.account, event.region)
        old = self.accounts.get(scope)
        self.accounts[scope] = (
            Account(account=event.account, region=event.region, started_ms=event.at_ms)
            if event.committed or old is None
            else msgspec.structs.replace(old, ended_ms=event.at_ms)
        )

    def _reshard(self, stream_id: str, events: Iterable[ShardSplit | ShardsMerged]) -> None:
        self.held.pop(stream_id, None)
        resharding = Resharding(self._stream(stream_id))
        for event in events:
            if isinstance(event, ShardSplit):
                resharding.split(event.shard, event.end, event.first_key, event.at_ms, event.active_ms)
            else:
                ends = {event.shard: event.end, event.adjacent: event.adjacent_end}
                resharding.merge(ends, event.at_ms, event.active_ms)
        self._put(resharding.stream())

    def _stream(self, stream_id: str) -> Stream:
        return self.streams[self._keys[stream_id]]

    def _put(self, stream: Stream) -> None:
        self.streams[stream.key] = stream

    def _change(self, stream_id: str, **fields: object) -> None:
        self._put(msgspec.structs.replace(self._stream(stream_id), **fields))

    def _change_consumer(self, stream_id: str, name: str, **fields: object) -> None:
        consumers = self._stream(stream_id).consumers
        self._change(
            stream_id,
            consumers=tuple(
                msgspec.structs.replace(consumer, **fields) if consumer.name == name else consumer
                for consumer in consumers
            ),
        )


def _resharded(event: AnyEvent) -> str | None:
    """The stream of which the event replaces shards by others; None where it does not."""
    return event.id if isinstance(event, ShardSplit | ShardsMerged) else None
