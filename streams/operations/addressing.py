"""Which stream and shard a request means: a stream by StreamName, StreamARN or both. StreamId counts where there is neither."""

from __future__ import annotations

from typing import Any

from streams.control.stream import Stream, StreamShard
from streams.core.errors import InvalidArgument, ResourceNotFound
from streams.core.scope import Scope
from streams.core.shards import shard_id
from streams.operations.context import Context


def addressed(context: Context, request: Any, scope: Scope) -> Stream:
    """Raises `InvalidArgument` where the request names no stream or two, `ResourceNotFound`."""
    name = request.stream_name
    if request.stream_arn is not None:
        scope, name = _parse(request.stream_arn, name, scope)
    if name is None:
        return _by_id(context, request.stream_id, scope)
    if "/" in name:
        raise ResourceNotFound(f"Stream {name} under account {scope.account} not found.")
    return context.stream(scope, name)


def by_arn(context: Context, arn: str, scope: Scope) -> Stream:
    """Of operations that take nothing else."""
    scope, name = _parse(arn, None, scope)
    return context.stream(scope, name)


def by_arn_or_id(context: Context, request: Any, scope: Scope) -> Stream:
    """Of UpdateMaxRecordSize, which has no StreamName."""
    if request.stream_arn is not None:
        return by_arn(context, request.stream_arn, scope)
    return _by_id(context, request.stream_id, scope)


def check_created(stream: Stream, created_s: float | None) -> None:
    """StreamCreationTimestamp tells streams apart that have had one name. Raises `ResourceNotFound` for another one."""
    if created_s is not None and int(created_s) != stream.created_ms // 1000:
        raise ResourceNotFound(
            f"Stream {stream.name} under account {stream.account} was not created at {int(created_s)}."
        )


def readable(context: Context, request: Any, scope: Scope) -> Stream:
    """As `addressed`, for records: a stream that is still CREATING has none and takes none."""
    stream = addressed(context, request, scope)
    if stream.being_created(context.now_ms()):
        raise ResourceNotFound(f"Stream {stream.name} under account {stream.account} not found.")
    return stream


def stream_named(request: Any) -> str | None:
    """The name of the stream that a request says, whether there is one or not."""
    name: str | None = getattr(request, "stream_name", None)
    if name is not None:
        return name
    for member in ("stream_arn", "resource_arn", "consumer_arn"):
        arn: str | None = getattr(request, member, None)
        if arn is not None and ":stream/" in arn:
            return arn.partition(":stream/")[2].partition("/")[0]
    return None


def find_shard(stream: Stream, shard: str | int, now_ms: int) -> StreamShard:
    """By its id or its index. Raises `ResourceNotFound`, also once all of its records have aged out."""
    index = parse_shard_id(shard) if isinstance(shard, str) else shard
    found = None if index is None else stream.shard_at(index, now_ms)
    if found is None:
        name = shard if index is None else shard_id(index)
        raise ResourceNotFound(f"Shard {name} in stream {stream.name} under account {stream.account} does not exist")
    return found


def parse_shard_id(text: str) -> int | None:
    """The index in a shard id; AWS reads ``123`` and ``shardId-000000000123`` alike. None where there is none."""
    digits = text.removeprefix("shardId-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 12:
        return None
    return int(digits)


def _by_id(context: Context, stream_id: str | None, scope: Scope) -> Stream:
    if stream_id is None:
        raise InvalidArgument("Either StreamName or StreamARN must be provided.")
    stream = context.catalog.by_id(stream_id)
    if stream is None or stream.scope != scope or stream.hidden or stream.gone(context.now_ms()):
        raise ResourceNotFound(f"Stream {stream_id} under account {scope.account} not found.")
    return stream


def _parse(arn: str, name: str | None, scope: Scope) -> tuple[Scope, str]:
    """``arn:aws:kinesis:REGION:ACCOUNT:stream/NAME``"""
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[2] != "kinesis" or not parts[5].startswith("stream/"):
        raise InvalidArgument(f"StreamARN {arn} is not the ARN of a stream.")
    _, _, _, region, account, resource = parts
    named = resource.removeprefix("stream/")
    if name is not None and name != named:
        raise InvalidArgument(f"StreamName {name} and StreamARN {arn} name different streams.")
    return Scope(account, region), named
