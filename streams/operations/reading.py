"""Reading what retention has left: a position below it is moved up to it."""

from __future__ import annotations

from streams.control.stream import Stream, StreamShard
from streams.core.errors import OffsetOutOfRange
from streams.core.records import Batch
from streams.operations.context import Context


async def read(context: Context, stream: Stream, shard: StreamShard, position: int, size_max: int) -> Batch:
    """Records of the shard from `position`, or from the first one younger than the retention.

    Expired records stay in the log until their whole segment has expired, so the first one read is looked at: arrivals
    rise, and what follows it is younger.
    """
    name = stream.log(shard)
    try:
        batch = await context.log.read(name, position, size_max)
    except OffsetOutOfRange:
        # Trimmed; or above the tip, where a crash under a lax sync policy has taken records back.
        first, following = await context.log.bounds(name)
        position = min(max(position, first), following)
        batch = await context.log.read(name, position, size_max)
    horizon_ms = stream.horizon_ms(context.now_ms())
    if len(batch) and int(batch.records.arrival_ms()[0]) < horizon_ms:
        batch = await context.log.read(name, await context.log.find(name, horizon_ms), size_max)
    return batch
