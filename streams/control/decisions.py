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
    ShardsExpired,
    ShardsMerged,
    ShardSplit,
    StreamCreated,
    StreamDeleted,
    StreamGone,
)
from streams.control.stream import ORIGIN, Key, Stream, StreamShard
from streams.core.errors import InvalidArgument, LimitExceeded, ResourceInUse, ResourceNotFound, ValidationError
from streams.core.scope import Scope
from streams.core.shards import shard_id

T = TypeVar("T")

ON_DEMAND_SHARDS = 4


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
    tags: Mapping[str, str] | None = None


def find_stream(catalog: Catalog, key: Key, now_ms: int) -> Stream:
    """Raises `ResourceNotFound`. A deleted stream is gone as soon as its time is, whoever has swept or not."""
    stream = catalog.streams.get(key)
    if stream is None or stream.gone(now_ms):
        raise ResourceNotFound(f"Stream {key.name} under account {key.account} not found.")
    return stream


def create_stream(catalog: Catalog, now_ms: int, new: NewStream, create_ms: int, shards_max: int) -> Decision[None]:
    """Raises `ResourceInUse` where the name is taken, `LimitExceeded` beyond `shards_max` open shards."""
    scope = new.scope
    key = Key(scope.account, scope.region, new.name)
    events: list[AnyEvent] = []
    old = catalog.streams.get(key)
    if old is not None:
        if not old.gone(now_ms):
            raise ResourceInUse(f"Stream {new.name} under account {scope.account} already exists.")
        events.append(StreamGone(at_ms=now_ms, id=old.id))
    shards = ON_DEMAND_SHARDS if new.shards is None else new.shards
    check_shard_limit(catalog, scope, shards, shards_max)
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
            tags=dict(new.tags or {}),
        )
    )
    return Decision(None, tuple(events), tuple(f"{ORIGIN}{new.id}/{shard_id(index)}" for index in range(shards)))


def delete_stream(catalog: Catalog, now_ms: int, key: Key, delete_ms: int) -> Decision[Stream]:
    """The stream as it was. Deleting a stream that is DELETING changes nothing, unless it is to be gone at once."""
    stream = find_stream(catalog, key, now_ms)
    if delete_ms == 0:
        return Decision(stream, (StreamGone(at_ms=now_ms, id=stream.id),))
    if stream.gone_ms is not None:
        return Decision(stream)
    return Decision(stream, (StreamDeleted(at_ms=now_ms, id=stream.id, gone_ms=now_ms + delete_ms),))


def sweep(catalog: Catalog, now_ms: int) -> Decision[None]:
    """Forgets the streams whose deletion is over and the closed shards whose records have all aged out."""
    events: list[AnyEvent] = []
    for stream in catalog.streams.values():
        if stream.gone(now_ms):
            events.append(StreamGone(at_ms=now_ms, id=stream.id))
            continue
        visible = {shard.index for shard in stream.visible_shards(now_ms)}
        expired = tuple(shard.index for shard in stream.shards if shard.index not in visible)
        if expired:
            events.append(ShardsExpired(at_ms=now_ms, id=stream.id, shards=expired))
    return Decision(None, tuple(events))


def split_shard(
    catalog: Catalog,
    now_ms: int,
    key: Key,
    shard: int | str,
    first_key: int,
    ends: Mapping[int, int],
    update_ms: int,
    shards_max: int,
) -> Decision[None]:
    """`ends` holds the log's next offset of each open shard, appends held back; `shard` an index, or text that is none."""
    stream = _changeable(catalog, now_ms, key)
    parent = _open_shard(stream, now_ms, shard)
    hash_range = parent.hash_range
    if not hash_range.first + 1 < first_key < hash_range.last:
        raise InvalidArgument(
            f"NewStartingHashKey {first_key} used in SplitShard() on shard {parent.id} in stream {stream.name} under"
            f" account {stream.account} is not both greater than one plus the shard's StartingHashKey"
            f" {hash_range.first} and less than the shard's EndingHashKey {hash_range.last}."
        )
    check_shard_limit(catalog, stream.scope, 1, shards_max)
    event = ShardSplit(
        at_ms=_closing_ms(now_ms, parent),
        id=stream.id,
        shard=parent.index,
        end=ends[parent.index],
        first_key=first_key.to_bytes(16, "big"),
        active_ms=busy_until(now_ms, update_ms),
    )
    return Decision(None, (event,), _next_logs(stream, 2))


def merge_shards(
    catalog: Catalog,
    now_ms: int,
    key: Key,
    shard: int | str,
    adjacent: int | str,
    ends: Mapping[int, int],
    update_ms: int,
) -> Decision[None]:
    """As `split_shard`: two neighbours become one."""
    stream = _changeable(catalog, now_ms, key)
    one = _open_shard(stream, now_ms, shard)
    other = _open_shard(stream, now_ms, adjacent)
    if not one.hash_range.adjacent(other.hash_range):
        raise InvalidArgument(
            f"Shards {one.id} and {other.id} in stream {stream.name} under account {stream.account}"
            " are not an adjacent pair of shards eligible for merging"
        )
    event = ShardsMerged(
        at_ms=_closing_ms(now_ms, one, other),
        id=stream.id,
        shard=one.index,
        end=ends[one.index],
        adjacent=other.index,
        adjacent_end=ends[other.index],
        active_ms=busy_until(now_ms, update_ms),
    )
    return Decision(None, (event,), _next_logs(stream, 1))


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


def _changeable(catalog: Catalog, now_ms: int, key: Key) -> Stream:
    stream = find_stream(catalog, key, now_ms)
    status = stream.status(now_ms)
    if status != "ACTIVE":
        raise ResourceInUse(
            f"Stream {stream.name} under account {stream.account} not ACTIVE, instead in state {status}"
        )
    if stream.on_demand:
        raise ValidationError(
            f"Request is invalid. Stream {stream.name} under account {stream.account} is in On-Demand mode."
        )
    return stream


def _open_shard(stream: Stream, now_ms: int, shard: int | str) -> StreamShard:
    found = None if isinstance(shard, str) else stream.shard_at(shard, now_ms)
    if found is None:
        name = shard if isinstance(shard, str) else shard_id(shard)
        raise ResourceNotFound(f"Could not find shard {name} in stream {stream.name} under account {stream.account}.")
    if not found.open:
        raise InvalidArgument(
            f"Shard {found.id} in stream {stream.name} under account {stream.account} has already been merged or split,"
            " and thus is not eligible for merging or splitting."
        )
    return found


def busy_until(now_ms: int, duration_ms: int) -> int:
    """0 for no time at all: a clock that goes back must not bring the state back."""
    return now_ms + duration_ms if duration_ms else 0


def _closing_ms(now_ms: int, *parents: StreamShard) -> int:
    """Never before they were created, whatever the clock does: at each time, the shards then open cover the key space."""
    return max(now_ms, *(parent.created_ms for parent in parents))


def _next_logs(stream: Stream, count: int) -> tuple[str, ...]:
    made = stream.shards_made
    return tuple(f"{ORIGIN}{stream.id}/{shard_id(index)}" for index in range(made, made + count))
