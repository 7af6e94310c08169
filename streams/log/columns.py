"""The columns of small frames: what each shard gets of records that go to many.

A frame's columns are four pieces of bytes, cut out of Arrow's. To cut them for each of a thousand shards costs more than to
write them; where there are many, all but the copy of keys and data is one numpy operation for all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa

from streams.core.records import Records

COPIED_SIZE_MAX = 64 << 10
"""Bytes of keys and data up to which they are copied into columns of their own: larger ones are cheaper to write in pieces."""

MANY_MIN = 16
"""Parts from which on a dozen numpy operations for all of them are cheaper than a few for each."""

_PADDING = [bytes(-size % 8) for size in range(8)]


class Columns(msgspec.Struct, frozen=True, gc=False):
    """`count` records as the columns of a frame (see `frames`), without hash keys, times and marks."""

    body: bytes | memoryview
    count: int
    key_size: int
    data_size: int

    @property
    def size(self) -> int:
        """Bytes of keys and data."""
        return self.key_size + self.data_size


def lay_out(records: Records, ends: Sequence[int]) -> list[tuple[Records | Columns, int]]:
    """Each part of the records, from the end of the one before (0) to its own, and its bytes of keys and data: as columns,
    but as records where these are more than `COPIED_SIZE_MAX`, and wherever there are hash keys."""
    assert ends[-1] == len(records), "the parts are all there is"
    keys, data = _Column(records.partition_key), _Column(records.data)
    if len(ends) >= MANY_MIN and records.hash_key is None:
        bounds = np.array([0, *ends])
        if (np.diff(keys.offsets[bounds]) + np.diff(data.offsets[bounds])).max() <= COPIED_SIZE_MAX:
            return [(columns, columns.size) for columns in _all(keys, data, bounds)]
    parts: list[tuple[Records | Columns, int]] = []
    for first, end in itertools.pairwise((0, *ends)):
        size = keys.size(first, end) + data.size(first, end)
        small = records.hash_key is None and size <= COPIED_SIZE_MAX
        parts.append((_one(keys, data, first, end) if small else records.slice(first, end - first), size))
    return parts


class _Column:
    """The int32 offsets of a column, and the bytes that they point into."""

    __slots__ = ("blob", "offsets")

    def __init__(self, column: pa.Array) -> None:
        assert column.null_count == 0, "keys and data are never null"
        _, offsets, blob = column.buffers()
        self.offsets = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)
        self.blob = memoryview(b"" if blob is None else blob).cast("B")

    def size(self, first: int, end: int) -> int:
        """Bytes of the values from `first` to `end`."""
        return int(self.offsets[end] - self.offsets[first])

    def cut(self, first: int, end: int) -> tuple[bytes, memoryview]:
        """Offsets from 0, and the bytes, of the values from `first` to `end`."""
        offsets = self.offsets[first : end + 1]
        return (offsets - offsets[0]).tobytes(), self.blob[offsets[0] : offsets[-1]]


def _one(keys: _Column, data: _Column, first: int, end: int) -> Columns:
    """The columns of one part."""
    (key_offsets, key_blob), (data_offsets, data_blob) = keys.cut(first, end), data.cut(first, end)
    padding = _PADDING[len(key_offsets) % 8]
    body = b"".join(
        (
            *(key_offsets, padding, data_offsets, padding),
            *(key_blob, _PADDING[len(key_blob) % 8], data_blob, _PADDING[len(data_blob) % 8]),
        )
    )
    return Columns(body, end - first, len(key_blob), len(data_blob))


def _all(keys: _Column, data: _Column, bounds: np.ndarray) -> list[Columns]:
    """The columns of parts that go from bound to bound: in one buffer, one part behind the other."""
    counts = np.diff(bounds)
    key_from, data_from = keys.offsets[bounds], data.offsets[bounds]
    key_sizes, data_sizes = np.diff(key_from), np.diff(data_from)
    # Each part has an offset more than records, in either column.
    offsets_sizes = _padded(4 * (counts + 1))
    edges = np.concatenate(([0], np.cumsum(2 * offsets_sizes + _padded(key_sizes) + _padded(data_sizes))))
    buffer = np.zeros(edges[-1], np.uint8)
    words = buffer.view(np.int32)
    whose = np.repeat(np.arange(len(counts)), counts + 1)
    sources = np.arange(len(whose)) - whose
    targets = edges[whose] // 4 + sources - bounds[whose]
    words[targets] = keys.offsets[sources] - key_from[whose]
    words[targets + offsets_sizes[whose] // 4] = data.offsets[sources] - data_from[whose]
    view = memoryview(buffer)  # type: ignore[arg-type] # numpy's arrays are buffers
    columns = []
    blobs_at = edges[:-1] + 2 * offsets_sizes
    of_parts = (edges, edges[1:], blobs_at, counts, key_from, key_sizes, data_from, data_sizes)
    for begin, end, at, count, key_begin, key_size, data_begin, data_size in zip(
        *(column.tolist() for column in of_parts), strict=False
    ):
        view[at : at + key_size] = keys.blob[key_begin : key_begin + key_size]
        at += key_size + -key_size % 8
        view[at : at + data_size] = data.blob[data_begin : data_begin + data_size]
        columns.append(Columns(view[begin:end], count, key_size, data_size))
    return columns


def _padded(sizes: np.ndarray) -> np.ndarray:
    return sizes + -sizes % 8
