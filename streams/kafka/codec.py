"""Records ↔ Kafka's record batches: one Kafka record each, so that every Kafka tool reads them.

    key         the partition key, UTF-8
    value       the data
    timestamp   the arrival, ms
    headers     headrace-hash-key   16 bytes, where the record has an explicit hash key
                headrace-producer   on the first record of an append with a `ProducerMark`: its name, UTF-8
                headrace-sequence   beside it: the sequence, decimal

The offset is the partition's: dense, since nothing is compacted and no transactions are used. A batch is written whole
or not at all; it holds one append or several.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa
from aiokafka.record.memory_records import MemoryRecords

from streams.core.errors import LogCorrupt
from streams.core.records import ARRIVAL, HASH_KEY, ProducerMark, Records

HASH_KEY_HEADER = "headrace-hash-key"
PRODUCER_HEADER = "headrace-producer"
SEQUENCE_HEADER = "headrace-sequence"

Header = tuple[str, bytes | None]


class Builder(Protocol):
    """aiokafka's BatchBuilder."""

    def append(self, *, timestamp: int, key: bytes, value: bytes, headers: list[Header]) -> object: ...


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One record batch as it was read: records at the offsets [first, next), and the marks of appends that begin in it,
    by offset."""

    first: int
    records: Records
    marks: list[tuple[ProducerMark, int]] = field(default_factory=list)

    @property
    def next(self) -> int:
        return self.first + len(self.records)


def encode(builder: Builder, records: Records, arrival_ms: int, mark: ProducerMark | None) -> None:
    """Appends them to a batch."""
    keys = records.partition_key.cast(pa.binary()).to_pylist()
    data = records.data.to_pylist()
    hash_keys = None if records.hash_key is None else records.hash_key.to_pylist()
    marked: list[Header] = []
    if mark is not None:
        marked = [(PRODUCER_HEADER, mark.producer.encode()), (SEQUENCE_HEADER, b"%d" % mark.sequence)]
    for index, (key, value) in enumerate(zip(keys, data, strict=True)):
        headers = marked if index == 0 else []
        if hash_keys is not None and hash_keys[index] is not None:
            headers = [*headers, (HASH_KEY_HEADER, hash_keys[index])]
        added = builder.append(timestamp=arrival_ms, key=key, value=value, headers=headers)
        assert added is not None, "a batch has room for what an append may have"


def decode(data: bytes, shard: str) -> Iterator[Part]:
    """The batches of a fetch; a last one that is not whole is left out. Raises `LogCorrupt`."""
    batches = MemoryRecords(data)
    while batches.has_next():
        batch = batches.next_batch()
        assert batch is not None, "there is a next one"
        if not batch.validate_crc():
            raise LogCorrupt(f"{shard}: the batch of records at {batch.base_offset} is not what was written")
        if batch.is_control_batch:
            raise LogCorrupt(f"{shard}: offset {batch.base_offset} is a transaction's end, which no log of ours has")
        yield _part(batch)


def _part(batch: object) -> Part:
    keys: list[bytes] = []
    data: list[bytes] = []
    times: list[int] = []
    hash_keys: dict[int, bytes] = {}
    marks = []
    first = batch.base_offset  # type: ignore[attr-defined]  # aiokafka's classes for a batch have no common name
    for record in batch:  # type: ignore[attr-defined]
        if record.headers:
            headers = dict(record.headers)
            if HASH_KEY_HEADER in headers:
                hash_keys[len(keys)] = headers[HASH_KEY_HEADER]
            if PRODUCER_HEADER in headers:
                producer, sequence = headers[PRODUCER_HEADER].decode(), int(headers[SEQUENCE_HEADER])
                marks.append((ProducerMark(producer, sequence), record.offset))
        keys.append(record.key or b"")
        data.append(record.value or b"")
        times.append(record.timestamp)
    records = Records(
        pa.array(data, pa.binary()),
        _text(keys),
        pa.array([hash_keys.get(index) for index in range(len(keys))], HASH_KEY) if hash_keys else None,
        pa.array(np.array(times, np.int64)).cast(ARRIVAL),
    )
    return Part(first, records, marks)


def _text(keys: list[bytes]) -> pa.Array:
    try:
        return pa.array(keys, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        # Somebody else's record: it is shown as far as it can be.
        return pa.array([key.decode(errors="replace") for key in keys], pa.string())
