"""What a request is about: the resource that its caller must be allowed to touch."""

from __future__ import annotations

from typing import Any

from streams.core.scope import Scope
from streams.operations.context import Context
from streams.operations.iterators import ShardIterator


def resource_arn(context: Context, request: Any, scope: Scope) -> str | None:
    """The ARN of what a request is about, whether there is such a thing or not; None where it is about nothing named.

    A shard iterator tells its stream, so `GetRecords` is about a stream like others. Raises `RequestError` for an iterator
    that is none.
    """
    for member in ("queue_arn", "consumer_arn", "resource_arn", "stream_arn"):
        arn: str | None = getattr(request, member, None)
        if arn is not None:
            return arn
    name: str | None = getattr(request, "stream_name", None)
    if name is not None:
        return scope.stream_arn(name)
    for configuration in getattr(request, "stream_configuration_list", None) or ():
        return str(configuration.stream_arn)
    stream_id: str | None = getattr(request, "stream_id", None)
    text: str | None = getattr(request, "shard_iterator", None)
    if text is not None:
        iterator = ShardIterator.decode(text, context.tokens, context.now_ms())
        name, stream_id = iterator.stream_name, iterator.stream_id
    stream = context.catalog.by_id(stream_id) if stream_id is not None else None
    if stream is not None:
        return stream.arn
    return None if name is None else scope.stream_arn(name)
