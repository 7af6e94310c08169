"""The records in an object, in its order, as binary arrays: a few thousand at a time, so that memory is flat.

Rows of Parquet and ORC become JSON objects again, with the keys that the table has. Records that stand one after the other
are told apart by their line feeds, or by where a JSON value ends.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator
from typing import BinaryIO, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq

from connectors.delivered.contract import FAILURES, ORC, PARQUET, Layout
from connectors.formats.compression import Compression, read_blocks
from connectors.formats.json import encode_json

ROWS_MAX = 8_192
"""Rows that are in memory at a time."""
RECORD_SIZE_MAX = 16 << 20
"""Bytes of a record: a source takes up to 10 MiB."""


def records_of(file: BinaryIO, layout: Layout, count: int, keys: Collection[str]) -> Iterator[pa.Array]:
    """`file` can be sought in; `count` records are in it. `keys` are how a reader spells the keys that it looks for, which a
    table has in lower case. Raises ValueError for what is not readable so."""
    try:
        if layout.form == PARQUET:
            with pq.ParquetFile(file, pre_buffer=False) as parquet:
                for batch in parquet.iter_batches(ROWS_MAX):
                    yield encode_json(_spelled(batch, keys))
        elif layout.form == ORC:
            orc = pyarrow.orc.ORCFile(file)
            for stripe in range(orc.nstripes):
                rows = orc.read_stripe(stripe)
                for first in range(0, len(rows), ROWS_MAX):
                    yield encode_json(_spelled(rows.slice(first, ROWS_MAX), keys))
        elif layout.form == FAILURES:
            yield from _originals(file)
        else:
            yield from _one_after_the_other(file, layout, count)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"it cannot be read: {error}") from error


def columns_of(file: BinaryIO, layout: Layout) -> list[str] | None:
    """The columns of a table's rows; None where the object has records as they were. Raises ValueError."""
    try:
        if layout.form == PARQUET:
            return list(pq.read_schema(file).names)
        if layout.form == ORC:
            return list(pyarrow.orc.ORCFile(file).schema.names)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"it cannot be read: {error}") from error
    return None


def column_of(key: str, columns: Collection[str]) -> str | None:
    """The column of a table that has the values of a record's key: names ignore case, and dots become underscores."""
    for spelled in (key, key.lower(), key.lower().replace(".", "_")):
        if spelled in columns:
            return spelled
    return None


def _spelled(rows: pa.RecordBatch, keys: Collection[str]) -> pa.RecordBatch:
    names = list(rows.schema.names)
    for key in keys:
        column = column_of(key, names)
        if column is not None and key not in names:
            names[names.index(column)] = key
    return rows.rename_columns(names)


class _Failed(msgspec.Struct):
    data: str = msgspec.field(name="rawData")


_failed = msgspec.json.Decoder(_Failed).decode


def _originals(file: BinaryIO) -> Iterator[pa.Array]:
    """Of an error output."""
    found: list[bytes] = []
    for line in file:
        try:
            found.append(base64.b64decode(_failed(line).data, validate=True))
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise ValueError(f"a line is none of an error output: {error}") from error
        if len(found) == ROWS_MAX:
            yield pa.array(found, pa.binary())
            found = []
    if found:
        yield pa.array(found, pa.binary())


def _one_after_the_other(file: BinaryIO, layout: Layout, count: int) -> Iterator[pa.Array]:
    """As many line feeds of the delivery stream's own as there are records leave none to the records. Without those, as
    many JSON values are the records; as many lines may still be none, where a record has several."""
    compression = cast(Compression, layout.compression)
    if layout.delimited and _count(file, compression, _Lines()) == count:
        for records in _cut(file, compression, _Lines()):
            yield _without_line_feeds(records)
        return
    values = _count(file, compression, _Values())
    if values == count:
        yield from _cut(file, compression, _Values())
        return
    lines = _count(file, compression, _Lines())
    if lines == count:
        yield from _cut(file, compression, _Lines())
    else:
        raise ValueError(
            f"it holds {count:,} records, and they cannot be told apart: it has {lines:,} lines and {values:,} JSON values"
            " (a delivery stream writes a line feed after each record where it has the processor AppendDelimiterToRecord)"
        )


