"""Control operations as pure functions: the catalog, what is asked and the time in; the events that answer it out.

They raise from `streams.core.errors`, in AWS's words, and change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from streams.control.catalog import Catalog
from streams.control.events import (
    AnyEvent,
    ConsumerGone,
    QueueGone,
    ShardsExpired,
    StreamCreated,
    StreamDeleted,
    StreamGone,
)
from streams.control.stream import ORIGIN, Key, Stream
from streams.core.errors import LimitExceeded, ResourceInUse, ResourceNotFound
from streams.core.scope import Scope
from streams.core.shards import shard_id

T = TypeVar("T")

ON_DEMAND_SHARDS = 4

CREATING_MAX = 5
"""Streams of an account that may be CREATING at a time: AWS's."""


@dataclass(frozen=True, slots=True)
class Decision(Generic[T]):
    """What to answer, what has then happened, and which shards the log must have before."""

    reply: T
    events: tuple[AnyEvent, ...] = ()
    create: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStream:
    """What CreateStream asks for. `id` is fresh; `shards` None for an on-demand stream."""

    scope: Scope
    name: str
    id: str
    shards: int | None = 1
    retention_hours: int = 24
    record_size_max_kib: int = 1024
    warm_mibps: int | None = None
    distribution: str = "USER_PARTITION_KEY"
    tags: Mapping[str, str] | None = None


def find_stream(catalog: Catalog, key: Key, now_ms: int) -> Stream:
    """Raises `ResourceNotFound`. A deleted stream is gone as soon as its time is, whoever has swept or not."""
    stream = catalog.streams.get(key)
    if stream is None or stream.gone(now_ms):
        raise ResourceNotFound(f"Stream {key.name} under account {key.account} not found.")
    return stream


def create_stream(
    catalog: Catalog, now_ms: int, new: NewStream, create_ms: int, shards_max: int, on_demand_streams_max: int = 10_000
) -> Decision[None]:
    """Raises `ResourceInUse` where the name is taken, `LimitExceeded` beyond `shards_max` open shards or
    `on_demand_streams_max` on-demand streams."""
    scope = new.scope
    key = Key(scope.account, scope.region, new.name)
    events: list[AnyEvent] = []
    old = catalog.streams.get(key)
    if old is not None:
        if not old.gone(now_ms):
            raise ResourceInUse(f"Stream {new.name} under account {scope.account} already exists.")
        events += [*_queues_gone(catalog, now_ms, old), StreamGone(at_ms=now_ms, id=old.id)]
    if sum(stream.being_created(now_ms) for stream in catalog.of_scope(scope)) >= CREATING_MAX:
        raise LimitExceeded(
            f"{CREATING_MAX} streams under account {scope.account} are in state CREATING, the most at a time."
        )
    shards = ON_DEMAND_SHARDS if new.shards is None else new.shards
    check_shard_limit(catalog, scope, shards, shards_max)
    if new.shards is None:
        check_on_demand_limit(catalog, scope, on_demand_streams_max)
    events.append(
        StreamCreated(
            at_ms=now_ms,
            account=scope.account,
            region=scope.region,
            name=new.name,
            id=new.id,
            shards=shards,
            active_ms=busy_until(now_ms, create_ms),
            on_demand=new.shards is None,
            retention_hours=new.retention_hours,
            record_size_max_kib=new.record_size_max_kib,
            warm_mibps=new.warm_mibps,
            distribution=new.distribution,
            tags=dict(new.tags or {}),
        )
    )
    return Decision(None, tuple(events), tuple(f"{ORIGIN}{new.id}/{shard_id(index)}" for index in range(shards)))


