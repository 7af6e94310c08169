"""Records that were read or appended lately: whoever reads on in a batch, or at the tail, asks no broker again."""

from __future__ import annotations

import bisect
from collections import OrderedDict

from streams.core.records import Records
from streams.kafka.places import Place

SIZE_MAX = 64 << 20
"""Bytes of records that one log keeps: the tails of some hundred shards, and the batches of readers in the past."""


class Recent:
    """Runs of records by where they begin, the longest unused forgotten first."""

    def __init__(self, size_max: int = SIZE_MAX) -> None:
        self.size = 0
        self._size_max = size_max
        self._runs: OrderedDict[tuple[Place, int], Records] = OrderedDict()
        self._firsts: dict[Place, list[int]] = {}

    def get(self, place: Place, offset: int, size_max: int) -> Records | None:
        """Records from `offset` on, some `size_max` bytes if so many are here without a gap; None where there are none."""
        parts: list[Records] = []
        size = 0
        while size < size_max and (part := self._run(place, offset)) is not None:
            parts.append(part)
            size += part.size
            offset += len(part)
        return Records.concat(parts) if parts else None

    def put(self, place: Place, first: int, records: Records) -> None:
        """They begin at the offset `first`. More than all that may be kept is not."""
        if not len(records) or records.size > self._size_max or (place, first) in self._runs:
            return
        self._runs[place, first] = records
        bisect.insort(self._firsts.setdefault(place, []), first)
        self.size += records.size
        while self.size > self._size_max:
            self._remove(next(iter(self._runs)))

    def forget(self, place: Place) -> None:
        for first in list(self._firsts.get(place, ())):
            self._remove((place, first))

    def _run(self, place: Place, offset: int) -> Records | None:
        firsts = self._firsts.get(place)
        index = bisect.bisect_right(firsts, offset) - 1 if firsts else -1
        if firsts is None or index < 0:
            return None
        run = self._runs[place, firsts[index]]
        if offset >= firsts[index] + len(run):
            return None
        self._runs.move_to_end((place, firsts[index]))
        return run.slice(offset - firsts[index])

    def _remove(self, key: tuple[Place, int]) -> None:
        self.size -= self._runs.pop(key).size
        firsts = self._firsts[key[0]]
        firsts.remove(key[1])
        if not firsts:
            del self._firsts[key[0]]
