"""`Records`: the one currency on the storage side. Opaque bytes in Arrow columns, never a loop over records."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import pyarrow as pa

ARRIVAL = pa.timestamp("ms", tz="UTC")
HASH_KEY = pa.binary(16)

_FEW = 32
"""Records up to which joining their bytes in Python is cheaper than Arrow's conversion of lists."""

_offset_at = struct.Struct("=i").unpack_from

Change = Callable[[pa.Array], pa.Array]

SCHEMA = pa.schema(
    [
        pa.field("partition_key", pa.string(), nullable=False),
        pa.field("data", pa.binary(), nullable=False),
        pa.field("arrival", ARRIVAL),
        pa.field("offset", pa.int64()),
    ]
)
"""How records look to Arrow tools and on the native door. `arrival` and `offset` are null before the append."""


@dataclass(frozen=True, slots=True)
class ProducerMark:
    """Makes an append idempotent: a producer's name (1 to 64 bytes of UTF-8) and the sequence of this append.

    A log that has already seen this or a later sequence from the producer in a shard appends nothing there and answers
    the first offset of the last append that it did take. Sequences of a producer rise, with or without gaps.
    """

    producer: str
    sequence: int


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """n records as Arrow arrays of equal length.

    data           binary: opaque
    partition_key  string
    hash_key       fixed_size_binary(16), big-endian, null where the partition key's MD5 decides; None: null everywhere
    arrival        timestamp(ms, UTC), set by the log at the append; None before
    """

    data: pa.Array
    partition_key: pa.Array
    hash_key: pa.Array | None = None
    arrival: pa.Array | None = None

    @staticmethod
    def of(
        partition_keys: Sequence[str], data: Sequence[bytes], hash_keys: Sequence[bytes | None] | None = None
    ) -> Records:
        """From Python lists."""
        if len(data) <= _FEW and hash_keys is None:
            return _few(partition_keys, data)
        return Records(
            pa.array(data, pa.binary()),
            pa.array(partition_keys, pa.string()),
            None if hash_keys is None else pa.array(hash_keys, HASH_KEY),
        )

    @staticmethod
    def empty() -> Records:
        return Records.of([], [])

    def __len__(self) -> int:
        return len(self.data)

    @property
    def size(self) -> int:
        """Bytes of keys and data: what buffers and limits count."""
        return _size(self.data) + _size(self.partition_key)

    def count_within(self, size_max: int) -> int:
        """How many records from the first on hold at most `size_max` bytes together; at least one."""
        if len(self) == 0:
            return 0
        ends = _offsets(self.data)[1:] + _offsets(self.partition_key)[1:].astype(np.int64)
        begin = int(_offsets(self.data)[0]) + int(_offsets(self.partition_key)[0])
        return max(1, int(np.searchsorted(ends, begin + size_max, side="right")))

    def slice(self, first: int, count: int | None = None) -> Records:
        """A view without a copy."""
        return self._each(lambda column: column.slice(first, count))

    def take(self, indices: pa.Array) -> Records:
        return self._each(lambda column: column.take(indices))

    def with_arrival(self, arrival_ms: int | np.ndarray) -> Records:
        """The same records, arrived at one time or each at its own (int64 milliseconds)."""
        times = (
            np.full(len(self), arrival_ms, np.int64)
            if isinstance(arrival_ms, int)
            else np.ascontiguousarray(arrival_ms, np.int64)
        )
        return replace(self, arrival=pa.Array.from_buffers(ARRIVAL, len(self), [None, pa.py_buffer(times)], 0))

    def arrival_ms(self) -> np.ndarray:
        """int64 milliseconds since the epoch, a view of `arrival`."""
        assert self.arrival is not None, "records that have not been appended have no arrival time"
        return self.arrival.cast(pa.int64()).to_numpy()

    def to_arrow(self, first: int | None = None) -> pa.RecordBatch:
        """A batch of `SCHEMA`; `first` is the offset of the first record, None before the append."""
        count = len(self)
        offset = pa.nulls(count, pa.int64()) if first is None else pa.array(np.arange(first, first + count))
        arrival = pa.nulls(count, ARRIVAL) if self.arrival is None else self.arrival
        return pa.RecordBatch.from_arrays([self.partition_key, self.data, arrival, offset], schema=SCHEMA)

    @staticmethod
    def concat(parts: Sequence[Records]) -> Records:
        """One `Records` of all, in order. Copies, unless there is only one part."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Records.empty()
        hash_key = None
        if any(part.hash_key is not None for part in parts):
            hash_key = pa.concat_arrays(
                [pa.nulls(len(part), HASH_KEY) if part.hash_key is None else part.hash_key for part in parts]
            )
        arrival = None
        if all(part.arrival is not None for part in parts):
            arrival = pa.concat_arrays([part.arrival for part in parts])
        return Records(
            pa.concat_arrays([part.data for part in parts]),
            pa.concat_arrays([part.partition_key for part in parts]),
            hash_key,
            arrival,
        )

    def _each(self, change: Change) -> Records:
        return Records(
            change(self.data),
            change(self.partition_key),
            None if self.hash_key is None else change(self.hash_key),
            None if self.arrival is None else change(self.arrival),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Records of one shard at the offsets [first, next): a position is the next thing to read."""

    shard: str
    first: int
    next: int
    records: Records

    def __post_init__(self) -> None:
        assert self.next - self.first == len(self.records), "offsets are dense"

    def __len__(self) -> int:
        return self.next - self.first

    @property
    def offsets(self) -> np.ndarray:
        """int64: of each record."""
        return np.arange(self.first, self.next)

    def cut(self, count: int) -> tuple[Batch, Batch | None]:
        """The first `count` records, and the rest."""
        if len(self) <= count:
            return self, None
        middle = self.first + count
        head = Batch(self.shard, self.first, middle, self.records.slice(0, count))
        return head, Batch(self.shard, middle, self.next, self.records.slice(count))

    def to_arrow(self) -> pa.RecordBatch:
        return self.records.to_arrow(self.first)


