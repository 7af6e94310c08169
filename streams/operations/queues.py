"""CreateQueue, UpdateQueue, DeleteQueue, DescribeQueue, ListQueues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from streams.control import queues
from streams.control.queue import Position, Queue, QueueAttributes
from streams.control.queues import NewQueue, queues_of
from streams.control.resources import find_queue
from streams.control.stream import Stream
from streams.core.errors import InvalidArgument, ValidationError
from streams.core.scope import Scope
from streams.operations.addressing import by_arn, check_created
from streams.operations.context import Context

PAGE_MAX = 100
"""Queues on one page: the default and the cap."""

_PURPOSE = b"w"
_ID_SIZE = 12


class Page(msgspec.Struct, frozen=True, array_like=True):
    """What a NextToken stands for: the stream that was asked for, and the last queue that was answered."""

    stream_id: str
    after_ms: int
    after_name: str


async def create_queue(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    if len(request.stream_configuration_list) != 1:
        raise InvalidArgument(
            f"StreamConfigurationList has {len(request.stream_configuration_list)} entries; a queue delivers records from"
            " exactly one data stream."
        )
    configuration = request.stream_configuration_list[0]
    stream = by_arn(context, configuration.stream_arn, scope)
    position, timestamp_ms = _position(configuration.starting_position)
    attributes = msgspec.structs.replace(QueueAttributes(), **_attributes(request.queue_attributes))
    queue_id = context.random(_ID_SIZE).hex()

    @asynccontextmanager
    async def preparation() -> AsyncIterator[tuple[int, dict[int, int]]]:
        now_ms = context.now_ms()
        start_ms = timestamp_ms if timestamp_ms is not None else now_ms if position == "LATEST" else 0
        yield start_ms, await _starts(context, context.catalog.by_id(stream.id), position, start_ms, now_ms)

    queue = await context.controller.execute_within(
        preparation(),
        lambda catalog, now_ms, prepared: queues.create_queue(
            catalog,
            now_ms,
            NewQueue(
                scope=stream.scope,
                name=request.queue_name,
                id=queue_id,
                stream=stream.key,
                position=position,
                start_ms=prepared[0],
                starts=prepared[1],
                attributes=attributes,
                tags=dict(request.tags or {}),
            ),
            context.settings.create_ms,
        ),
    )
    # The answer echoes what was asked, whatever became of it.
    described = _description(context, queue, status="CREATING")
    if timestamp_ms is not None:
        described["StreamConfigurationList"][0]["StartingPosition"]["Timestamp"] = timestamp_ms / 1000
    return {"QueueDescription": described}


async def update_queue(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    changes = _attributes(request.queue_attributes)
    if not changes:
        raise ValidationError("QueueAttributes must have VisibilityTimeoutSeconds, DeadLetterConfiguration or both.")
    queue = await context.controller.execute(
        lambda catalog, now_ms: queues.update_queue(
            catalog, now_ms, request.queue_arn, changes, context.settings.update_ms
        )
    )
    return {"QueueDescription": _description(context, queue, status="UPDATING")}


async def delete_queue(context: Context, request: Any, scope: Scope) -> None:
    queue = await context.controller.execute(
        lambda catalog, now_ms: queues.delete_queue(catalog, now_ms, request.queue_arn, context.settings.delete_ms)
    )
    await context.queues.delete(queue)
    await context.drop_orphans()


async def describe_queue(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    queue = find_queue(context.catalog, request.queue_arn, context.now_ms())
    return {"QueueDescription": _description(context, queue)}


async def list_queues(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    now_ms = context.now_ms()
    stream_id = ""
    if request.stream_filter:
        if len(request.stream_filter) > 1:
            raise InvalidArgument(f"StreamFilter has {len(request.stream_filter)} entries; it takes one data stream.")
        stream = by_arn(context, request.stream_filter[0].stream_arn, scope)
        check_created(stream, request.stream_filter[0].stream_creation_timestamp)
        stream_id = stream.id
    after = (-1, "")
    if request.next_token is not None:
        page = msgspec.msgpack.decode(context.tokens.open_page(_PURPOSE, request.next_token, now_ms), type=Page)
        if page.stream_id != stream_id:
            raise InvalidArgument("Invalid NextToken.")
        after = page.after_ms, page.after_name
    there = (
        queues_of(context.catalog, stream_id, now_ms)
        if stream_id
        else (one for one in context.catalog.queues.values() if one.scope == scope and not one.gone(now_ms))
    )
    rest = sorted((one for one in there if _order(one) > after), key=_order)
    shown = rest[: min(request.max_results or PAGE_MAX, PAGE_MAX)]
    reply: dict[str, Any] = {"QueueSummaries": [_summary(context, one) for one in shown]}
    if len(shown) < len(rest):
        following = msgspec.msgpack.encode(Page(stream_id, *_order(shown[-1])))
        reply["NextToken"] = context.tokens.seal_page(_PURPOSE, following, now_ms)
    return reply


def _order(queue: Queue) -> tuple[int, str]:
    return queue.created_ms, queue.name


def _position(start: Any) -> tuple[Position, int | None]:
    """The kind, and the timestamp where there is one. Raises `ValidationError` where they do not go together."""
    if start is None:
        return "LATEST", None
    if start.type == "AT_TIMESTAMP":
        if start.timestamp is None:
            raise ValidationError("StartingPosition of Type AT_TIMESTAMP must have a Timestamp.")
        return "AT_TIMESTAMP", round(start.timestamp * 1000)
    if start.timestamp is not None:
        raise ValidationError(f"StartingPosition of Type {start.type} must not have a Timestamp.")
    return start.type, None


def _attributes(given: Any) -> dict[str, int | None]:
    """Those that are given, as fields of `QueueAttributes`. Raises `ValidationError`."""
    fields: dict[str, int | None] = {}
    if given is None:
        return fields
    if given.visibility_timeout_seconds is not None:
        fields["visibility_s"] = given.visibility_timeout_seconds
    dead = given.dead_letter_configuration
    if dead is not None and dead.target_type == "NONE":
        if dead.max_receive_count is not None:
            raise ValidationError("MaxReceiveCount must not be given where TargetType is NONE.")
        fields["receives_max"] = None
    elif dead is not None:
        if dead.max_receive_count is None:
            raise ValidationError("MaxReceiveCount is required where TargetType is BUILT_IN.")
        fields["receives_max"] = dead.max_receive_count
    return fields


async def _starts(
    context: Context, stream: Stream | None, position: Position, start_ms: int, now_ms: int
) -> dict[int, int]:
    """The first offset to deliver, by shard."""
    if stream is None:
        return {}

    async def start(name: str, end: int | None) -> int:
        if position == "LATEST":
            return (await context.log.bounds(name))[1] if end is None else end
        offset = await context.log.find(name, max(start_ms, stream.horizon_ms(now_ms)))
        return offset if end is None else min(offset, end)

    shards = stream.visible_shards(now_ms)
    offsets = await asyncio.gather(*(start(stream.log(shard), shard.end) for shard in shards))
    return {shard.index: offset for shard, offset in zip(shards, offsets, strict=True)}


def _description(context: Context, queue: Queue, status: str | None = None) -> dict[str, Any]:
    status = status or queue.status(context.now_ms())
    start: dict[str, Any] = {"Type": queue.position}
    # Where delivery really begins: not decided yet while it is CREATING, but for a timestamp.
    if status != "CREATING" or queue.position == "AT_TIMESTAMP":
        start["Timestamp"] = queue.start_ms / 1000
    attributes = queue.attributes
    dead: dict[str, Any] = {"TargetType": "NONE"}
    if attributes.receives_max is not None:
        dead = {"TargetType": "BUILT_IN", "MaxReceiveCount": attributes.receives_max}
    return {
        "QueueName": queue.name,
        "QueueARN": queue.arn,
        "QueueStatus": status,
        "QueueCreationTimestamp": queue.created_ms / 1000,
        "StreamConfigurationList": [{"StreamARN": queue.stream_arn, "StartingPosition": start}],
        "QueueAttributes": {"VisibilityTimeoutSeconds": attributes.visibility_s, "DeadLetterConfiguration": dead},
    }


def _summary(context: Context, queue: Queue) -> dict[str, Any]:
    stream = context.catalog.by_id(queue.stream_id)
    assert stream is not None, "a stream lives longer than its queues"
    return {
        "QueueName": queue.name,
        "QueueARN": queue.arn,
        "QueueStatus": queue.status(context.now_ms()),
        "QueueCreationTimestamp": queue.created_ms / 1000,
        "Streams": [{"StreamARN": queue.stream_arn, "StreamCreationTimestamp": stream.created_ms / 1000}],
    }
