"""Columns of compressed frames that were read lately: who reads on in a frame does not decompress it again."""

from __future__ import annotations

import threading
from collections import OrderedDict

from streams.log.frames import Header
from streams.log.segments import Segment

SIZE_MAX = 32 << 20
"""Bytes of columns that one log keeps: the frames of some thirty readers that go through cold data side by side."""


class Unpacked:
    """(segment, position) → a frame's header and columns, the longest unused forgotten first. For any thread."""

    def __init__(self, size_max: int = SIZE_MAX) -> None:
        self.size = 0
        self._size_max = size_max
        self._frames: OrderedDict[tuple[Segment, int], tuple[Header, memoryview]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, segment: Segment, position: int) -> tuple[Header, memoryview] | None:
        with self._lock:
            found = self._frames.get((segment, position))
            if found is not None:
                self._frames.move_to_end((segment, position))
            return found

    def put(self, segment: Segment, header: Header, columns: memoryview) -> None:
        """One that is larger than all that may be kept is not."""
        with self._lock:
            if len(columns) > self._size_max or (segment, header.position) in self._frames:
                return
            self._frames[segment, header.position] = header, columns
            self.size += len(columns)
            while self.size > self._size_max:
                self.size -= len(self._frames.popitem(last=False)[1][1])

    def forget(self, segment: Segment) -> None:
        """The segment is gone."""
        with self._lock:
            for key in [key for key in self._frames if key[0] is segment]:
                self.size -= len(self._frames.pop(key)[1])
