"""Aggregates in batches: records packed for the shards they will go to, and unpacked as they come from one.

The first user record of an aggregate decides its shard (its hash key is the aggregate's explicit one), as with the KPL.
An aggregate may hold records that belong elsewhere, when a shard was split while it was under way: their producer puts
those again, so whoever unpacks drops what lies outside of the shard's hash range, which is the KCL's rule.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams.core.hashing import Router
from streams.core.records import ARRIVAL, HASH_KEY, Batch, Records
from streams.core.shards import HashRange, Shard
from streams.sdk.aggregation import DIGEST_SIZE, MAGIC, RECORD_OVERHEAD, UserRecord, decode, encode
from streams.sdk.client import Client, Receipt, StreamDescription

AGGREGATE_KEY = "a"
"""The partition key of an aggregate, as the KPL's: its explicit hash key decides where it goes."""


@dataclass(frozen=True, slots=True, eq=False)
class UnpackedBatch(Batch):
    """The user records that stood at the offsets [first, next) of a shard; more or fewer than there are offsets.

    offset   int64: of the record that each came in
    sub      int32: its place therein, from 0; 0 for a record that was alone
    """

    offset: np.ndarray
    sub: np.ndarray

    def __post_init__(self) -> None:
        assert len(self.offset) == len(self.sub) == len(self.records), "one offset a record"

    def __len__(self) -> int:
        return len(self.records)

    def to_arrow(self) -> pa.RecordBatch:
        """As a batch's, with a column `sub` behind `offset`."""
        table = self.records.to_arrow()
        table = table.set_column(table.schema.get_field_index("offset"), table.schema.field("offset"), self.offset)
        return table.append_column(pa.field("sub", pa.int32(), nullable=False), pa.array(self.sub))


def unpack(batch: Batch, hash_range: HashRange | None) -> UnpackedBatch:
    """The user records of `batch`. Without a range (the shard is no longer listed) none is dropped."""
    offset = np.arange(batch.first, batch.next)
    packed = np.flatnonzero(pc.starts_with(batch.records.data, MAGIC).to_numpy(zero_copy_only=False))
    if not len(packed):
        return UnpackedBatch(
            batch.shard, batch.first, batch.next, batch.records, offset, np.zeros(len(batch), np.int32)
        )
    parts: list[Records] = []
    rows: list[np.ndarray] = []
    subs: list[np.ndarray] = []
    before = 0

    def plain(after: int) -> None:
        """The records from `before` on, which are what they are."""
        if after > before:
            parts.append(batch.records.slice(before, after - before))
            rows.append(np.arange(before, after))
            subs.append(np.zeros(after - before, np.int32))

    for row in packed.tolist():
        found = decode(batch.records.data[row].as_py())
        if found is None:
            continue
        plain(row)
        before = row + 1
        kept = list(range(len(found))) if hash_range is None else _within(found, hash_range)
        parts.append(_records([found[sub] for sub in kept], batch.records, row))
        rows.append(np.full(len(kept), row))
        subs.append(np.array(kept, np.int32))
    plain(len(batch))
    place = np.concatenate(rows)
    return UnpackedBatch(
        batch.shard, batch.first, batch.next, Records.concat(parts), offset[place], np.concatenate(subs)
    )


def _within(found: list[UserRecord], hash_range: HashRange) -> list[int]:
    first, last = hash_range.first.to_bytes(16, "big"), hash_range.last.to_bytes(16, "big")
    return [sub for sub, record in enumerate(found) if first <= record.place() <= last]


