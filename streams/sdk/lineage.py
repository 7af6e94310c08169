"""Which shards a consumer reads, and when: a machine without I/O. Parents before children, through any resharding.

A shard is *finished* when it is closed and read to its end. It is *begun* when all of its parents that still exist are
finished; a parent that is no longer listed has nothing left to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streams.core.shards import Shard


class Lineage:
    """Positions of all known shards. `reading` are the begun and unfinished ones, the longest unread first."""

    def __init__(self, positions: Mapping[str, int]) -> None:
        self.positions: dict[str, int] = dict(positions)
        self.reading: dict[str, int] = {}
        self._waiting: dict[str, Shard] = {}
        self._listed: dict[str, Shard] = {}
        self._finished: set[str] = set()

    def describe(self, shards: Iterable[Shard]) -> None:
        """What the stream consists of now. A shard without a position came from a resharding: read from its start."""
        self._listed = {shard.id: shard for shard in shards}
        self._finished &= self._listed.keys()
        for shard in self._listed.values():
            position = self.positions.setdefault(shard.id, 0)
            if shard.end is not None and position >= shard.end:
                self._finished.add(shard.id)
                self.reading.pop(shard.id, None)
            elif shard.id not in self.reading and shard.id not in self._finished:
                self._waiting[shard.id] = shard
        for gone in self.positions.keys() - self._listed.keys():
            del self.positions[gone]
            self.reading.pop(gone, None)
            self._waiting.pop(gone, None)
        self._begin()

    def advance(self, shard: str, position: int) -> None:
        """Everything of `shard` before `position` has been read; it goes to the end of the line."""
        if shard in self.reading:
            del self.reading[shard]
            self.positions[shard] = self.reading[shard] = position

    def end(self, shard: str) -> None:
        """`shard` is closed and read to its end; its children may begin once they are listed."""
        if self.reading.pop(shard, None) is not None:
            self._finished.add(shard)
            self._begin()

    def _begin(self) -> None:
        """Children of finished parents, older shards first: one pass suffices, for a child comes after its parents."""
        for shard in list(self._waiting.values()):
            if all(parent in self._finished for parent in shard.parents if parent in self._listed):
                del self._waiting[shard.id]
                self.reading[shard.id] = self.positions[shard.id]
