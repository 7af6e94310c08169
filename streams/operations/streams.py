"""CreateStream, DeleteStream, DescribeStream, DescribeStreamSummary, ListStreams."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from streams.control import decisions
from streams.control.changes import check_distribution, check_warm
from streams.control.decisions import NewStream
from streams.control.queues import queues_of
from streams.control.stream import Stream, StreamShard
from streams.control.tags import check_tags, stream_text
from streams.core import sequence
from streams.core.errors import InvalidArgument, ValidationError
from streams.core.scope import Scope
from streams.core.shards import shard_id
from streams.operations.addressing import addressed, parse_shard_id
from streams.operations.context import Context

PAGE_MAX = 100
"""Streams, or shards of DescribeStream, on one page: AWS's default and cap."""

_PURPOSE = b"s"
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


async def create_stream(context: Context, request: Any, scope: Scope) -> None:
    on_demand = request.stream_mode_details is not None and request.stream_mode_details.stream_mode == "ON_DEMAND"
    if on_demand and request.shard_count is not None:
        raise InvalidArgument("ShardCount must not be provided for a stream in On-Demand mode.")
    if not on_demand and request.shard_count is None:
        raise ValidationError(
            "1 validation error detected: Value null at 'shardCount' failed to satisfy constraint: Member must not be null"
        )
    check_distribution(on_demand, request.record_distribution_strategy)
    tags = dict(request.tags or {})
    check_tags(stream_text(request.stream_name, scope.account), tags, tags)
    check_warm(context.catalog, scope, on_demand, request.warm_throughput_mi_bps)
    new = NewStream(
        scope=scope,
        name=request.stream_name,
        id=new_id(context.random),
        shards=None if on_demand else request.shard_count,
        record_size_max_kib=request.max_record_size_in_ki_b or 1024,
        warm_mibps=request.warm_throughput_mi_bps,
        distribution=request.record_distribution_strategy or "USER_PARTITION_KEY",
        tags=tags,
    )
    settings = context.settings
    await context.controller.execute(
        lambda catalog, now_ms: decisions.create_stream(
            catalog, now_ms, new, settings.create_ms, settings.shards_max, settings.on_demand_streams_max
        )
    )


async def delete_stream(context: Context, request: Any, scope: Scope) -> None:
    stream = addressed(context, request, scope)
    await context.delete(stream, context.settings.delete_ms, with_consumers=bool(request.enforce_consumer_deletion))


async def describe_stream(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    stream = addressed(context, request, scope)
    now_ms = context.now_ms()
    shards = shown_shards(stream, now_ms)
    if request.exclusive_start_shard_id is not None:
        after = parse_shard_id(request.exclusive_start_shard_id)
        if after is None:
            raise InvalidArgument(f"ExclusiveStartShardId {request.exclusive_start_shard_id} is not the id of a shard.")
        shards = [shard for shard in shards if shard.index > after]
    page = shards[: min(request.limit or PAGE_MAX, PAGE_MAX)]
    return {
        "StreamDescription": _description(stream, now_ms)
        | {"Shards": [shard_reply(shard) for shard in page], "HasMoreShards": len(page) < len(shards)}
    }


async def describe_stream_summary(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    stream = addressed(context, request, scope)
    now_ms = context.now_ms()
    summary = _description(stream, now_ms) | {
        "OpenShardCount": 0 if stream.being_created(now_ms) else stream.open_count,
        "ConsumerCount": sum(not consumer.gone(now_ms) for consumer in stream.consumers),
        "QueueCount": sum(1 for _ in queues_of(context.catalog, stream.id, now_ms)),
        "ChannelCount": 0,
        "MaxRecordSizeInKiB": stream.record_size_max_kib,
        "StreamId": stream.id,
    }
    if stream.on_demand:
        summary["RecordDistributionStrategy"] = stream.distribution
    if stream.warm_mibps is not None:
        summary["WarmThroughput"] = warm_reply(stream.warm_mibps)
    return {"StreamDescriptionSummary": summary}


async def list_streams(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    now_ms = context.now_ms()
    after = request.exclusive_start_stream_name
    if request.next_token is not None:
        if after is not None:
            raise InvalidArgument("NextToken and ExclusiveStartStreamName cannot be provided together.")
        after = context.tokens.open_page(_PURPOSE, request.next_token, now_ms).decode()
    rest = (
        stream
        for stream in context.catalog.of_scope(scope, after or "")
        if not stream.hidden and not stream.gone(now_ms)
    )
    page = list(islice(rest, min(request.limit or PAGE_MAX, PAGE_MAX)))
    more = next(rest, None) is not None
    reply: dict[str, Any] = {
        "StreamNames": [stream.name for stream in page],
        "HasMoreStreams": more,
        "StreamSummaries": [_summary(stream, now_ms) for stream in page],
    }
    if more:
        reply["NextToken"] = context.tokens.seal_page(_PURPOSE, page[-1].name.encode(), now_ms)
    return reply


def new_id(random: Callable[[int], bytes]) -> str:
    """A fresh StreamId, of AWS's form ``[a-z0-9]{20}-[a-z0-9]{3}``."""
    number = int.from_bytes(random(16), "big")
    digits = []
    for _ in range(23):
        number, digit = divmod(number, 36)
        digits.append(_ALPHABET[digit])
    text = "".join(digits)
    return f"{text[:20]}-{text[20:]}"


def shown_shards(stream: Stream, now_ms: int) -> list[StreamShard]:
    """By index. A stream that is CREATING shows none yet, as in AWS."""
    return [] if stream.being_created(now_ms) else stream.visible_shards(now_ms)


def shard_reply(shard: StreamShard) -> dict[str, Any]:
    """A Shard, as DescribeStream and ListShards print it."""
    hash_range = shard.hash_range
    numbers = {"StartingSequenceNumber": str(sequence.of_start(shard.sequence_ms, shard.index))}
    if shard.closed_ms is not None:
        numbers["EndingSequenceNumber"] = str(sequence.of_end(shard.sequence_ms, shard.index, shard.closed_ms))
    reply: dict[str, Any] = {"ShardId": shard.id}
    for member, parent in zip(("ParentShardId", "AdjacentParentShardId"), shard.parents, strict=False):
        reply[member] = shard_id(parent)
    reply["HashKeyRange"] = {"StartingHashKey": str(hash_range.first), "EndingHashKey": str(hash_range.last)}
    reply["SequenceNumberRange"] = numbers
    return reply


def _description(stream: Stream, now_ms: int) -> dict[str, Any]:
    """What DescribeStream and DescribeStreamSummary share."""
    described = _summary(stream, now_ms) | {
        "RetentionPeriodHours": stream.retention_hours,
        "EnhancedMonitoring": [{"ShardLevelMetrics": list(stream.metrics)}],
        "EncryptionType": "KMS" if stream.key_id else "NONE",
    }
    if stream.key_id:
        described["KeyId"] = stream.key_id
    return described


def warm_reply(mibps: int) -> dict[str, int]:
    """WarmThroughput: a log that one disk bounds needs no time to warm up."""
    return {"TargetMiBps": mibps, "CurrentMiBps": mibps}


def _summary(stream: Stream, now_ms: int) -> dict[str, Any]:
    return {
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "StreamStatus": stream.status(now_ms),
        "StreamModeDetails": {"StreamMode": "ON_DEMAND" if stream.on_demand else "PROVISIONED"},
        "StreamCreationTimestamp": stream.created_ms / 1000,
    }