def _records(found: Sequence[UserRecord], carrier: Records, row: int) -> Records:
    """Each has arrived when its carrier did."""
    hash_keys = [record.hash_key for record in found]
    arrival = None
    if carrier.arrival is not None:
        arrival = pa.array(np.repeat(carrier.arrival.cast(pa.int64())[row].as_py(), len(found))).cast(ARRIVAL)
    return Records(
        pa.array([record.data for record in found], pa.binary()),
        pa.array([record.partition_key for record in found], pa.string()),
        pa.array(hash_keys, HASH_KEY) if any(key is not None for key in hash_keys) else None,
        arrival,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """What user records were made into.

    carrier   for each user record the row of `records` that carries it
    expected  for each row of `records` the shard it was packed for; None for a user record that stayed as it was
    """

    records: Records
    carrier: np.ndarray
    expected: list[str | None]


class Packer:
    """Packs for the open shards of `shards`, to aggregates of at most `size_max` bytes. A user record that fills one by
    itself, or has no company, stays as it is."""

    def __init__(self, shards: Sequence[Shard], size_max: int) -> None:
        self._open = sorted((shard for shard in shards if shard.open), key=lambda shard: shard.hash_range.first)
        self._router = Router([shard.hash_range.first.to_bytes(16, "big") for shard in self._open])
        self._size_max = size_max

    def pack(self, records: Records) -> Packed:
        """The records of a shard keep their order."""
        routes = self._router.route_arrow(records)
        sizes = pc.add(pc.binary_length(records.data), pc.binary_length(records.partition_key)).to_numpy()
        users = _users(records)
        carrier = np.empty(len(records), np.int64)
        keys: list[str] = []
        data: list[bytes] = []
        hash_keys: list[bytes | None] = []
        expected: list[str | None] = []
        for route, shard in enumerate(self._open):
            rows = np.flatnonzero(routes == route)
            for run in self._runs(rows, sizes[rows]):
                carrier[run] = len(keys)
                group = [users[row] for row in run.tolist()]
                first = group[0]
                alone = len(group) == 1
                keys.append(first.partition_key if alone else AGGREGATE_KEY)
                data.append(first.data if alone else encode(group))
                hash_keys.append(first.hash_key if alone else first.place())
                expected.append(None if alone else shard.id)
        return Packed(Records.of(keys, data, hash_keys), carrier, expected)

    def _runs(self, rows: np.ndarray, sizes: np.ndarray) -> Iterator[np.ndarray]:
        """Neighbours that fit into one aggregate, by an upper bound of what they take."""
        ends = np.cumsum(sizes.astype(np.int64) + RECORD_OVERHEAD)
        room = self._size_max - len(MAGIC) - DIGEST_SIZE - len(AGGREGATE_KEY)
        first, before = 0, 0
        while first < len(rows):
            after = max(first + 1, int(np.searchsorted(ends, before + room, "right")))
            yield rows[first:after]
            first, before = after, int(ends[after - 1])


Put = Callable[[Records], Awaitable[Receipt]]
Asked = Callable[[Callable[[], Awaitable[StreamDescription]]], Awaitable[StreamDescription]]


class Packing:
    """Puts user records as aggregates, and again what a resharding made go astray, so that each is seen once: the KPL's
    rule, of which `unpack` is the other half."""

    def __init__(self, client: Client, stream: str, size_max: int) -> None:
        self._client = client
        self._stream = stream
        self._size_max = size_max
        self._shards: dict[str, Shard] = {}
        self._packer = Packer([], size_max)

    async def put(self, records: Records, put: Put, asked: Asked) -> Receipt:
        """Where the record is that carries each of `records`. `put` appends, `asked` repeats a question until there is
        an answer; what they raise is raised here."""
        names: list[str] = []
        shard = np.empty(len(records), np.int32)
        offset = np.empty(len(records), np.int64)
        left = np.arange(len(records))
        while len(left):
            if not self._shards:
                await self._describe(asked)
            rest = records if len(left) == len(records) else records.take(pa.array(left))
            packed = self._packer.pack(rest)
            receipt = await put(packed.records)
            if not self._shards.keys() >= set(receipt.shards):
                await self._describe(asked)
            codes = receipt.shard.to_numpy(zero_copy_only=False)
            shard[left] = codes[packed.carrier] + len(names)
            offset[left] = receipt.offset.to_numpy(zero_copy_only=False)[packed.carrier]
            names += receipt.shards
            left = left[self._astray(rest, packed, [receipt.shards[code] for code in codes.tolist()])]
        return Receipt(tuple(names), pa.array(shard), pa.array(offset))

    async def _describe(self, asked: Asked) -> None:
        stream = await asked(lambda: self._client.describe_stream(self._stream))
        self._shards = {shard.id: shard for shard in stream.shards}
        self._packer = Packer(stream.shards, self._size_max)

    def _astray(self, records: Records, packed: Packed, went: list[str]) -> np.ndarray:
        """Rows of user records that were carried into a shard whose range does not hold them: nobody sees them there."""
        moved = [expected not in (None, shard) for expected, shard in zip(packed.expected, went, strict=True)]
        rows = np.flatnonzero(np.array(moved, bool)[packed.carrier])
        users = _users(records.take(pa.array(rows)))
        ranges = [self._shards[went[carrier]].hash_range for carrier in packed.carrier[rows].tolist()]
        inside = [int.from_bytes(user.place(), "big") in held for user, held in zip(users, ranges, strict=True)]
        return rows[~np.array(inside, bool)]


def _users(records: Records) -> list[UserRecord]:
    hash_keys = [None] * len(records) if records.hash_key is None else records.hash_key.to_pylist()
    return list(map(UserRecord, records.partition_key.to_pylist(), records.data.to_pylist(), hash_keys))
