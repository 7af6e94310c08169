"""Delivered objects as a reader of their source sees them: which offsets are in which object, and how to find a record in it.

A delivery stream answers with these; `connectors.delivered.archive` reads by them. Neither knows anything else of the other.
"""

from __future__ import annotations

import msgspec
import numpy as np
import zstandard

from streams.core.shards import HashRange, Shard

PATH = "/native/v1/delivered/"
"""Where a server answers with `Index` and `Contents`."""

LINES, PARQUET, ORC, FAILURES = "lines", "parquet", "orc", "failures"
"""Forms of an object: records one after the other, rows of a table, and lines of an error output."""


class Layout(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the records of one source lie in an object, which without this is known only as a set. `shards` are ids; `order`
    are pairs of a place in `shards` and a number of records, in the order of the object (None: one shard); `arrivals`
    (milliseconds) and `offsets` are those of the first shard's records, then those of the second, each in the order of the
    object. All are `packed`. `offsets` None: they rise in each shard, and the object's coverage says which they are.
    `delimited`: a line feed after each record is the delivery stream's, not the record's own."""

    form: str
    arrivals: bytes
    shards: tuple[str, ...]
    order: bytes | None = None
    runs: int = 0
    offsets: bytes | None = None
    compression: str = "UNCOMPRESSED"
    delimited: bool = False


class ShardEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A `Shard` in JSON; hash keys have 128 bits, more than its numbers."""

    id: str
    index: int
    hash_range: tuple[str, str]
    created_ms: int
    parents: tuple[str, ...] = ()
    end: int | None = None

    @staticmethod
    def of(shard: Shard) -> ShardEntry:
        bounds = str(shard.hash_range.first), str(shard.hash_range.last)
        return ShardEntry(shard.id, shard.index, bounds, shard.created_ms, shard.parents, shard.end)

    def shard(self) -> Shard:
        first, last = self.hash_range
        return Shard(self.id, self.index, "", HashRange(int(first), int(last)), self.created_ms, self.parents, self.end)


class Run(msgspec.Struct, frozen=True, array_like=True):
    """Offsets [first, next) of a shard, each in exactly one object that can be read back."""

    first: int
    next: int


class Hole(msgspec.Struct, frozen=True, array_like=True):
    """Offsets [first, next) of a shard of which some cannot be read back, and why."""

    first: int
    next: int
    why: str


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """An object: `place` finds its `Contents`; `shards` are the first and the next offset of each shard that it has records
    of, maybe not all in between; `oldest_ms` and `newest_ms` are arrivals."""

    place: str
    key: str
    shards: dict[str, tuple[int, int]]
    oldest_ms: int
    newest_ms: int
    form: str


class Index(msgspec.Struct, frozen=True):
    """What a delivery stream has delivered of the incarnation `stream_id` of its source. `runs` by shard, in order."""

    delivery_stream: str
    stream: str
    stream_id: str
    shards: list[ShardEntry]
    runs: dict[str, list[Run]]
    holes: dict[str, list[Hole]]
    objects: list[Entry]


class Contents(msgspec.Struct, frozen=True):
    """One object whole: in the store `store` (a URL), under `key`. `offsets` by shard, `packed`, in the order of
    `Layout.shards`; `counts` are how many each has."""

    store: str
    key: str
    size: int
    sha256: str
    records: int
    layout: Layout
    counts: tuple[int, ...]
    offsets: tuple[bytes, ...]


def packed(values: np.ndarray) -> bytes:
    """int64 numbers that mostly rise a little: zstd of their differences, byte by byte of their places."""
    steps = np.diff(values.astype("<i8"), prepend=0)
    planes = np.ascontiguousarray(steps.view(np.uint8).reshape(-1, 8).T)
    return zstandard.ZstdCompressor(level=1).compress(planes.tobytes())


def unpacked(data: bytes, count: int) -> np.ndarray:
    """Raises ValueError for what is not `count` numbers."""
    try:
        planes = zstandard.ZstdDecompressor().decompress(data, max_output_size=8 * count + 1)
    except zstandard.ZstdError as error:
        raise ValueError(f"packed numbers cannot be unpacked: {error}") from error
    if len(planes) != 8 * count:
        raise ValueError(f"{len(planes) // 8} packed numbers, not {count}")
    steps = np.ascontiguousarray(np.frombuffer(planes, np.uint8).reshape(8, -1).T).view("<i8").reshape(-1)
    return np.cumsum(steps)


encode_index = msgspec.msgpack.Encoder().encode
decode_index = msgspec.msgpack.Decoder(Index).decode
encode_contents = msgspec.msgpack.Encoder().encode
decode_contents = msgspec.msgpack.Decoder(Contents).decode
