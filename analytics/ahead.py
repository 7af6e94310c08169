"""Reading ahead: records that wait for a micro-batch, while other threads read their columns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from connectors.formats.schema import Decoded
from streams.core.records import Batch

GROUP_ROWS = 50_000
"""Records that a thread reads at a time, of whatever shards: a call costs as much as five thousand of them."""
SIZE_MAX = 32 << 20
"""Bytes of records that wait, beyond which nothing is read ahead: four answers of the log, some hundred thousand records of
the usual size. Their columns take about as much again."""

Decode = Callable[[pa.Array], Decoded]
"""From records (binary) to the values of columns; any thread may do it."""


@dataclass(slots=True)
class Piece:
    """Records of one shard of the input `number`. `decoding` gives the columns of its group, in which this is at `place`;
    None where nobody has begun to read them."""

    number: int
    batch: Batch
    decoding: Future[list[Decoded]] | None = None
    place: int = 0

    def until(self, end: int) -> Piece:
        """The records before `end`; where that is not all of them, nobody has begun to read their columns."""
        if self.batch.next <= end:
            return self
        return Piece(self.number, self.batch.cut(int(np.searchsorted(self.batch.offsets, end)))[0])


class Ahead:
    """The pieces that wait, in their order; none has more than `rows_max` records."""

    def __init__(self, threads: ThreadPoolExecutor, rows_max: int) -> None:
        self._threads = threads
        self._rows_max = rows_max
        self._pieces: deque[Piece] = deque()
        self._rows = 0
        self._size = 0

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def enough(self) -> bool:
        """Whether a whole micro-batch waits, or as many bytes as may."""
        return self._rows >= self._rows_max or self._size >= SIZE_MAX

    def shards(self, number: int) -> set[str]:
        """Those of an input of which something waits."""
        return {piece.batch.shard for piece in self._pieces if piece.number == number}

    def add(self, number: int, batches: Sequence[Batch], decode: Decode | None) -> None:
        """What an input has read. Without `decode`, nobody reads the columns before the piece is taken."""
        for group in _groups([part for batch in batches for part in _cut(batch, self._rows_max)]):
            decoding = None if decode is None else self._threads.submit(decode_group, decode, group)
            for place, batch in enumerate(group):
                self._pieces.append(Piece(number, batch, decoding, place))
                self._rows += len(batch)
                self._size += batch.records.size

    def take(self, room: int) -> Piece | None:
        """The next piece, unless it has more than `room` records."""
        if not self._pieces or len(self._pieces[0].batch) > room:
            return None
        piece = self._pieces.popleft()
        self._rows -= len(piece.batch)
        self._size -= piece.batch.records.size
        return piece


def decode_group(decode: Decode, batches: Sequence[Batch]) -> list[Decoded]:
    """The values of several batches, decoded at once."""
    if len(batches) == 1:
        return [decode(batches[0].records.data)]
    whole = decode(pa.concat_arrays([batch.records.data for batch in batches]))
    ends = np.cumsum([len(batch) for batch in batches])
    return list(_split(whole, ends))


def _split(whole: Decoded, ends: np.ndarray) -> Iterator[Decoded]:
    """`ends` are the indices of records at which each part ends."""
    source = whole.source.to_numpy()
    begin, row = 0, 0
    for end, until in zip(ends.tolist(), np.searchsorted(source, ends).tolist(), strict=True):
        faults = tuple(replace(each, index=each.index - begin) for each in whole.faults if begin <= each.index < end)
        yield Decoded(whole.rows.slice(row, until - row), pa.array(source[row:until] - begin), faults)
        begin, row = end, until


def _cut(batch: Batch, rows_max: int) -> Iterator[Batch]:
    rest: Batch | None = batch
    while rest is not None:
        part, rest = rest.cut(rows_max)
        yield part


def _groups(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    group: list[Batch] = []
    rows = 0
    for batch in batches:
        if group and rows + len(batch) > GROUP_ROWS:
            yield group
            group, rows = [], 0
        group.append(batch)
        rows += len(batch)
    if group:
        yield group