def delete_stream(
    catalog: Catalog, now_ms: int, key: Key, delete_ms: int, with_consumers: bool = True
) -> Decision[Stream]:
    """The stream as it was. Deleting a stream that is DELETING changes nothing, unless it is to be gone at once.

    Raises `ResourceInUse` where it has queues, or consumers that are not to go with it.
    """
    stream = find_stream(catalog, key, now_ms)
    if not with_consumers and any(not consumer.gone(now_ms) for consumer in stream.consumers):
        raise ResourceInUse(
            f"Stream {stream.name} under account {stream.account} has registered consumers. Deregister them, or set"
            " EnforceConsumerDeletion."
        )
    if any(queue.stream_id == stream.id and not queue.gone(now_ms) for queue in catalog.queues.values()):
        raise ResourceInUse(f"Stream {stream.name} under account {stream.account} has queues. Delete them first.")
    if delete_ms == 0:
        return Decision(stream, (*_queues_gone(catalog, now_ms, stream), StreamGone(at_ms=now_ms, id=stream.id)))
    if stream.gone_ms is not None:
        return Decision(stream)
    return Decision(stream, (StreamDeleted(at_ms=now_ms, id=stream.id, gone_ms=now_ms + delete_ms),))


def sweep(catalog: Catalog, now_ms: int) -> Decision[None]:
    """Forgets the streams and queues whose deletion is over and the closed shards whose records have all aged out."""
    events: list[AnyEvent] = [
        QueueGone(at_ms=now_ms, id=queue.id) for queue in catalog.queues.values() if queue.gone(now_ms)
    ]
    for stream in catalog.streams.values():
        if stream.gone(now_ms):
            events.append(StreamGone(at_ms=now_ms, id=stream.id))
            continue
        events += [
            ConsumerGone(at_ms=now_ms, id=stream.id, name=consumer.name)
            for consumer in stream.consumers
            if consumer.gone(now_ms)
        ]
        visible = {shard.index for shard in stream.visible_shards(now_ms)}
        expired = tuple(shard.index for shard in stream.shards if shard.index not in visible)
        if expired:
            events.append(ShardsExpired(at_ms=now_ms, id=stream.id, shards=expired))
    return Decision(None, tuple(events))


def _queues_gone(catalog: Catalog, now_ms: int, stream: Stream) -> list[AnyEvent]:
    """Queues whose deletion is over go before their stream."""
    return [QueueGone(at_ms=now_ms, id=queue.id) for queue in catalog.queues.values() if queue.stream_id == stream.id]


def check_shard_limit(catalog: Catalog, scope: Scope, more: int, shards_max: int) -> None:
    """Raises `LimitExceeded` where `more` open shards would be too many for the account in the region."""
    count = sum(shard.open for stream in catalog.of_scope(scope) for shard in stream.shards)
    if count + more > shards_max:
        raise LimitExceeded(
            f"This request would exceed the shard limit for the account {scope.account} in {scope.region}."
            f" Current shard count for the account: {count}. Limit: {shards_max}. Number of additional shards that would"
            f" have resulted from this request: {more}. Refer to the AWS Service Limits page"
            " (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current limits and how to"
            " request higher limits."
        )


def check_on_demand_limit(catalog: Catalog, scope: Scope, streams_max: int) -> None:
    """Raises `LimitExceeded` where one more on-demand stream would be too many for the account in the region."""
    count = sum(stream.on_demand for stream in catalog.of_scope(scope))
    if count >= streams_max:
        raise LimitExceeded(
            f"This request would exceed the on-demand stream limit for the account {scope.account} in {scope.region}."
            f" Current on-demand stream count for the account: {count}. Limit: {streams_max}."
        )


def not_active(stream: Stream, now_ms: int) -> ResourceInUse:
    """For a change that has to wait for another one."""
    return ResourceInUse(
        f"Stream {stream.name} under account {stream.account} not ACTIVE, instead in state {stream.status(now_ms)}"
    )


def busy_until(now_ms: int, duration_ms: int) -> int:
    """0 for no time at all: a clock that goes back must not bring the state back."""
    return now_ms + duration_ms if duration_ms else 0
