"""Where a read is done: on the event loop if it is small and near, in a thread, or in one that may wait for the tier."""

from __future__ import annotations

import asyncio

from streams.log import reader
from streams.log.disk import Disk
from streams.log.segments import Segment
from streams.log.tiering import Tier
from streams.log.unpacked import Unpacked

INLINE_MAX = 256 << 10
"""Bytes up to which a read is done on the event loop: handing it to a thread costs as much as reading this."""


class Reads:
    """Reads of one log's segments. What is decompressed for one is kept for the next."""

    def __init__(self, disk: Disk, tier: Tier | None) -> None:
        self._disk = disk
        self._tier = tier
        self._unpacked = Unpacked()

    async def first(
        self, segments: list[Segment], position: int, offset: int, size_max: int
    ) -> tuple[Segment, reader.Reading] | None:
        """The first records from `offset` on, and the segment that they are in; `position` is that of their frame, or of one
        before, in the first segment. None where nothing is, or a file is gone."""
        work = segments, position, offset, size_max
        if self._tier is not None and segments[0].remote is not None:
            return await self._tier.run(self._first, *work)
        if self._at_once(segments, position, size_max):
            return self._first(*work)
        return await asyncio.to_thread(self._first, *work)

    async def find(self, segment: Segment, arrival_ms: int) -> int | None:
        """See `reader.find`. Raises `FileNotFoundError`."""
        run = asyncio.to_thread if self._tier is None or segment.remote is None else self._tier.run
        return await run(reader.find, self._disk, segment, arrival_ms, self._unpacked)

    def forget(self, segment: Segment) -> None:
        """The segment is gone."""
        self._unpacked.forget(segment)

    def _at_once(self, segments: list[Segment], position: int, size_max: int) -> bool:
        """Whether a read is cheaper than handing it to a thread."""
        segment = segments[0]
        if len(segments) == 1 and segment.size - position <= INLINE_MAX:
            return True
        return size_max <= INLINE_MAX and (not segment.packed or self._unpacked.get(segment, position) is not None)

    def _first(
        self, segments: list[Segment], position: int, offset: int, size_max: int
    ) -> tuple[Segment, reader.Reading] | None:
        """Maybe in another thread."""
        try:
            for segment in segments:
                found = reader.read(self._disk, segment, position, offset, size_max, self._unpacked)
                if found is not None:
                    return segment, found
                position = 0
        except FileNotFoundError:
            pass  # trimmed or dropped meanwhile
        return None
