"""Reading: from an offset to a batch, with as few calls and copies as the frames allow.

Plain reads instead of a memory map: one copy (10 GB/s) buys that a page of the log never counts as this process's memory,
that a damaged disk is an `OSError` and not a signal, and that cold reads can be done in another thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streams.core.errors import LogCorrupt
from streams.core.records import Records
from streams.log.disk import Disk
from streams.log.frames import HEADER_SIZE, Header, body_is_whole, columns, decode_header, decode_records
from streams.log.recovery import next_frame
from streams.log.segments import INDEX_EVERY, Segment
from streams.log.unpacked import Unpacked

log = logging.getLogger(__name__)


REST_SIZE = 256 << 10
"""Bytes that a read takes at once when the first ones did not do: it rarely needs more than one frame."""


@dataclass(slots=True)
class Reading:
    """What a read found: records at [first, first + n), and where the frame behind them begins."""

    first: int
    records: Records
    position: int


def read(
    disk: Disk, segment: Segment, position: int, offset: int, size_max: int, unpacked: Unpacked | None = None
) -> Reading | None:
    """Records from `offset` on, at most about `size_max` bytes and at least one; None if this segment has no more.

    `position` is that of a frame at or before the one that holds `offset`. Damaged frames are passed over: then `first`
    is behind `offset`. Records of one reading are dense: it ends before a gap.
    """
    parts: list[Records] = []
    first = following = offset
    size = 0
    # What frames hold beside records is an eighth at most where records are not tiny; what is still wanting is little.
    whole = INDEX_EVERY + size_max + size_max // 8
    for header, plain in frames(disk, segment, position, whole, unpacked, min(whole, REST_SIZE)):
        if header.next <= following:
            position = header.end
            continue
        if plain is None:
            # Damage, or the end of what was read at once.
            if parts:
                break
            continue
        if header.base > following:
            if parts:
                break
            first = following = header.base
        records = decode_records(header, plain).slice(following - header.base)
        room = size_max - size
        if records.size > room:
            if parts and room <= 0:
                break
            count = records.count_within(max(room, 1)) if not parts else _count(records, room)
            if count == 0:
                break
            if count < len(records):
                parts.append(_arrived(records.slice(0, count), header))
                following += count
                break
        parts.append(_arrived(records, header))
        following, position = header.next, header.end
        size += records.size
        if size >= size_max:
            break
    if not parts:
        return None
    return Reading(first, Records.concat(parts), position)


def find(disk: Disk, segment: Segment, arrival_ms: int, unpacked: Unpacked | None = None) -> int | None:
    """The first offset that arrived at or after `arrival_ms`; None if all came before."""
    if segment.arrival_ms < arrival_ms:
        return None
    position = segment.index.position_before(arrival_ms)
    for header, plain in frames(disk, segment, position, 2 * INDEX_EVERY, unpacked):
        if header.arrival_ms >= arrival_ms:
            times = None if plain is None else decode_records(header, plain).arrival
            return header.base + (0 if times is None else int(np.searchsorted(times.cast(pa.int64()), arrival_ms)))
    return None


def _count(records: Records, room: int) -> int:
    """How many records fit into `room` bytes, which may be none."""
    count = records.count_within(room)
    return count if records.slice(0, count).size <= room else 0


def _arrived(records: Records, header: Header) -> Records:
    return records if records.arrival is not None else records.with_arrival(header.arrival_ms)


def frames(
    disk: Disk,
    segment: Segment,
    position: int,
    chunk: int,
    unpacked: Unpacked | None = None,
    rest: int | None = None,
) -> Iterator[tuple[Header, memoryview | None]]:
    """Frames from `position` to the segment's end with their columns; None for a frame that is damaged. Those of packed
        segments are kept in `unpacked`, and what is there already is not read again. `chunk` bytes are read at once, and `rest`
    when those are used up (None: as many).

        A frame whose header is damaged is passed over without a word from here: the next whole one follows.
    """
    content, at = memoryview(b""), position
    lately = unpacked if segment.packed else None
    while position < segment.size:
        if lately is not None and (kept := lately.get(segment, position)) is not None:
            yield kept
            position = kept[0].end
            continue
        begin = position - at
        if begin + HEADER_SIZE > len(content):
            content, at = memoryview(segment.read(disk, position, min(chunk, segment.size - position))), position
            chunk, begin = rest or chunk, 0
        header = decode_header(content, begin, position)
        if header is None or header.end > segment.size:
            whole = memoryview(segment.read(disk, position, segment.size - position))
            header = next_frame(whole, 0, position, 0)
            end = segment.size if header is None else header.position
            log.error("%s: bytes %d to %d are damaged and passed over", segment.path, position, end - 1)
            if header is None:
                return
            content, at, position, begin = whole, position, header.position, header.position - position
        if header.end - at > len(content):
            content = memoryview(
                segment.read(disk, position, max(header.end - position, min(chunk, segment.size - position)))
            )
            chunk, at, begin = rest or chunk, position, 0
        body = content[begin + HEADER_SIZE : begin + HEADER_SIZE + header.body_size]
        if not body_is_whole(header, body):
            log.error(
                "%s: the frame at byte %d is damaged: records %d to %d are passed over",
                *(segment.path, position, header.base, header.next - 1),
            )
            yield header, None
        elif header.compressed or header.sealed:
            yield header, _unpack(segment, header, body, lately)
        else:
            yield header, body
        position = header.end


def _unpack(segment: Segment, header: Header, body: memoryview, lately: Unpacked | None) -> memoryview | None:
    try:
        plain = columns(header, body, segment.seal)
    except LogCorrupt as error:
        log.error("%s: the frame at byte %d is passed over: %s", segment.path, header.position, error)
        return None
    if lately is not None:
        lately.put(segment, header, plain)
    return plain
