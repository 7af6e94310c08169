"""The `Log` protocol: durable order, and nothing else. One conformance suite runs over every engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from streams.core.errors import HeadraceError
from streams.core.records import Batch, ProducerMark, Records


class Appended(NamedTuple):
    """Where an append lies: the offset of its first record, and the arrival time of all of them."""

    first: int
    arrival_ms: int


Appends = list[Appended | HeadraceError]
"""What became of each of several appends."""


class Log(Protocol):
    """Many shards, each an append-only sequence of records at dense offsets from 0.

    A shard is named by a path of ``[A-Za-z0-9_.-]`` segments (``8c1f…/shardId-000000000000``). A position is the next
    offset to read. Methods other than `create` raise `ShardUnknown` for a shard that does not exist, and every method
    raises `LogClosed` after `close`.
    """

    @property
    def shared(self) -> bool:
        """Whether other processes work on the same log."""
        ...

    async def create(self, shard: str) -> None:
        """The shard exists, durably, when this returns. Creating an existing shard does nothing."""
        ...

    async def append(self, shard: str, records: Records, mark: ProducerMark | None = None) -> int:
        """Durable by the log's sync policy, and visible to readers, when this returns; the first offset given.

        The arrival time of all records is the engine's clock at the commit, never less than that of the record before.
        Empty `records` append nothing and answer the next offset. With a `mark`, idempotent (see `ProducerMark`), also
        across a crash. Raises `LogFull`: then nothing of it was appended.
        """
        ...

    def append_each(self, shards: Sequence[str], ends: Sequence[int], records: Records) -> asyncio.Future[Appends]:
        """As an `append` to each of the shards, no two of which are the same, of a part of `records`: that of shards[i] goes
        from ends[i - 1] (0 for the first) to ends[i], and is not empty. Cheaper than many appends, which it is in all else:
        each is durable and visible or failed by itself. The future gets for each where it lies, or what `append` raises.

        Begun when it returns, and over when the future is done; cancelling that undoes nothing.
        """
        ...

    async def read(self, shard: str, offset: int, size_max: int) -> Batch:
        """Records from `offset` on: at most about `size_max` bytes of keys and data, yet at least one record if there
        is any; empty at the end. `offset` may be the middle of an append. Without a copy where the engine can.

        Raises `OffsetOutOfRange` outside [first, next].
        """
        ...

    async def wait(self, shard: str, offset: int) -> None:
        """Returns once a record at `offset` exists. Cancel it freely; raises `ShardUnknown` if the shard is dropped."""
        ...

    async def bounds(self, shard: str) -> tuple[int, int]:
        """[first, next): the first retained offset and the one that the next append will get."""
        ...

    async def find(self, shard: str, arrival_ms: int) -> int:
        """The first retained offset whose arrival is at or after `arrival_ms`; the next offset if there is none."""
        ...

    async def seen(self, shard: str, mark: ProducerMark) -> int | None:
        """Whether the shard has taken this or a later append of the producer, and then the first offset of the last one
        that it took; else None. Exact while no append of the producer to the shard is under way. Appends nothing."""
        ...

    async def trim(self, shard: str, before: int) -> None:
        """Offsets below `before` (cut to [first, next]) are gone for readers; their space is freed by whole segments."""
        ...

    async def drop(self, shard: str) -> None:
        """The shard and its bytes are gone. Dropping an unknown shard does nothing."""
        ...

    async def shards(self) -> list[str]:
        """The names of all shards, sorted."""
        ...

    async def close(self) -> None:
        """Finishes what was accepted, syncs, and releases the files. Closing twice does nothing."""
        ...


class SharedLog(Log, Protocol):
    """A log that several processes work on, over a network."""

    async def append(
        self, shard: str, records: Records, mark: ProducerMark | None = None, *, packed: bool = False
    ) -> int:
        """As `Log.append`. If `packed`, what is appended together may be kept as one: cheaper where records are small, and
        the same to whoever reads the log."""
        ...

    def append_each(
        self, shards: Sequence[str], ends: Sequence[int], records: Records, *, packed: bool = False
    ) -> asyncio.Future[Appends]:
        """As `Log.append_each`; `packed` as in `append`."""
        ...


def side_by_side(
    append: Callable[[str, Records], Awaitable[Appended]], shards: Sequence[str], ends: Sequence[int], records: Records
) -> asyncio.Future[Appends]:
    """`Log.append_each` by appends that are made one for each shard, at the same time."""

    async def one(shard: str, first: int, end: int) -> Appended | HeadraceError:
        try:
            return await append(shard, records.slice(first, end - first))
        except HeadraceError as error:
            return error

    parts = zip(shards, (0, *ends), ends, strict=False)
    return asyncio.gather(*(one(shard, first, end) for shard, first, end in parts))
