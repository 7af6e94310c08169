"""Gathering: a shard's frames, as they lie in its segments, joined to parts of some size for a copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streams.core.errors import LogCorrupt
from streams.core.records import Records
from streams.log.copying import PART_SIZE, Part
from streams.log.disk import Disk
from streams.log.frames import decode_marks, decode_records
from streams.log.reader import frames
from streams.log.segments import INDEX_EVERY, Segment

APPEND_SIZE_MAX = 48 << 20
"""Bytes that are gathered to keep an append in one part: more do not fit into one batch of every engine."""


def gathered(disk: Disk, shard: str, offset: int, segments: Sequence[Segment]) -> Iterator[Part]:
    """What these segments of a shard have from `offset` on, some `PART_SIZE` bytes at a time. Raises `LogCorrupt`, `OSError`."""
    following = offset
    parts: list[Part] = []
    size = 0
    for segment in segments:
        if segment.next <= following:
            continue
        for header, plain in frames(disk, segment, segment.index.position_of(following), INDEX_EVERY + PART_SIZE):
            if header.next <= following:
                continue
            if plain is None or header.base > following:
                raise LogCorrupt(f"{shard}: records from {following} on are damaged: see headrace stream verify")
            records = decode_records(header, plain)
            if records.arrival is None:
                records = records.with_arrival(header.arrival_ms)
            marks = [(one.mark, one.first) for one in decode_marks(header, plain)]
            part = (
                Part(header.base, records, marks).after(following)
                if header.base < following
                else Part(header.base, records, marks)
            )
            parts.append(part)
            size += part.records.size
            following = part.next
            # The mark of an append stands in its last frame, and names the first record.
            if size >= PART_SIZE and (not header.continued or size >= APPEND_SIZE_MAX):
                yield _joined(parts)
                parts, size = [], 0
    if parts:
        yield _joined(parts)


def _joined(parts: list[Part]) -> Part:
    first = parts[0].first
    marks = [(mark, max(first, at)) for part in parts for mark, at in part.marks]
    return Part(first, Records.concat([part.records for part in parts]), marks)
