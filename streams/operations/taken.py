"""A put that comes again after a split or merge: what closed shards have taken of it is not appended a second time.

A shard takes its part of a marked put whole or not at all, and remembers the mark. A shard that was closed since cannot be
asked by appending again, so it is asked by `Log.seen`: where it has seen the mark, all records of the put whose hash keys
lie in its range are stored, in it or in a shard before it.
"""

from __future__ import annotations

import numpy as np

from streams.control.stream import StreamShard
from streams.core.errors import ShardUnknown
from streams.core.hashing import Router
from streams.core.records import ProducerMark, Records
from streams.core.shards import HASH_KEY_MAX
from streams.log.log import Log
from streams.operations.live import Live

PRODUCERS_MAX = 10_000
"""Producers of a stream that are remembered as new to its closed shards, so that their next puts ask nothing: 1 MB."""

Taken = list[tuple[StreamShard, int]]
"""Closed shards, oldest first, that have seen a mark, and the first offset of the producer's last append there."""


async def enter(log: Log, live: Live, mark: ProducerMark) -> Taken:
    """Returns when the gate is open, with what its closed shards know of the mark. Start the appends before the next await."""
    while True:
        await live.enter()
        stream = live.stream
        taken = await _ask(log, live, mark)
        if live.open and live.stream is stream:
            return taken


def places(shard: StreamShard, records: Records) -> np.ndarray:
    """Whether each record's hash key lies in the shard's range."""
    bounds = [bytes(16), shard.first_key]
    last = shard.hash_range.last
    if last < HASH_KEY_MAX:
        bounds.append((last + 1).to_bytes(16, "big"))
    return Router(bounds).route_arrow(records) == 1


async def _ask(log: Log, live: Live, mark: ProducerMark) -> Taken:
    stream, unseen = live.stream, live.unseen
    known = unseen.get(mark.producer)
    if known is not None and mark.sequence >= known:
        return []
    taken: Taken = []
    for shard in stream.shards:
        if shard.open:
            continue
        try:
            first = await log.seen(stream.log(shard), mark)
        except ShardUnknown:  # aged out
            continue
        if first is not None:
            taken.append((shard, first))
    if not taken:
        if len(unseen) >= PRODUCERS_MAX:
            unseen.clear()
        unseen[mark.producer] = mark.sequence
    return taken
