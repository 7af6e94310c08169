"""Partitions' buffers on disk, where there are more of them than memory has room for.

Whenever memory is full, everything that a lane has buffered goes into a few files, sorted by partition: Arrow IPC files of
one batch each, whose rows are the records, with their shards and offsets. A partition remembers the row ranges that are its own, in
so many files. When it is flushed they are read back, through a memory map, and a file goes when its last row has.

    firehose/spill/NUMBER/LANE/SEGMENT.arrow       of the data directory

Nothing here is durable or needs to be: what is buffered is in the log, and is read from there after a restart, which begins
with an empty folder.
"""

from __future__ import annotations

import itertools
import shutil
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from firehose.buffer import Chunk, Piece

_OWN = ("shard", "offset", "arrival", "sub", "count")
"""Columns of a file before those of the records' payload. `shard` is a place in the segment's list of shards."""
_ALWAYS = 3
"""The first of them; the others are there where records were taken apart."""

SEGMENT_SIZE = 32 << 20
"""Bytes of a file, about: they are copied once more when they are written."""

_EXTENT = 3
"""Numbers of an extent: segment, first row, rows."""


@dataclass(slots=True, eq=False)
class _Segment:
    """One file. `left` rows have not been released; `payload` is the type of the records in it, or their schema."""

    path: Path
    size: int
    left: int
    shards: list[str]
    payload: Any
    parts: bool
    batch: pa.RecordBatch | None = None

    def rows(self) -> pa.RecordBatch:
        """All of them, mapped: nothing is read before it is looked at."""
        if self.batch is None:
            self.batch = pa.ipc.open_file(pa.memory_map(str(self.path))).get_batch(0)
        return self.batch


class Spill:
    """Of one lane. Methods block; one `write` may run beside one `read`, in other threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segments: dict[int, _Segment] = {}
        self._numbers = itertools.count()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in list(self._segments.values()))

    def begin(self) -> None:
        """With nothing: what an earlier run left belongs to nobody."""
        self._segments = {}
        shutil.rmtree(self._folder, ignore_errors=True)

    def write(self, chunks: Sequence[Chunk]) -> None:
        """Moves what the chunks have in memory to disk. Raises `OSError`: then nothing was moved."""
        self._folder.mkdir(parents=True, exist_ok=True)
        written: list[tuple[int, _Segment, list[tuple[Chunk, int]]]] = []
        try:
            for form, rows in _portions(chunks):
                number = next(self._numbers)
                pieces = [piece for _, of_chunk in rows for piece in of_chunk]
                counts = [(chunk, sum(len(piece.offsets) for piece in of_chunk)) for chunk, of_chunk in rows]
                written.append((number, _written(self._folder / f"{number}.arrow", form, pieces), counts))
        except BaseException:
            for _, segment, _ in written:
                segment.path.unlink(missing_ok=True)
            raise
        for number, segment, counts in written:
            self._segments[number] = segment
            first = 0
            for chunk, count in counts:
                chunk.extents.extend((number, first, count))
                first += count
        for chunk in chunks:
            chunk.unload()

    def read(self, chunk: Chunk) -> Iterator[Piece]:
        """What of the chunk is on disk, in the order in which it came."""
        for number, first, count in _extents(chunk.extents):
            segment = self._segments[number]
            rows = segment.rows().slice(first, count)
            own = [column.to_numpy() for column in rows.columns[: len(_OWN) if segment.parts else _ALWAYS]]
            payload = _payload(segment, rows)
            shards = own[0]
            bounds = [0, *(np.flatnonzero(np.diff(shards)) + 1).tolist(), count]
            for begin, end in itertools.pairwise(bounds):
                span = slice(begin, end)
                yield Piece(
                    chunk.partition,
                    segment.shards[int(shards[begin])],
                    own[1][span],
                    payload.slice(begin, end - begin),
                    0,
                    chunk.oldest_ms,
                    chunk.newest_ms,
                    own[3][span] if segment.parts else None,
                    own[4][span] if segment.parts else None,
                    own[2][span],
                )

    def rest(self) -> None:
        """Lets go of what reading has mapped into memory."""
        for segment in list(self._segments.values()):
            segment.batch = None

    def release(self, chunks: Sequence[Chunk]) -> None:
        """They have been delivered."""
        for chunk in chunks:
            for number, _, count in _extents(chunk.extents):
                segment = self._segments[number]
                segment.left -= count
                if not segment.left:
                    del self._segments[number]
                    segment.path.unlink(missing_ok=True)


def _portions(chunks: Sequence[Chunk]) -> Iterator[tuple[Any, list[tuple[Chunk, list[Piece]]]]]:
    """What goes into each file: pieces of one form, by chunk."""
    open_: dict[Any, list[tuple[Chunk, list[Piece]]]] = defaultdict(list)
    weights: Counter[Any] = Counter()
    for chunk in chunks:
        by_form: dict[Any, list[Piece]] = defaultdict(list)
        for piece in chunk.pieces:
            by_form[_form(piece.payload)].append(piece)
        for form, pieces in by_form.items():
            open_[form].append((chunk, pieces))
            weights[form] += sum(piece.weight for piece in pieces)
            if weights[form] >= SEGMENT_SIZE:
                yield form, open_.pop(form)
                del weights[form]
    yield from open_.items()


def _form(payload: Any) -> Any:
    """What pieces of one file have in common."""
    return payload.schema if isinstance(payload, pa.RecordBatch) else payload.type


def _written(path: Path, form: Any, pieces: Sequence[Piece]) -> _Segment:
    counts = [len(piece.offsets) for piece in pieces]
    shards = sorted({piece.shard for piece in pieces})
    places = {shard: place for place, shard in enumerate(shards)}
    columns = [
        pa.array(np.repeat(np.array([places[piece.shard] for piece in pieces], np.int32), counts)),
        pa.array(np.concatenate([piece.offsets for piece in pieces])),
        pa.array(np.concatenate([_arrivals(piece) for piece in pieces])),
    ]
    parts = any(piece.subs is not None for piece in pieces)
    if parts:
        alone = [(np.zeros(count, np.int32), np.ones(count, np.int32)) for count in counts]
        places_in = zip(pieces, alone, strict=True)
        given = [ours if p.subs is None or p.counts is None else (p.subs, p.counts) for p, ours in places_in]
        columns += [pa.array(np.concatenate([one[which] for one in given])) for which in (0, 1)]
    names = list(_OWN[: len(columns)])
    if isinstance(form, pa.Schema):
        (rows,) = pa.Table.from_batches([piece.payload for piece in pieces], form).combine_chunks().to_batches()
        columns += rows.columns
        names += [f".{name}" for name in form.names]
    else:
        columns.append(pa.concat_arrays([piece.payload for piece in pieces]))
        names.append(".")
    batch = pa.RecordBatch.from_arrays(columns, names)
    try:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return _Segment(path, path.stat().st_size, len(batch), shards, form, parts)


def _arrivals(piece: Piece) -> np.ndarray:
    return np.full(len(piece.offsets), piece.oldest_ms) if piece.arrivals is None else piece.arrivals


def _payload(segment: _Segment, rows: pa.RecordBatch) -> Any:
    columns = rows.columns[len(_OWN) if segment.parts else _ALWAYS :]
    if isinstance(segment.payload, pa.Schema):
        return pa.RecordBatch.from_arrays(columns, schema=segment.payload)
    (column,) = columns
    return column


def _extents(numbers: array[int]) -> Iterator[tuple[int, int, int]]:
    for at in range(0, len(numbers), _EXTENT):
        yield numbers[at], numbers[at + 1], numbers[at + 2]
