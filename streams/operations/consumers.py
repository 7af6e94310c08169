"""RegisterStreamConsumer, DeregisterStreamConsumer, DescribeStreamConsumer, ListStreamConsumers."""

from __future__ import annotations

from typing import Any

import msgspec

from streams.control import consumers
from streams.control.resources import find_consumer
from streams.control.stream import Stream, StreamConsumer
from streams.core.errors import InvalidArgument, ResourceNotFound
from streams.core.scope import Scope
from streams.operations.addressing import by_arn, check_created
from streams.operations.context import Context

PAGE_MAX = 100
"""Consumers on one page: AWS's default and cap."""

_PURPOSE = b"c"


class Page(msgspec.Struct, frozen=True, array_like=True):
    """What a NextToken stands for: the stream, and the last consumer that was answered, by creation and name."""

    stream: str
    stream_id: str
    after_ms: int
    after_name: str


async def register_stream_consumer(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    stream = by_arn(context, request.stream_arn, scope)
    tags = dict(request.tags or {})
    consumer = await context.controller.execute(
        lambda catalog, now_ms: consumers.register(
            catalog, now_ms, stream.key, request.consumer_name, tags, context.settings.create_ms
        )
    )
    return {"Consumer": _summary(consumer) | {"ConsumerStatus": "CREATING"}}


async def deregister_stream_consumer(context: Context, request: Any, scope: Scope) -> None:
    stream, consumer = addressed_consumer(context, request, scope)
    await context.controller.execute(
        lambda catalog, now_ms: consumers.deregister(catalog, now_ms, consumer.arn, context.settings.delete_ms)
    )
    context.changed(stream)


async def describe_stream_consumer(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    stream, consumer = addressed_consumer(context, request, scope)
    status = {"ConsumerStatus": consumer.status(context.now_ms()), "StreamARN": stream.arn}
    return {"ConsumerDescription": _summary(consumer) | status}


async def list_stream_consumers(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    now_ms = context.now_ms()
    stream = by_arn(context, request.stream_arn, scope)
    check_created(stream, request.stream_creation_timestamp)
    page = Page(stream.name, stream.id, -1, "")
    if request.next_token is not None:
        page = msgspec.msgpack.decode(context.tokens.open_page(_PURPOSE, request.next_token, now_ms), type=Page)
        if page.stream_id != stream.id:
            raise InvalidArgument("Invalid NextToken.")
    after = (page.after_ms, page.after_name)
    rest = sorted(
        (one for one in stream.consumers if not one.gone(now_ms) and (one.created_ms, one.name) > after),
        key=lambda one: (one.created_ms, one.name),
    )
    shown = rest[: min(request.max_results or PAGE_MAX, PAGE_MAX)]
    reply: dict[str, Any] = {"Consumers": [_summary(one) | {"ConsumerStatus": one.status(now_ms)} for one in shown]}
    if len(shown) < len(rest):
        following = Page(stream.name, stream.id, shown[-1].created_ms, shown[-1].name)
        reply["NextToken"] = context.tokens.seal_page(_PURPOSE, msgspec.msgpack.encode(following), now_ms)
    return reply


def addressed_consumer(context: Context, request: Any, scope: Scope) -> tuple[Stream, StreamConsumer]:
    """By ConsumerARN, by StreamARN and ConsumerName, or by all three, which then agree."""
    arn, stream_arn, name = request.consumer_arn, request.stream_arn, request.consumer_name
    if arn is None:
        if stream_arn is None or name is None:
            raise InvalidArgument("Either ConsumerARN or both StreamARN and ConsumerName must be provided.")
        stream = by_arn(context, stream_arn, scope)
        consumer = stream.consumer(name, context.now_ms())
        if consumer is None:
            raise ResourceNotFound(
                f"Consumer {name} under stream {stream.name} not found for account {stream.account}."
            )
        return stream, consumer
    stream, consumer = find_consumer(context.catalog, arn, context.now_ms())
    if (stream_arn is not None and stream_arn != stream.arn) or (name is not None and name != consumer.name):
        raise InvalidArgument("ConsumerARN, StreamARN and ConsumerName name different consumers.")
    return stream, consumer


def _summary(consumer: StreamConsumer) -> dict[str, Any]:
    return {
        "ConsumerName": consumer.name,
        "ConsumerARN": consumer.arn,
        "ConsumerCreationTimestamp": consumer.created_ms / 1000,
    }
