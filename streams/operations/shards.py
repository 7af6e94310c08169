"""ListShards, SplitShard, MergeShards, UpdateShardCount."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from streams.control import resharding
from streams.control.catalog import Catalog
from streams.control.decisions import Decision
from streams.control.stream import Stream, StreamShard
from streams.core.errors import InvalidArgument
from streams.core.scope import Scope
from streams.operations.addressing import addressed, check_created, parse_shard_id
from streams.operations.context import Context
from streams.operations.streams import shard_reply, shown_shards

PAGE_MAX = 1_000
"""Shards on one page: AWS's default and cap."""

_PURPOSE = b"l"


class Page(msgspec.Struct, frozen=True, array_like=True):
    """What a NextToken of ListShards stands for: the question, and the last shard that was answered."""

    stream: str
    stream_id: str
    after: int
    filter: str | None
    timestamp_ms: int


async def list_shards(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    now_ms = context.now_ms()
    if request.next_token is not None:
        stream, page = _resume(context, request, scope, now_ms)
    else:
        if request.stream_name is None and request.stream_arn is None:
            raise InvalidArgument("Either NextToken or StreamName should be provided.")
        stream = addressed(context, request, scope)
        check_created(stream, request.stream_creation_timestamp)
        page = _begin(stream, request)
    selected = _selection(page, stream.horizon_ms(now_ms))
    shards = [shard for shard in shown_shards(stream, now_ms) if shard.index > page.after and selected(shard)]
    count = min(request.max_results or PAGE_MAX, PAGE_MAX)
    reply: dict[str, Any] = {"Shards": [shard_reply(shard) for shard in shards[:count]]}
    if count < len(shards):
        following = msgspec.structs.replace(page, after=shards[count - 1].index)
        reply["NextToken"] = context.tokens.seal_page(_PURPOSE, msgspec.msgpack.encode(following), now_ms)
    return reply


async def split_shard(context: Context, request: Any, scope: Scope) -> None:
    stream = addressed(context, request, scope)
    settings = context.settings
    first_key = int(request.new_starting_hash_key)
    shard = _shard_index(request.shard_to_split)

    def decide(catalog: Catalog, now_ms: int, ends: Mapping[int, int]) -> Decision[None]:
        return resharding.split_shard(
            catalog, now_ms, stream.key, shard, first_key, ends, settings.update_ms, settings.shards_max
        )

    await context.reshard(stream, decide)


async def merge_shards(context: Context, request: Any, scope: Scope) -> None:
    stream = addressed(context, request, scope)
    shard = _shard_index(request.shard_to_merge)
    adjacent = _shard_index(request.adjacent_shard_to_merge)

    def decide(catalog: Catalog, now_ms: int, ends: Mapping[int, int]) -> Decision[None]:
        return resharding.merge_shards(catalog, now_ms, stream.key, shard, adjacent, ends, context.settings.update_ms)

    await context.reshard(stream, decide)


async def update_shard_count(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    stream = addressed(context, request, scope)
    settings = context.settings
    target = request.target_shard_count

    def decide(catalog: Catalog, now_ms: int, ends: Mapping[int, int]) -> Decision[int]:
        return resharding.update_shard_count(
            catalog, now_ms, stream.key, target, ends, settings.update_ms, settings.shards_max
        )

    before = await context.reshard(stream, decide)
    return {
        "StreamName": stream.name,
        "CurrentShardCount": before,
        "TargetShardCount": target,
        "StreamARN": stream.arn,
    }


def _begin(stream: Stream, request: Any) -> Page:
    after = -1
    if request.exclusive_start_shard_id is not None:
        after = _after(request.exclusive_start_shard_id, "ExclusiveStartShardId")
    shard_filter = request.shard_filter
    if shard_filter is None:
        return Page(stream.name, stream.id, after, None, 0)
    kind = shard_filter.type
    if kind == "AFTER_SHARD_ID":
        if shard_filter.shard_id is None:
            raise InvalidArgument("ShardFilter of type AFTER_SHARD_ID needs a ShardId.")
        after = max(after, _after(shard_filter.shard_id, "ShardId"))
    timestamp_ms = 0
    if kind in ("AT_TIMESTAMP", "FROM_TIMESTAMP"):
        if shard_filter.timestamp is None:
            raise InvalidArgument(f"ShardFilter of type {kind} needs a Timestamp.")
        timestamp_ms = round(shard_filter.timestamp * 1000)
    return Page(stream.name, stream.id, after, kind, timestamp_ms)


def _resume(context: Context, request: Any, scope: Scope, now_ms: int) -> tuple[Stream, Page]:
    if request.stream_name is not None or request.stream_arn is not None:
        raise InvalidArgument("NextToken and StreamName cannot be provided together.")
    payload = context.tokens.open_page(_PURPOSE, request.next_token, now_ms)
    page = msgspec.msgpack.decode(payload, type=Page)
    stream = context.stream(scope, page.stream)
    if stream.id != page.stream_id:
        raise InvalidArgument("Invalid NextToken.")
    return stream, page


def _selection(page: Page, horizon_ms: int) -> Callable[[StreamShard], bool]:
    """Which shards a filter lets through. "At a time" are the shards that were open then: they cover the key space.

    A shard is open from its creation up to, and without, the moment of its closing, which is its children's creation.
    """
    at_ms = max(page.timestamp_ms, horizon_ms)
    if page.filter == "AT_LATEST":
        return lambda shard: shard.open
    if page.filter in ("AT_TRIM_HORIZON", "AT_TIMESTAMP"):
        return lambda shard: (
            (shard.created_ms <= at_ms or not shard.parents) and (shard.closed_ms is None or shard.closed_ms > at_ms)
        )
    if page.filter == "FROM_TIMESTAMP":
        return lambda shard: shard.closed_ms is None or shard.closed_ms >= at_ms
    return lambda shard: True


def _after(text: str, member: str) -> int:
    index = parse_shard_id(text)
    if index is None:
        raise InvalidArgument(f"{member} {text} is not the id of a shard.")
    return index


def _shard_index(text: str) -> int | str:
    index = parse_shard_id(text)
    return text if index is None else index
