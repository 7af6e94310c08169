"""Consumer groups as our own clients see them: shards by their ids, streams by their names."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from streams.control.stream import Stream
from streams.core.errors import InvalidArgument, ResourceNotFound
from streams.core.exchange import GroupDescription, GroupShard, Lease, Progress, Start
from streams.core.scope import Scope
from streams.core.shards import shard_id
from streams.groups import coordinator
from streams.groups.coordinator import ShardSeen
from streams.operations.addressing import parse_shard_id
from streams.operations.context import Context
from streams.operations.native import check_consumer, find

LEASE_MS_MIN, LEASE_MS_MAX = 1_000, 3_600_000


class StreamView:
    """`streams.groups.coordinator.View` of a stream, by its name: `shards` raises `ResourceNotFound` once it is gone."""

    def __init__(self, context: Context, scope: Scope, stream: str) -> None:
        self._context = context
        found = context.stream(scope, stream)
        self.id = found.id
        self.name = found.name

    def stream(self) -> Stream:
        stream = self._context.catalog.by_id(self.id)
        if stream is None or stream.gone(self._context.now_ms()):
            raise ResourceNotFound(f"Stream {self.name} not found: it was deleted while it was read.")
        return stream

    def shards(self) -> Sequence[ShardSeen]:
        there = self.stream().visible_shards(self._context.now_ms())
        return [ShardSeen(shard.index, shard.parents, shard.end) for shard in there]

    def change(self) -> Coroutine[Any, Any, Any]:
        return self._context.live(self.stream()).change.wait()


async def sync_group(
    context: Context,
    scope: Scope,
    stream: str,
    group: str,
    member: str,
    held: Mapping[str, int],
    start: Start,
    lease_ms: int,
    wait_ms: int,
) -> dict[str, Lease]:
    check_consumer(group)
    check_consumer(member)
    if not LEASE_MS_MIN <= lease_ms <= LEASE_MS_MAX:
        raise InvalidArgument(f"A lease lasts {LEASE_MS_MIN} to {LEASE_MS_MAX} ms, not {lease_ms}.")
    view = StreamView(context, scope, stream)
    groups = await context.groups(view.id)
    if not groups.knows(view.id, group):
        positions = await find(context, scope, stream, start, None)
        await groups.found(view.id, group, {_index(shard): at for shard, at in positions.items()})
    indexes = {_index(shard): generation for shard, generation in held.items()}
    granted = await groups.sync(view, group, member, indexes, lease_ms, wait_ms)
    return {shard_id(shard): Lease(*one) for shard, one in granted.items()}


async def leave_group(context: Context, scope: Scope, stream: str, group: str, member: str) -> None:
    view = StreamView(context, scope, stream)
    await (await context.groups(view.id)).leave(view, group, member)


async def save_group(
    context: Context,
    scope: Scope,
    stream: str,
    group: str,
    member: str,
    progress: Mapping[str, Progress],
) -> None:
    indexes = {}
    for shard, one in progress.items():
        if one.position < 0 or (one.intent is not None and one.intent < one.position):
            raise InvalidArgument(f"The progress in {shard} goes from {one.position} to {one.intent}.")
        indexes[_index(shard)] = coordinator.Progress(one.generation, one.position, one.intent)
    view = StreamView(context, scope, stream)
    await (await context.groups(view.id)).save(view, group, member, indexes)


async def forget_group(context: Context, scope: Scope, stream: str, group: str) -> None:
    view = StreamView(context, scope, stream)
    await (await context.groups(view.id)).forget(view, group)


async def describe_groups(context: Context, scope: Scope, stream: str) -> list[GroupDescription]:
    found = StreamView(context, scope, stream).stream()
    now_ms = context.now_ms()
    described = []
    groups = await context.groups(found.id)
    for name, (group, members) in sorted(groups.groups(found.id).items()):
        shards = []
        for shard in found.visible_shards(now_ms):
            first, tip = await context.log.bounds(found.log(shard))
            position = max(group.positions.get(shard.index, 0), first)
            if shard.end is not None and position >= shard.end:
                continue
            lease = group.leases.get(shard.index)
            shards.append(GroupShard(shard.id, lease.member if lease is not None else None, position, tip))
        there = tuple(sorted(member for member, deadline_ms in members.items() if deadline_ms > now_ms))
        described.append(GroupDescription(name, there, tuple(shards)))
    return described


def _index(shard: str) -> int:
    index = parse_shard_id(shard)
    if index is None:
        raise InvalidArgument(f"{shard[:200]!r} is not the id of a shard.")
    return index