@dataclass(frozen=True, slots=True, eq=False)
class SparseBatch(Batch):
    """Records at some of the offsets [first, next); at the others there is none for readers, and never will be.

    at   int64: the offset of each record, rising
    """

    at: np.ndarray

    def __post_init__(self) -> None:
        assert len(self.at) == len(self.records), "one offset a record"
        assert not len(self.at) or self.first <= self.at[0] <= self.at[-1] < self.next, "offsets lie in the batch"

    def __len__(self) -> int:
        return len(self.records)

    @property
    def offsets(self) -> np.ndarray:
        return self.at

    def cut(self, count: int) -> tuple[Batch, Batch | None]:
        if len(self) <= count:
            return self, None
        middle = int(self.at[count - 1]) + 1 if count else self.first
        head = SparseBatch(self.shard, self.first, middle, self.records.slice(0, count), self.at[:count])
        return head, SparseBatch(self.shard, middle, self.next, self.records.slice(count), self.at[count:])

    def to_arrow(self) -> pa.RecordBatch:
        table = self.records.to_arrow()
        return table.set_column(SCHEMA.get_field_index("offset"), SCHEMA.field("offset"), pa.array(self.at))


def _few(partition_keys: Sequence[str], data: Sequence[bytes]) -> Records:
    """`Records.of` in half its time, which is mostly Arrow's way into the conversion of a list."""
    encoded = [key.encode() for key in partition_keys]
    return Records(_joined(pa.binary(), data), _joined(pa.string(), encoded))


def _joined(kind: pa.DataType, values: Sequence[bytes]) -> pa.Array:
    offsets = array("i", accumulate(map(len, values), initial=0))
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _size(column: pa.Array) -> int:
    """Bytes between the first and the last offset of a string or binary array, without a copy."""
    count = len(column)
    if count == 0:
        return 0
    offsets, first = column.buffers()[1], column.offset * 4
    end: int = _offset_at(offsets, first + count * 4)[0]
    begin: int = _offset_at(offsets, first)[0]
    return end - begin


def _offsets(column: pa.Array) -> np.ndarray:
    """The n + 1 int32 offsets of a string or binary array, a view."""
    return np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, column.offset * 4)
