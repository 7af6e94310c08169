"""What a stream holds now, from one time to another: a reading that ends."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np

from streams.core.records import Batch
from streams.sdk.client import LATEST, Client, Start
from streams.sdk.consumer import Consumer


async def history(client: Client, stream: str, start: Start, until_ms: int | None = None) -> AsyncIterator[Batch]:
    """Batches of every shard from `start` up to what is there when it begins, or up to the first record that arrived at
    `until_ms` or later. Shards in any order, but each in its own, and children after their parents.

    Arrivals within a shard never go back, so a shard is done at the first record that is too late.
    """
    ends = await client.find(stream, LATEST)
    positions = await client.find(stream, start)
    left = {shard for shard, end in ends.items() if positions.get(shard, 0) < end}
    if not left:
        return
    async with Consumer(client, stream, positions=positions) as consumer:
        async for batch in consumer:
            end = ends.get(batch.shard)
            if end is not None and batch.shard in left:
                count = min(batch.next, end) - batch.first
                if until_ms is not None:
                    count = min(count, int(np.searchsorted(batch.records.arrival_ms(), until_ms)))
                if batch.first + count < batch.next or batch.next >= end:
                    left.discard(batch.shard)
                if count > 0:
                    yield Batch(batch.shard, batch.first, batch.first + count, batch.records.slice(0, count))
            if not left:
                return