class _Lines:
    """Where records end in blocks that come one after the other, if each is a line."""

    def ends(self, block: np.ndarray) -> np.ndarray:
        """`block` is uint8; the indices after each record that ends in it."""
        return np.flatnonzero(block == 0x0A) + 1

    def last(self, rest: bytes) -> bool:
        """Whether what stands after the last end is a record."""
        return bool(rest)


class _Values:
    """The same, if each is a JSON object or array: it ends where its first bracket is closed, outside of strings."""

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def ends(self, block: np.ndarray) -> np.ndarray:
        backslash = block == 0x5C
        some = self._escaped or backslash.any()
        escaped = self._after_backslashes(backslash) if some else np.zeros(len(block), bool)
        quotes = (block == 0x22) & ~escaped
        inside = (np.cumsum(quotes) + self._quoted) % 2 == 1
        plain = ~inside & ~quotes
        steps = np.zeros(len(block), np.int8)
        steps[plain & ((block == 0x7B) | (block == 0x5B))] = 1
        steps[plain & ((block == 0x7D) | (block == 0x5D))] = -1
        depth = self._depth + np.cumsum(steps, dtype=np.int64)
        if len(block):
            self._depth, self._quoted = int(depth[-1]), bool(inside[-1])
        return np.flatnonzero((steps < 0) & (depth == 0)) + 1

    def last(self, rest: bytes) -> bool:
        return bool(rest.strip())

    def _after_backslashes(self, backslash: np.ndarray) -> np.ndarray:
        """Which bytes stand after an odd number of backslashes."""
        places = np.arange(len(backslash))
        before = np.maximum.accumulate(np.where(~backslash, places, -1))
        length = places - before  # of the run that ends here
        if self._escaped and len(backslash) and before[0] == -1:
            first_plain = int(np.argmin(backslash)) if not backslash.all() else len(backslash)
            length[:first_plain] += 1
        odd = backslash & (length % 2 == 1)
        escaped = np.concatenate([[self._escaped], odd[:-1]]) if len(odd) else odd
        self._escaped = bool(odd[-1]) if len(odd) else self._escaped
        return escaped


def _count(file: BinaryIO, compression: Compression, finder: _Lines | _Values) -> int:
    """How many records there are."""
    file.seek(0)
    count, rest = 0, b""
    for block in read_blocks(file, compression):
        ends = finder.ends(np.frombuffer(block, np.uint8))
        rest = block[int(ends[-1]) :] if len(ends) else (rest + block)[-RECORD_SIZE_MAX:]
        count += len(ends)
    return count + finder.last(rest)


def _cut(file: BinaryIO, compression: Compression, finder: _Lines | _Values) -> Iterator[pa.Array]:
    file.seek(0)
    rest = b""
    for block in read_blocks(file, compression):
        ends = finder.ends(np.frombuffer(block, np.uint8))
        if not len(ends):
            rest += block
            if len(rest) > RECORD_SIZE_MAX:
                raise ValueError(f"a record has more than {RECORD_SIZE_MAX >> 20} MiB")
            continue
        bounds = np.concatenate([[0], ends + len(rest)])
        whole = rest + block
        for first in range(0, len(ends), ROWS_MAX):
            yield _sliced(whole, bounds[first : first + ROWS_MAX + 1])
        rest = whole[int(bounds[-1]) :]
    if finder.last(rest):
        yield _sliced(rest, np.array([0, len(rest)]))


def _without_line_feeds(records: pa.Array) -> pa.Array:
    """The last byte of each record off, where it is a line feed."""
    bounds = np.frombuffer(records.buffers()[1], np.int32, len(records) + 1)
    data = np.frombuffer(records.buffers()[2], np.uint8)
    last = bounds[1:] - 1
    ours = last[(data[last] == 0x0A)]
    kept = np.ones(len(data), bool)
    kept[ours] = False
    shorter = bounds - np.searchsorted(ours, bounds).astype(np.int32)
    buffers = [None, pa.py_buffer(shorter.tobytes()), pa.py_buffer(data[kept].tobytes())]
    return pa.Array.from_buffers(pa.binary(), len(records), buffers)


def _sliced(data: bytes, bounds: np.ndarray) -> pa.Array:
    """The parts of `data` between bounds, white space at their ends included: JSON does not mind it."""
    first, last = int(bounds[0]), int(bounds[-1])
    offsets = pa.py_buffer((bounds - first).astype(np.int32).tobytes())
    return pa.Array.from_buffers(pa.binary(), len(bounds) - 1, [None, offsets, pa.py_buffer(data[first:last])])
