"""Resources by their ARN: streams, consumers and queues, what tags and policies hang on.

stream    arn:aws:kinesis:REGION:ACCOUNT:stream/NAME
consumer  arn:aws:kinesis:REGION:ACCOUNT:stream/NAME/consumer/NAME:SECOND      ; of its creation
queue     arn:aws:kinesis:REGION:ACCOUNT:queue/ID
"""

from __future__ import annotations

import re

from streams.control.catalog import Catalog
from streams.control.decisions import find_stream
from streams.control.queue import Queue
from streams.control.stream import Key, Stream, StreamConsumer
from streams.core.errors import InvalidArgument, ResourceNotFound

Resource = Stream | StreamConsumer | Queue

_ARN = re.compile(
    r"arn:[^:]+:kinesis:(?P<region>[^:]*):(?P<account>\d{12}):stream/(?P<stream>[^/]+)(?P<consumer>/consumer/[^/:]+:\d+)?"
)
_QUEUE_ARN = re.compile(r"arn:[^:]+:kinesis:(?P<region>[^:]*):(?P<account>\d{12}):queue/(?P<id>\S+)")


def find_resource(catalog: Catalog, arn: str, now_ms: int) -> Resource:
    """Raises `InvalidArgument` for what is no such ARN, `ResourceNotFound`."""
    if ":queue/" in arn:
        return find_queue(catalog, arn, now_ms)
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


def find_queue(catalog: Catalog, arn: str, now_ms: int) -> Queue:
    """Raises `InvalidArgument` for what is no such ARN, `ResourceNotFound`."""
    parts = _QUEUE_ARN.fullmatch(arn)
    if parts is None:
        raise InvalidArgument(f"QueueARN {arn} is not the ARN of a queue.")
    queue = catalog.queues.get(parts["id"])
    if queue is None or queue.gone(now_ms) or (queue.account, queue.region) != (parts["account"], parts["region"]):
        raise ResourceNotFound(f"Queue {arn} not found.")
    return queue
