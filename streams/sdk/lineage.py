"""Which shards a consumer reads, and when: a machine without I/O. Parents before children, through any resharding.

A shard is *finished* when it is closed and read to its end. It is *begun* when all of its parents that still exist are
finished; a parent that is no longer listed has nothing left to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streams.core.shards import HashRange, Shard


class Lineage:
    """Positions of all known shards. `reading` are the begun and unfinished ones, the longest unread first."""

    def __init__(self, positions: Mapping[str, int]) -> None:
        self.positions: dict[str, int] = dict(positions)
        self.reading: dict[str, int] = {}
        self._waiting: list[Shard] = []
        self._listed: dict[str, Shard] = {}
        self._finished: set[str] = set()

    def describe(self, shards: Iterable[Shard]) -> None:
        """What the stream consists of now, older shards first. One without a position came from a resharding, and is
        read from its start."""
        self._listed = {shard.id: shard for shard in shards}
        self._finished &= self._listed.keys()
        for gone in self.positions.keys() - self._listed.keys():
            del self.positions[gone]
            self.reading.pop(gone, None)
        for name in self._listed:
            self.positions.setdefault(name, 0)
        self._waiting = [
            shard for shard in self._listed.values() if shard.id not in self.reading and shard.id not in self._finished
        ]
        self._begin()

    def hash_range(self, shard: str) -> HashRange | None:
        """Of a shard that is still listed."""
        return self._listed[shard].hash_range if shard in self._listed else None

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
        """Shards whose parents are finished, in one pass, for a child is listed after its parents."""
        waiting, self._waiting = self._waiting, []
        for shard in waiting:
            position = self.positions[shard.id]
            if any(parent in self._listed and parent not in self._finished for parent in shard.parents):
                self._waiting.append(shard)
            elif shard.end is not None and position >= shard.end:
                self._finished.add(shard.id)
            else:
                self.reading[shard.id] = position
