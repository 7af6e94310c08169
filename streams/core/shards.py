"""Shards and the hash key space that they divide."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

HASH_KEY_MAX = 2**128 - 1


@dataclass(frozen=True, slots=True)
class HashRange:
    """An inclusive range of 128-bit hash keys, as AWS prints it: [first, last]."""

    first: int
    last: int

    def __post_init__(self) -> None:
        assert 0 <= self.first <= self.last <= HASH_KEY_MAX, f"not a hash range: [{self.first}, {self.last}]"

    def __contains__(self, hash_key: int) -> bool:
        return self.first <= hash_key <= self.last

    def adjacent(self, other: HashRange) -> bool:
        """Whether the two ranges touch, so that they can be merged."""
        return self.last + 1 == other.first or other.last + 1 == self.first

    @staticmethod
    def divide(count: int) -> list[HashRange]:
        """The whole key space in `count` ranges the way AWS divides it: floor(i · 2¹²⁸ / count)."""
        bounds = [i * (HASH_KEY_MAX + 1) // count for i in range(count + 1)]
        return [HashRange(first, after - 1) for first, after in itertools.pairwise(bounds)]


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of a stream as the catalog knows it.

    `id` is AWS's name (``shardId-000000000006``), `index` the number in it. `log` names the shard in the log; it holds
    the stream's unique id, so a stream created again under an old name starts empty. `end` is the offset at which a
    closed shard ends (its "next" for ever), None while the shard is open. `parents` are the shards that it came from:
    none, one after a split, two after a merge (ParentShardId first, AdjacentParentShardId second).
    """

    id: str
    index: int
    log: str
    hash_range: HashRange
    created_ms: int
    parents: tuple[str, ...] = ()
    end: int | None = None

    @property
    def open(self) -> bool:
        return self.end is None


def shard_id(index: int) -> str:
    """``shardId-000000000006`` for 6."""
    return f"shardId-{index:012d}"
