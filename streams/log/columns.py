"""The columns of many small frames in one pass: what each shard gets of records that go to many.

A frame's columns are four pieces of bytes, cut out of Arrow's. To cut them for each of a thousand shards costs more than to
write them; here all but the copy of keys and data is one numpy operation for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa

from streams.core.records import Records

COPIED_SIZE_MAX = 64 << 10
"""Bytes of keys and data up to which they are copied into columns of their own: larger ones are cheaper to write in pieces."""


class Columns(msgspec.Struct, frozen=True, gc=False):
    """`count` records as the columns of a frame (see `frames`), without hash keys, times and marks."""

    body: memoryview
    count: int
    key_size: int
    data_size: int


def lay_out(records: Records, ends: Sequence[int]) -> list[tuple[Records | Columns, int]]:
    """Each part of the records, from the end of the one before (0) to its own, and its bytes of keys and data: as columns,
    but as records where these are more than `COPIED_SIZE_MAX`, and wherever there are hash keys."""
    assert ends[-1] == len(records), "the parts are all there is"
    key_offsets, keys = _column(records.partition_key)
    data_offsets, data = _column(records.data)
    bounds = np.array([0, *ends])
    counts = np.diff(bounds)
    key_from, data_from = key_offsets[bounds], data_offsets[bounds]
    key_sizes, data_sizes = np.diff(key_from), np.diff(data_from)
    sizes = (key_sizes + data_sizes).tolist()
    if records.hash_key is not None or max(sizes) > COPIED_SIZE_MAX:
        first = 0
        parts: list[tuple[Records | Columns, int]] = []
        for end, size in zip(ends, sizes, strict=True):
            part = records.slice(first, end - first)
            small = records.hash_key is None and size <= COPIED_SIZE_MAX
            parts += lay_out(part, [end - first]) if small else [(part, size)]
            first = end
        return parts
    # All in one buffer, one part behind the other. Each has an offset more than records, in either column.
    offsets_sizes = _padded(4 * (counts + 1))
    edges = np.concatenate(([0], np.cumsum(2 * offsets_sizes + _padded(key_sizes) + _padded(data_sizes))))
    buffer = np.zeros(edges[-1], np.uint8)
    words = buffer.view(np.int32)
    whose = np.repeat(np.arange(len(ends)), counts + 1)
    sources = np.arange(len(whose)) - whose
    targets = edges[whose] // 4 + sources - bounds[whose]
    words[targets] = key_offsets[sources] - key_from[whose]
    words[targets + offsets_sizes[whose] // 4] = data_offsets[sources] - data_from[whose]
    view = memoryview(buffer)  # type: ignore[arg-type] # numpy's arrays are buffers
    columns = []
    blobs_at = edges[:-1] + 2 * offsets_sizes
    of_parts = (edges, edges[1:], blobs_at, counts, key_from, key_sizes, data_from, data_sizes)
    for begin, end, at, count, key_begin, key_size, data_begin, data_size in zip(
        *(column.tolist() for column in of_parts), strict=False
    ):
        view[at : at + key_size] = keys[key_begin : key_begin + key_size]
        at += key_size + -key_size % 8
        view[at : at + data_size] = data[data_begin : data_begin + data_size]
        columns.append(Columns(view[begin:end], count, key_size, data_size))
    return list(zip(columns, sizes, strict=True))


def _column(column: pa.Array) -> tuple[np.ndarray, memoryview]:
    """int64 offsets and the bytes that they point into."""
    assert column.null_count == 0, "keys and data are never null"
    _, offsets, blob = column.buffers()
    found = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)
    return found.astype(np.int64), memoryview(b"" if blob is None else blob).cast("B")


def _padded(sizes: np.ndarray) -> np.ndarray:
    return sizes + -sizes % 8
