"""What stands before the data plane when there are limits or faults: asked once a request, and nothing where there are none."""

from __future__ import annotations

from collections.abc import Sequence

from streams.control.stream import Stream, StreamShard
from streams.core.errors import ProvisionedThroughputExceeded
from streams.operations.context import Context
from streams.operations.throttles import rate_exceeded

Failure = tuple[str, str]
"""Code and message of a record's failure in PutRecords."""


async def put_record(context: Context, stream: Stream, shard: StreamShard, size: int) -> None:
    """Raises what strikes, or `ProvisionedThroughputExceeded`."""
    await context.faults.shard("PutRecord", stream.name, shard.id)
    if not context.throttles.write(stream.log(shard), [size])[0]:
        context.metrics.failed(stream, shard.id, 0, 1)
        raise ProvisionedThroughputExceeded(rate_exceeded(shard.id, stream.name, stream.account))


def put_records(context: Context, stream: Stream, shard: StreamShard, sizes: Sequence[int]) -> list[Failure | None]:
    """Of PutRecords' records for one shard, in their order: why each fails, or None."""
    failures = context.faults.records(stream.name, shard.id, len(sizes))
    free = [place for place, failure in enumerate(failures) if failure is None]
    taken = context.throttles.write(stream.log(shard), [sizes[place] for place in free])
    text = rate_exceeded(shard.id, stream.name, stream.account)
    for place, passes in zip(free, taken, strict=True):
        if not passes:
            failures[place] = ProvisionedThroughputExceeded.code, text
    failed = sum(failure is not None for failure in failures)
    if failed:
        context.metrics.failed(stream, shard.id, failed, taken.count(False))
    return failures


async def get_records(context: Context, stream: Stream, shard: StreamShard) -> None:
    """Raises what strikes, or `ProvisionedThroughputExceeded`."""
    await context.faults.shard("GetRecords", stream.name, shard.id)
    try:
        context.throttles.read(stream.log(shard), shard.id, stream.name, stream.account)
    except ProvisionedThroughputExceeded:
        context.metrics.read_throttled(stream, shard.id)
        raise


async def subscribe_to_shard(context: Context, stream: Stream, shard: StreamShard) -> None:
    """Raises what strikes."""
    await context.faults.shard("SubscribeToShard", stream.name, shard.id)


async def get_shard_iterator(context: Context, stream: Stream, shard: StreamShard) -> None:
    """Raises what strikes, or `ProvisionedThroughputExceeded`."""
    await context.faults.shard("GetShardIterator", stream.name, shard.id)
    context.throttles.iterate(stream.log(shard), shard.id, stream.name, stream.account)
