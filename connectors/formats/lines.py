"""Records as bytes one after the other: as they are, or with a line feed after or between them; plain or compressed.

The bytes of many records are gathered by Arrow, never by a loop in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.formats.compression import Compression, write_blocks

_BLOCK_SIZE = 1 << 20


def write_lines(
    file: BinaryIO,
    arrays: Iterable[pa.Array],
    *,
    delimiter: bytes = b"",
    last: bool = True,
    compression: Compression = "UNCOMPRESSED",
    entry: str = "data",
) -> None:
    """Writes every record of the binary `arrays`, `delimiter` after each; not after the last one unless `last`.
    `entry` names what is in a ZIP. Runs without the GIL for the most part."""
    blocks: Iterator[memoryview] = (block for array in arrays for block in _joined(array, delimiter))
    if delimiter and not last:
        blocks = _without_end(blocks, len(delimiter))
    write_blocks(file, blocks, compression, entry)


def _joined(array: pa.Array, delimiter: bytes) -> Iterator[memoryview]:
    """The bytes of a binary array, in blocks."""
    if len(array) == 0:
        return
    if delimiter:
        yield from _joined_with(array, delimiter)
        return
    offsets = np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4)
    values = memoryview(array.buffers()[2] or b"")[int(offsets[0]) : int(offsets[-1])]
    yield from _blocks(values)


def _joined_with(array: pa.Array, delimiter: bytes) -> Iterator[memoryview]:
    """As one list of records, which Arrow joins at half the cost of joining each record with its delimiter."""
    whole = pa.ListArray.from_arrays(pa.array([0, len(array)], pa.int32()), array)
    yield from _blocks(memoryview(pc.binary_join(whole, delimiter)[0].as_buffer()))
    yield memoryview(delimiter)


def _blocks(values: memoryview) -> Iterator[memoryview]:
    for at in range(0, len(values), _BLOCK_SIZE):
        yield values[at : at + _BLOCK_SIZE]


def _without_end(blocks: Iterable[memoryview], size: int) -> Iterator[memoryview]:
    """All but the last `size` bytes, which must be in the last block: a delimiter is one byte."""
    held: memoryview | None = None
    for block in blocks:
        if held is not None:
            yield held
        held = block
    if held is not None:
        yield held[:-size]
