"""Resources by their ARN: streams and consumers, what tags and policies hang on.

stream    arn:aws:kinesis:REGION:ACCOUNT:stream/NAME
consumer  arn:aws:kinesis:REGION:ACCOUNT:stream/NAME/consumer/NAME:SECOND      ; of its creation
"""

from __future__ import annotations

import re

from streams.control.catalog import Catalog
from streams.control.decisions import find_stream
from streams.control.stream import Key, Stream, StreamConsumer
from streams.core.errors import InvalidArgument, ResourceNotFound

Resource = Stream | StreamConsumer

_ARN = re.compile(
    r"arn:[^:]+:kinesis:(?P<region>[^:]*):(?P<account>\d{12}):stream/(?P<stream>[^/]+)(?P<consumer>/consumer/[^/:]+:\d+)?"
)


def find_resource(catalog: Catalog, arn: str, now_ms: int) -> Resource:
    """Raises `InvalidArgument` for what is no such ARN, `ResourceNotFound`."""
    parts = _ARN.fullmatch(arn)
    if parts is None:
        raise InvalidArgument(f"{arn} is not the ARN of a stream, a consumer or a queue.")
    if not parts["consumer"]:
        return find_stream(catalog, Key(parts["account"], parts["region"], parts["stream"]), now_ms)
    return find_consumer(catalog, arn, now_ms)[1]


def find_consumer(catalog: Catalog, arn: str, now_ms: int) -> tuple[Stream, StreamConsumer]:
    """The consumer and its stream. Raises as `find_resource`."""
    parts = _ARN.fullmatch(arn)
    if parts is None or not parts["consumer"]:
        raise InvalidArgument(f"ConsumerARN {arn} is not the ARN of a consumer.")
    stream = catalog.streams.get(Key(parts["account"], parts["region"], parts["stream"]))
    if stream is not None and not stream.gone(now_ms):
        for consumer in stream.consumers:
            if consumer.arn == arn and not consumer.gone(now_ms):
                return stream, consumer
    raise ResourceNotFound(f"Consumer {arn} not found.")
