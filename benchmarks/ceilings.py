"""The parts of a request that no server in Python can do without, timed alone: what the ceilings are reckoned from."""

from __future__ import annotations

import os
import tempfile
import time
from _md5 import md5
from collections.abc import Callable

import msgspec

from benchmarks import aws


class _Entry(msgspec.Struct):
    data: bytes = msgspec.field(name="Data")
    partition_key: str = msgspec.field(name="PartitionKey")


class _PutRecords(msgspec.Struct):
    stream: str = msgspec.field(name="StreamName")
    records: list[_Entry] = msgspec.field(name="Records")


class _PutRecord(msgspec.Struct):
    stream: str = msgspec.field(name="StreamName")
    data: bytes = msgspec.field(name="Data")
    partition_key: str = msgspec.field(name="PartitionKey")


def best_of(action: Callable[[], object], seconds: float = 0.3) -> float:
    """Seconds of one call: the median of as many as fit."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not times:
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


def decode_put_records_s(count: int, size: int) -> float:
    """Decoding, un-base64ing and hashing the keys of one request."""
    decoder = msgspec.json.Decoder(_PutRecords)
    body = aws.put_records_body(count, size, 0)

    def work() -> None:
        for entry in decoder.decode(body).records:
            md5(entry.partition_key.encode())

    return best_of(work)


def decode_put_record_s(size: int) -> float:
    decoder = msgspec.json.Decoder(_PutRecord)
    body = aws.put_record_body(size, 0)
    return best_of(lambda: md5(decoder.decode(body).partition_key.encode()))


def append_s(size: int) -> float:
    """Writing `size` bytes at the end of a file, and fdatasync."""
    data = os.urandom(size)
    with tempfile.TemporaryFile() as file:

        def work() -> None:
            os.write(file.fileno(), data)
            os.fdatasync(file.fileno())

        return best_of(work)


def encode_get_records_s(count: int, size: int) -> float:
    """Encoding the JSON of one answer, base64 included."""
    record = {
        "SequenceNumber": "4" * 56,
        "ApproximateArrivalTimestamp": 1.7e9,
        "Data": os.urandom(size),
        "PartitionKey": "0123456789ab",
    }
    answer = {"Records": [record] * count, "NextShardIterator": "A" * 100, "MillisBehindLatest": 0}
    return best_of(lambda: msgspec.json.encode(answer))


def copy_s(size: int) -> float:
    """Copying `size` bytes from one place in memory to another."""
    source, target = os.urandom(1 << 20) * (size >> 20), memoryview(bytearray(size))

    def work() -> None:
        target[:] = source

    work()  # the pages are there before the clock runs
    return best_of(work)
