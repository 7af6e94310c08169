"""Reading: from an offset to a batch, with as few calls and copies as the frames allow.

Plain reads instead of a memory map: one copy (10 GB/s) buys that a page of the log never counts as this process's memory,
that a damaged disk is an `OSError` and not a signal, and that cold reads can be done in another thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from streams.core.records import Records
from streams.log.disk import Disk
from streams.log.frames import HEADER_SIZE, Header, body_is_whole, decode_header, decode_records
from streams.log.recovery import next_frame
from streams.log.segments import INDEX_EVERY, Segment

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Reading:
    """What a read found: records at [first, first + n), and where the frame behind them begins."""

    first: int
    records: Records
    position: int


def read(disk: Disk, segment: Segment, position: int, offset: int, size_max: int) -> Reading | None:
    """Records from `offset` on, at most about `size_max` bytes and at least one; None if this segment has no more.

    `position` is that of a frame at or before the one that holds `offset`. Damaged frames are passed over: then `first`
    is behind `offset`. Records of one reading are dense: it ends before a gap.
    """
    parts: list[Records] = []
    first = following = offset
    size = 0
    for header, body in _frames(disk, segment, position, INDEX_EVERY + size_max):
        if header.next <= following:
            position = header.end
            continue
        if body is None:
            # Damage, or the end of what was read at once.
            if parts:
                break
            continue
        if header.base > following:
            if parts:
                break
            first = following = header.base
        records = decode_records(header, body).slice(following - header.base)
        room = size_max - size
        if records.size > room:
            if parts and room <= 0:
                break
            count = records.count_within(max(room, 1)) if not parts else _count(records, room)
            if count == 0:
                break
            if count < len(records):
                parts.append(records.slice(0, count).with_arrival(header.arrival_ms))
                following += count
                break
        parts.append(records.with_arrival(header.arrival_ms))
        following, position = header.next, header.end
        size += records.size
        if size >= size_max:
            break
    if not parts:
        return None
    return Reading(first, Records.concat(parts), position)


def find(disk: Disk, segment: Segment, arrival_ms: int) -> int | None:
    """The first offset that arrived at or after `arrival_ms`; None if all came before."""
    if segment.arrival_ms < arrival_ms:
        return None
    for header, _ in _frames(disk, segment, segment.index.position_before(arrival_ms), 2 * INDEX_EVERY):
        if header.arrival_ms >= arrival_ms:
            return header.base
    return None


def _count(records: Records, room: int) -> int:
    """How many records fit into `room` bytes, which may be none."""
    count = records.count_within(room)
    return count if records.slice(0, count).size <= room else 0


def _frames(disk: Disk, segment: Segment, position: int, chunk: int) -> Iterator[tuple[Header, memoryview | None]]:
    """Frames from `position` to the segment's end with their bodies; None for a body that is damaged.

    A frame whose header is damaged is passed over without a word from here: the next whole one follows.
    """
    content, at = memoryview(b""), position
    while position < segment.size:
        begin = position - at
        if begin + HEADER_SIZE > len(content):
            content, at = memoryview(disk.read(segment.path, position, min(chunk, segment.size - position))), position
            begin = 0
        header = decode_header(content, begin, position)
        if header is None or header.end > segment.size:
            whole = memoryview(disk.read(segment.path, position, segment.size - position))
            header = next_frame(whole, 0, position, 0)
            end = segment.size if header is None else header.position
            log.error("%s: bytes %d to %d are damaged and passed over", segment.path, position, end - 1)
            if header is None:
                return
            content, at, position, begin = whole, position, header.position, header.position - position
        if header.end - at > len(content):
            content = memoryview(
                disk.read(segment.path, position, max(header.end - position, min(chunk, segment.size - position)))
            )
            at, begin = position, 0
        body = content[begin + HEADER_SIZE : begin + HEADER_SIZE + header.body_size]
        if not body_is_whole(header, body):
            log.error(
                "%s: the frame at byte %d is damaged: records %d to %d are passed over",
                *(segment.path, position, header.base, header.next - 1),
            )
            yield header, None
        else:
            yield header, body
        position = header.end
