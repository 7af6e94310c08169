"""Records ↔ Kafka's record batches: one Kafka record each, so that every Kafka tool reads them. For those of packed streams
see `packing`.

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

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from streams.core.records import ARRIVAL, HASH_KEY, ProducerMark, Records
from streams.kafka.batches import BATCH_SIZE_MAX, HEADER_SIZE, Incoming, Outgoing, split
from streams.kafka.packing import unpacked
from streams.log.copying import Part

HASH_KEY_HEADER = "headrace-hash-key"
PRODUCER_HEADER = "headrace-producer"
SEQUENCE_HEADER = "headrace-sequence"

Header = tuple[str, bytes | None]


def plain(
    records: Records, times: int | np.ndarray, marks: Sequence[tuple[ProducerMark, int]], compression: str | None
) -> Outgoing:
    """A batch of a Kafka record for each. `times` is their arrival in ms, of all or of each. Each mark with the place of its
    append's first record."""
    keys = records.partition_key.cast(pa.binary()).to_pylist()
    data = records.data.to_pylist()
    count = len(keys)
    arrivals = [times] * count if isinstance(times, int) else times.tolist()
    hash_keys = None if records.hash_key is None else records.hash_key.to_pylist()
    marked: dict[int, list[Header]] = {}
    for mark, place in marks:
        headers = marked.setdefault(place, [])
        headers += [(PRODUCER_HEADER, mark.producer.encode()), (SEQUENCE_HEADER, b"%d" % mark.sequence)]
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, BATCH_SIZE_MAX)
    for place, (key, value, arrival_ms) in enumerate(zip(keys, data, arrivals, strict=True)):
        headers = marked.get(place, [])
        if hash_keys is not None and hash_keys[place] is not None:
            headers = [*headers, (HASH_KEY_HEADER, hash_keys[place])]
        added = builder.append(place, arrival_ms, key, value, headers)
        assert added is not None, "a batch has room for what an append may have"
    body = memoryview(builder.build())[HEADER_SIZE:]
    return Outgoing([body], count, arrivals[0], max(arrivals), compression)


def decode(data: bytes, shard: str) -> Iterator[Part]:
    """The batches of a fetch; a last one that is not whole is left out. Raises `LogCorrupt`."""
    for batch in split(data, shard):
        found = unpacked(batch, shard)
        yield _part(batch) if found is None else Part(batch.first, *found)


def _part(batch: Incoming) -> Part:
    keys: list[bytes] = []
    data: list[bytes] = []
    times: list[int] = []
    hash_keys: dict[int, bytes] = {}
    marks = []
    for record in DefaultRecordBatch(bytearray(batch.plain())):
        if record.headers:
            producer = None
            for name, value in record.headers:
                if name == HASH_KEY_HEADER:
                    hash_keys[len(keys)] = value
                elif name == PRODUCER_HEADER:
                    producer = value.decode()
                elif name == SEQUENCE_HEADER and producer is not None:
                    marks.append((ProducerMark(producer, int(value)), record.offset))
        keys.append(record.key or b"")
        data.append(record.value or b"")
        times.append(record.timestamp)
    records = Records(
        pa.array(data, pa.binary()),
        _text(keys),
        pa.array([hash_keys.get(index) for index in range(len(keys))], HASH_KEY) if hash_keys else None,
        pa.array(np.array(times, np.int64)).cast(ARRIVAL),
    )
    return Part(batch.first, records, marks)


def _text(keys: list[bytes]) -> pa.Array:
    try:
        return pa.array(keys, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        # Somebody else's record: it is shown as far as it can be.
        return pa.array([key.decode(errors="replace") for key in keys], pa.string())
