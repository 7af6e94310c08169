"""The buffer: a machine without I/O and without a clock. Pieces and time in, chunks out.

Records wait here by partition until a partition has `size_max` bytes, or until `interval_ms` have passed since the
first record came into it, whichever is first. Bytes are those that AWS counts: before compression.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

DATA = "data"
DROPPED = "dropped"

NEVER_MS = 1 << 62
"""A time after all others."""

OVERHEAD_SIZE = 24
"""Bytes kept for each buffered record beside its own: its offset, its arrival, and its place in an Arrow array."""
PIECE_SIZE = 800
"""Bytes kept for each piece beside its records: the objects of Python, numpy and Arrow that it is made of."""


@dataclass(frozen=True, slots=True)
class Partition:
    """What shares an object: `kind` is `DATA`, `DROPPED` (settled without an object), or the type of an error output;
    `values` are the partition keys."""

    kind: str = DATA
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Records of one shard that go into one partition.

    offsets    int64 array, as many as records
    payload    a binary Arrow array, or a record batch where rows are written or requests are made; None for `DROPPED`
    size       bytes of the records
    oldest_ms  arrival of the oldest, and `newest_ms` of the newest
    subs       int32: place of each in its source record, and in `counts` how many there are in that; None where none of
               the batch's records was taken apart
    arrivals   int64: milliseconds, of each; None for what nobody asks it of
    """

    partition: Partition
    shard: str
    offsets: np.ndarray
    payload: Any
    size: int
    oldest_ms: int
    newest_ms: int
    subs: np.ndarray | None = None
    counts: np.ndarray | None = None
    arrivals: np.ndarray | None = None

    @property
    def weight(self) -> int:
        """Bytes that it takes in memory: its records and what is known about each."""
        return self.size + OVERHEAD_SIZE * len(self.offsets) + PIECE_SIZE

    def slice(self, first: int, count: int) -> Piece:
        """Records [first, first + count); the size is their share of the whole."""
        span = slice(first, first + count)
        return Piece(
            self.partition,
            self.shard,
            self.offsets[span],
            self.payload.slice(first, count),
            self.size * count // len(self.offsets),
            self.oldest_ms,
            self.newest_ms,
            None if self.subs is None else self.subs[span],
            None if self.counts is None else self.counts[span],
            None if self.arrivals is None else self.arrivals[span],
        )


@dataclass(slots=True, eq=False)
class Chunk:
    """What one partition has gathered: `pieces` in memory, and before them what stands in `extents` on disk (see
    `firehose.spill`). `weight` is of what is in memory, everything else of both."""

    partition: Partition
    opened_ms: int
    pieces: list[Piece] = field(default_factory=list)
    size: int = 0
    oldest_ms: int = NEVER_MS
    newest_ms: int = 0
    records: int = 0
    weight: int = 0
    extents: array[int] = field(default_factory=lambda: array("q"))

    def add(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self.size += piece.size
        self.oldest_ms = min(self.oldest_ms, piece.oldest_ms)
        self.newest_ms = max(self.newest_ms, piece.newest_ms)
        self.records += len(piece.offsets)
        self.weight += piece.weight

    def unload(self) -> None:
        """Its pieces are on disk."""
        self.pieces, self.weight = [], 0

    def loaded(self, pieces: Iterable[Piece]) -> Chunk:
        """The same with all of its records in memory, of which `pieces` were on disk."""
        whole = Chunk(self.partition, self.opened_ms)
        for piece in (*pieces, *self.pieces):
            whole.add(piece)
        whole.size, whole.oldest_ms, whole.newest_ms = self.size, self.oldest_ms, self.newest_ms
        return whole


class Buffer:
    """`shared`: pieces of several partitions lie in memory that goes as a whole: it counts until all of them are gone, or
    on disk."""

    def __init__(self, size_max: int, interval_ms: int, *, shared: bool = False) -> None:
        self._size_max = size_max
        self._interval_ms = interval_ms
        self._shared = shared
        self._chunks: dict[Partition, Chunk] = {}
        self.weight = 0
        """Bytes that all partitions take in memory."""

    def __len__(self) -> int:
        """Partitions that have records: AWS calls them active."""
        return len(self._chunks)

    def __contains__(self, partition: Partition) -> bool:
        return partition in self._chunks

    def add(self, piece: Piece, now_ms: int) -> None:
        chunk = self._chunks.get(piece.partition)
        if chunk is None:
            chunk = self._chunks[piece.partition] = Chunk(piece.partition, now_ms)
        chunk.add(piece)
        self.weight += piece.weight

    def due(self, now_ms: int) -> list[Partition]:
        """The partitions to flush now, the longest open first."""
        for chunk in self._chunks.values():
            # A clock that jumped back must not keep records waiting.
            chunk.opened_ms = min(chunk.opened_ms, now_ms)
        due = [
            chunk
            for chunk in self._chunks.values()
            if chunk.size >= self._size_max or now_ms - chunk.opened_ms >= self._interval_ms
        ]
        return [chunk.partition for chunk in sorted(due, key=lambda chunk: chunk.opened_ms)]

    def deadline_ms(self) -> int | None:
        """When the next partition will be due by its interval; None while the buffer is empty."""
        if not self._chunks:
            return None
        return min(chunk.opened_ms for chunk in self._chunks.values()) + self._interval_ms

    def oldest_ms(self) -> int | None:
        """Arrival of the oldest record; None where there is none."""
        return min((chunk.oldest_ms for chunk in self._chunks.values()), default=None)

    def partitions(self) -> list[Partition]:
        return list(self._chunks)

    def take(self, partitions: Iterable[Partition]) -> list[Chunk]:
        """Their chunks, which leave the buffer. What was dropped goes along with whatever is taken."""
        taken = [self._chunks.pop(partition) for partition in partitions]
        dropped = self._chunks.pop(Partition(DROPPED), None)
        if dropped is not None:
            taken.append(dropped)
        if not self._chunks:
            self.weight = 0
        elif not self._shared:
            self.weight -= sum(chunk.weight for chunk in taken)
        return taken

    def in_memory(self) -> list[Chunk]:
        """The chunks that have something in memory which can go to disk."""
        return [chunk for chunk in self._chunks.values() if chunk.pieces and chunk.partition.kind != DROPPED]

    def unloaded(self) -> None:
        """What was `in_memory` is on disk now."""
        self.weight = sum(chunk.weight for chunk in self._chunks.values())
