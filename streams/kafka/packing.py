"""Packed: many records in one Kafka record, framed as in the embedded log, and yet an offset of Kafka's for each.

    batch       := carrier filler*                       ; as many Kafka records as the frame holds records
    carrier     := no key, value: a frame (see `streams.log.frames`), header headrace-frame = "1"
    filler      := no key, no value                      ; 7 to 10 bytes, before compression

The broker numbers records, not frames. The fillers are there to be numbered: the record at place i of the frame has the
offset of the batch's i-th Kafka record, whoever else appends at the same moment, and everything that goes by offset or
time (bounds, trim, find, the journals' expected offsets) is the broker's as it is without packing. They cost no Python:
all fillers of a batch are one slice of bytes that are made once. In the frame, `base` is 0 and its marks count from there.

A batch says by itself that it is packed. A stream may hold both kinds, and a reader needs to know nothing of the stream.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.core.errors import LogCorrupt
from streams.core.records import ProducerMark, Records
from streams.kafka.batches import Incoming, Outgoing
from streams.log.frames import MarkAt, decode_header, decode_marks, decode_records, encode
from streams.log.frames import columns as columns_of

FRAME_HEADER = b"headrace-frame"
_VERSION = b"1"
_NONE = b"\x01"
"""The length -1, which a key or value has that is not there."""

_NUMBERS_AT_A_TIME = 1 << 16
"""Fillers that are made when more are needed than there are."""


def packed(
    records: Records, times: tuple[int, int] | int, marks: Sequence[tuple[ProducerMark, int]], compression: str | None
) -> Outgoing:
    """A batch of one frame. `times` is the arrival of all records; or the first and the newest one, where they have their
    own. Each mark with the place of its append's first record."""
    own = isinstance(times, tuple)
    first_ms, newest_ms = times if isinstance(times, tuple) else (times, times)
    frame = encode(records, 0, newest_ms, 0, [MarkAt(first, mark) for mark, first in marks], packed=own)
    frame_size = sum(map(len, frame))
    header = _varint(len(FRAME_HEADER)) + FRAME_HEADER + _varint(len(_VERSION)) + _VERSION
    body = b"\0\0\0" + _NONE + _varint(frame_size)  # attributes, time and offset from the batch's, no key
    rest = _varint(1) + header
    size = len(body) + frame_size + len(rest)
    count = len(records)
    fillers = _timed_fillers(records.arrival_ms() - first_ms) if own else _fillers.of(count)
    return Outgoing([_varint(size) + body, *frame, rest, fillers], count, first_ms, newest_ms, compression)


def unpacked(batch: Incoming, shard: str) -> tuple[Records, list[tuple[ProducerMark, int]]] | None:
    """The records of a packed batch, and its marks by offset; None where it is not one. Raises `LogCorrupt`."""
    frame = _carried(batch.records)
    if frame is None:
        return None
    # A copy: what Arrow sees is aligned, and neither the fillers nor the other batches of the fetch are kept with it.
    buffer = memoryview(bytes(frame))
    header = decode_header(buffer, 0, 0)
    if header is None or header.count != batch.last - batch.first + 1:
        raise LogCorrupt(f"{shard}: the frame at {batch.first} is not one of {batch.last - batch.first + 1} records")
    columns = columns_of(header, buffer[len(buffer) - header.body_size :])
    records = decode_records(header, columns)
    if records.arrival is None:
        records = records.with_arrival(header.arrival_ms)
    return records, [(at.mark, batch.first + at.first) for at in decode_marks(header, columns)]


def _carried(records: memoryview) -> memoryview | None:
    """The frame, if the first record carries one."""
    try:
        _, at = _number(records, 0)
        at += 1
        _, at = _number(records, at)
        _, at = _number(records, at)
        key_size, at = _number(records, at)
        if key_size >= 0:
            return None
        size, at = _number(records, at)
        if size < 0:
            return None
        frame = records[at : at + size]
        at += size
        headers, at = _number(records, at)
        if headers != 1:
            return None
        size, at = _number(records, at)
        return frame if records[at : at + size] == FRAME_HEADER else None
    except IndexError:
        return None


def _varint(number: int) -> bytes:
    """Kafka's variable-length form: zigzag, seven bits a byte, the lowest first."""
    number = number << 1 if number >= 0 else (-number << 1) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _number(view: memoryview, at: int) -> tuple[int, int]:
    """The number at `at`, and where the next thing begins. Raises `IndexError`."""
    shift = value = 0
    while True:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7


class _Fillers:
    """Fillers with the numbers 1, 2, …, as one run of bytes that grows as more are asked for."""

    def __init__(self) -> None:
        self._bytes = b""
        self._count = 0

    def of(self, count: int) -> memoryview:
        """Those that follow the first of `count` records."""
        if count - 1 > self._count:
            more = max(count - 1, 2 * self._count, _NUMBERS_AT_A_TIME)
            self._bytes = _written(np.arange(1, more + 1), np.zeros(more, np.int64))
            self._count = more
        return memoryview(self._bytes)[: _size_to(count)]


def _size_to(count: int) -> int:
    """Bytes of the fillers with the numbers from 1 up to `count`, which is not among them."""
    size, low = 0, 1
    for digits in range(1, 6):
        high = 1 << (7 * digits - 1)
        size += max(0, min(count, high) - low) * (6 + digits)
        low = high
    return size


def _timed_fillers(times: np.ndarray) -> bytes:
    """Those of records that arrived so many ms after the batch's first."""
    return _written(np.arange(1, len(times)), times[1:].astype(np.int64))


def _written(numbers: np.ndarray, times: np.ndarray) -> bytes:
    time_bytes, time_sizes = _varints(times)
    number_bytes, number_sizes = _varints(numbers)
    sizes = 4 + time_sizes + number_sizes
    count, wide = len(numbers), 1 + 1 + time_bytes.shape[1] + number_bytes.shape[1] + 3
    cells = np.zeros((count, wide), np.uint8)
    kept = np.ones((count, wide), bool)
    cells[:, 0] = 2 * sizes  # a length below 64, in its zigzag form
    at = 2
    for part, part_sizes in ((time_bytes, time_sizes), (number_bytes, number_sizes)):
        width = part.shape[1]
        cells[:, at : at + width] = part
        kept[:, at : at + width] = np.arange(width) < part_sizes[:, None]
        at += width
    cells[:, at : at + 3] = 1, 1, 0
    return cells[kept].tobytes()


def _varints(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Their bytes, a row each, and how many of these count."""
    zigzag = ((numbers << 1) ^ (numbers >> 63)).astype(np.uint64)
    sizes = np.ones(len(numbers), np.int64)
    for digits in range(1, 10):
        sizes += zigzag >= np.uint64(1 << (7 * digits))
    width = int(sizes.max()) if len(sizes) else 1
    rows = np.empty((len(numbers), width), np.uint8)
    for digit in range(width):
        rows[:, digit] = (zigzag >> np.uint64(7 * digit)) & np.uint64(0x7F)
        rows[:, digit] |= np.where(sizes > digit + 1, 0x80, 0).astype(np.uint8)
    return rows, sizes


_fillers = _Fillers()
