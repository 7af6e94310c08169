"""Decisions that reshard a stream, as pure functions.

`ends` holds the log's next offset of each open shard by index, appends held back; `update_ms` is how long the stream is
then UPDATING. They raise from `streams.core.errors`, in AWS's words.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from streams.control.catalog import Catalog
from streams.control.decisions import Decision, busy_until, check_shard_limit, find_stream, not_active
from streams.control.events import AnyEvent, ShardsMerged, ShardSplit
from streams.control.stream import ORIGIN, Key, Resharding, Stream, StreamShard
from streams.core.errors import InvalidArgument, ResourceNotFound, ValidationError
from streams.core.shards import shard_id


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
    """`shard` is an index, or text that is none."""
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


def update_shard_count(
    catalog: Catalog,
    now_ms: int,
    key: Key,
    target: int,
    ends: Mapping[int, int],
    update_ms: int,
    shards_max: int,
) -> Decision[int]:
    """Uniform scaling as AWS does it: up, every open shard is split once, and then neighbours are merged from the left
    until there are `target`; down, neighbours are merged in rounds. What was opened on the way is closed empty.

    Answers how many there were. Raises `InvalidArgument` beyond double and below half of the open shards.
    """
    stream = _changeable(catalog, now_ms, key)
    before = stream.open_shards()
    count = len(before)
    if target > 2 * count:
        raise InvalidArgument(
            "UpdateShardCount cannot scale up over double your current open shard count. Current open shard count:"
            f" {count} Target shard count: {target}"
        )
    if 2 * target < count:
        raise InvalidArgument(
            "UpdateShardCount cannot scale down below half your current open shard count. Current open shard count:"
            f" {count} Target shard count: {target}"
        )
    check_shard_limit(catalog, stream.scope, target - count, shards_max)
    return _scaled(stream, now_ms, target, ends, busy_until(now_ms, update_ms))


def scale(
    catalog: Catalog, now_ms: int, key: Key, target: int, ends: Mapping[int, int], shards_max: int
) -> Decision[int]:
    """What an on-demand stream does by itself; it stays ACTIVE. `target` is at most double, and at least half, of the open
    shards; answers how many there were."""
    stream = find_stream(catalog, key, now_ms)
    if stream.status(now_ms) != "ACTIVE":
        raise not_active(stream, now_ms)
    check_shard_limit(catalog, stream.scope, target - stream.open_count, shards_max)
    return _scaled(stream, now_ms, target, ends, 0)


def _scaled(stream: Stream, now_ms: int, target: int, ends: Mapping[int, int], active_ms: int) -> Decision[int]:
    before = stream.open_shards()
    count = len(before)
    scaling = _Scaling(stream, _closing_ms(now_ms, *before), active_ms, ends)
    if target > count:
        for shard in before:
            if shard.first_key < shard.last_key:
                scaling.split(shard)
        # A shard of one hash key cannot be split: the widest others are split once more.
        while len(shards := scaling.open_shards()) < target:
            scaling.split(max(shards, key=lambda shard: shard.hash_range.last - shard.hash_range.first))
    while (over := len(shards := scaling.open_shards()) - target) > 0:
        for one, other in itertools.islice(zip(shards[::2], shards[1::2], strict=False), over):
            scaling.merge(one, other)
    return Decision(count, tuple(scaling.events), _next_logs(stream, scaling.made - stream.shards_made))


class _Scaling:
    """Splits and merges, one after the other on what the last one has made."""

    def __init__(self, stream: Stream, at_ms: int, active_ms: int, ends: Mapping[int, int]) -> None:
        self.events: list[AnyEvent] = []
        self._id = stream.id
        self._resharding = Resharding(stream)
        self._at_ms = at_ms
        self._active_ms = active_ms
        self._ends = ends

    @property
    def made(self) -> int:
        """The index of the next shard."""
        return self._resharding.made

    def open_shards(self) -> list[StreamShard]:
        return self._resharding.open_shards()

    def split(self, shard: StreamShard) -> None:
        first_key = ((shard.hash_range.first + shard.hash_range.last + 1) // 2).to_bytes(16, "big")
        event = ShardSplit(
            at_ms=self._at_ms,
            id=self._id,
            shard=shard.index,
            end=self._end(shard),
            first_key=first_key,
            active_ms=self._active_ms,
        )
        self.events.append(event)
        self._resharding.split(shard.index, event.end, first_key, self._at_ms, self._active_ms)

    def merge(self, one: StreamShard, other: StreamShard) -> None:
        event = ShardsMerged(
            at_ms=self._at_ms,
            id=self._id,
            shard=one.index,
            end=self._end(one),
            adjacent=other.index,
            adjacent_end=self._end(other),
            active_ms=self._active_ms,
        )
        self.events.append(event)
        ends = {event.shard: event.end, event.adjacent: event.adjacent_end}
        self._resharding.merge(ends, self._at_ms, self._active_ms)

    def _end(self, shard: StreamShard) -> int:
        """A shard made on the way has never taken a record."""
        return self._ends.get(shard.index, 0)


def _changeable(catalog: Catalog, now_ms: int, key: Key) -> Stream:
    stream = find_stream(catalog, key, now_ms)
    if stream.status(now_ms) != "ACTIVE":
        raise not_active(stream, now_ms)
    _check_provisioned(stream)
    return stream


def _check_provisioned(stream: Stream) -> None:
    if stream.on_demand:
        raise ValidationError(
            f"Request is invalid. Stream {stream.name} under account {stream.account} is in On-Demand mode."
        )


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


def _closing_ms(now_ms: int, *parents: StreamShard) -> int:
    """Never before they were created, whatever the clock does: at each time, the shards then open cover the key space."""
    return max(now_ms, *(parent.created_ms for parent in parents))


def _next_logs(stream: Stream, count: int) -> tuple[str, ...]:
    made = stream.shards_made
    return tuple(f"{ORIGIN}{stream.id}/{shard_id(index)}" for index in range(made, made + count))
