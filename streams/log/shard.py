"""A shard as readers of the embedded engine see it."""

from __future__ import annotations

import bisect

from streams.log.frames import Header
from streams.log.segments import Segment
from streams.log.tail import Tail
from streams.log.waiting import Waiters

PLACES_MAX = 64
"""Readers of one shard whose place in the files is remembered, so that the next read begins at its frame."""


class Shard:
    """A shard as readers see it: segments in order, [first, next)."""

    def __init__(self, name: str, first: int, segments: list[Segment], tail: Tail) -> None:
        self.name = name
        self.first = first
        self.next = tail.next
        self.segments = segments
        self.tail = tail
        self.waiters = Waiters()
        self.places: dict[int, tuple[Segment, int]] = {}
        self.dropped = False
        self.changes = 0
        """How often a file that a reader may have in hand went away."""

    def extend(self, segment: Segment, header: Header) -> Segment | None:
        """One more frame is there to be read; the segment that grows no more since this one begins the next, if any."""
        sealed = None
        if not self.segments or self.segments[-1] is not segment:
            sealed = self.segments[-1] if self.segments else None
            self.segments.append(segment)
        segment.extend(header)
        self.next = header.next
        return sealed

    def holds(self, segment: Segment) -> bool:
        """Whether the segment is one of those that are read."""
        return not self.dropped and any(one is segment for one in self.segments)

    def replace(self, segment: Segment, other: Segment) -> None:
        """The other one, which has the same records, is read from now on."""
        self.segments = [other if one is segment else one for one in self.segments]
        self.changes += 1

    def segment_of(self, offset: int) -> int:
        """The index of the segment that holds `offset`, or the last one before it."""
        return max(0, bisect.bisect_right(self.segments, offset, key=lambda segment: segment.base) - 1)

    def place(self, offset: int, segment: Segment) -> int:
        """The position of the frame that holds `offset`, or of one before it."""
        known = self.places.pop(offset, None)
        return known[1] if known is not None and known[0] is segment else segment.index.position_of(offset)

    def remember(self, offset: int, segment: Segment, position: int) -> None:
        self.places[offset] = (segment, position)
        if len(self.places) > PLACES_MAX:
            del self.places[next(iter(self.places))]
