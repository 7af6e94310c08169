"""Sequence numbers of whole batches: a base for the records that arrived in one second, and equal steps from it."""

from __future__ import annotations

import itertools

import numpy as np

from streams.control.stream import StreamShard
from streams.core import sequence

_STEP = 1 << 80  # from a record to the next, see streams.core.sequence


def number_of(shard: StreamShard, offset: int, arrival_s: int) -> str:
    """The sequence number of one record."""
    return str(sequence.base(shard.sequence_ms // 1000, shard.index, arrival_s) + (offset + 1) * _STEP)


def numbers_of(shard: StreamShard, first: int, count: int, arrival_s: int) -> list[str]:
    """The sequence numbers of `count` records from the offset `first` on, all of which arrived in the same second."""
    start = sequence.base(shard.sequence_ms // 1000, shard.index, arrival_s) + (first + 1) * _STEP
    return [str(number) for number in itertools.islice(itertools.count(start, _STEP), count)]


def numbers_by_arrival(shard: StreamShard, first: int, arrival_ms: np.ndarray) -> list[str]:
    """The sequence numbers of records from the offset `first` on that arrived at these (int64) milliseconds."""
    seconds = arrival_ms // 1000
    edges = [0, *(np.flatnonzero(np.diff(seconds)) + 1).tolist(), len(seconds)]
    numbers: list[str] = []
    for start, end in itertools.pairwise(edges):
        if start < end:
            numbers += numbers_of(shard, first + start, end - start, int(seconds[start]))
    return numbers
