"""Copying a log into another one, of any engine, so that a server on the copy goes on where the original stopped.

What is copied are records at their offsets, with their arrival, keys and producers' marks, of every shard: of streams, of
the control journals, of positions. Offsets are the same, so every position and sequence number that anybody holds stays
valid. Nothing may append to either log meanwhile.

    begin ──▶ of each shard: from where the target ends, part by part ──▶ both are read and compared ──▶ done

A target that is not done says so to whoever opens it. A copy that was stopped goes on: what the target has is not put
again, and everything is compared in the end, whenever it was copied.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa
from crc32c import crc32c

from streams.core.errors import LogError
from streams.core.records import ProducerMark, Records

PART_SIZE = 4 << 20
"""Bytes of records that are copied at a time, but for an append that is larger."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Records at the offsets [first, next), each with its arrival, and the marks of appends that begin in it, by offset."""

    first: int
    records: Records
    marks: Sequence[tuple[ProducerMark, int]] = field(default_factory=list)

    @property
    def next(self) -> int:
        return self.first + len(self.records)

    def after(self, offset: int) -> Part:
        """Without what lies below `offset`."""
        if offset <= self.first:
            return self
        marks = [(mark, at) for mark, at in self.marks if at >= offset]
        return Part(offset, self.records.slice(offset - self.first), marks)


class Source(Protocol):
    """A log that is copied. Nothing in it changes."""

    async def shards(self) -> dict[str, tuple[int, int]]:
        """[first, next) by name."""
        ...

    def parts(self, shard: str, offset: int) -> AsyncIterator[Part]:
        """All from `offset` on, in order and without a gap. Raises `LogCorrupt`, `LogError`."""
        ...

    async def close(self) -> None: ...


class Target(Source, Protocol):
    """A log that a copy is made in."""

    async def begin(self, origin: str, firsts: Mapping[str, int]) -> None:
        """It has these shards, which begin at these offsets. Raises `LogError` where it holds anything that is not the
        begin of this copy, of the log `origin`."""
        ...

    async def next(self, shard: str) -> int:
        """The offset that is to be added next."""
        ...

    async def add(self, shard: str, part: Part, *, packed: bool) -> None:
        """Records at the shard's end. They are durable when `end` returns."""
        ...

    async def end(self, shard: str) -> None: ...

    async def done(self) -> None:
        """It is a log like any other."""
        ...


@dataclass(frozen=True, slots=True)
class Sum:
    """What two shards with the same records, arrivals, keys and marks have in common, however these lie in parts."""

    first: int
    next: int
    checksum: int

    @property
    def records(self) -> int:
        return self.next - self.first


@dataclass(frozen=True, slots=True)
class Copied:
    shard: str
    sum: Sum


async def copy(
    source: Source,
    target: Target,
    origin: str,
    *,
    wanted: Callable[[str], bool] = lambda shard: True,
    packed: Collection[str] = (),
    told: Callable[[str, Copied | None], None] = lambda shard, copied: None,
) -> list[Copied]:
    """All shards of the source that are `wanted`. `origin` names the source for whoever resumes. Shards below one of
    `packed` are those of packed streams. `told` is called as each shard is begun, and again when it is there and compared.

    Raises `LogError` where the source changes meanwhile, the target is not empty, or what is read back is not what was put.
    """
    shards = {shard: bounds for shard, bounds in (await source.shards()).items() if wanted(shard)}
    await target.begin(origin, {shard: first for shard, (first, _) in shards.items()})
    for shard, (first, next_) in shards.items():
        told(shard, None)
        position = await target.next(shard)
        if not first <= position <= next_:
            raise LogError(f"{shard}: the copy ends at {position}, the source holds [{first}, {next_})")
        compact = shard.startswith(tuple(packed))
        async for part in source.parts(shard, position):
            if part.first != position:
                raise LogError(f"{shard}: records {position} to {part.first - 1} of the source are missing")
            await target.add(shard, part, packed=compact)
            position = part.next
        await target.end(shard)
    copied = []
    for shard in shards:
        wanted_sum, found = await summed(source, shard), await summed(target, shard)
        if wanted_sum != found:
            raise LogError(
                f"{shard}: the source has {wanted_sum}, the copy {found}: drop the copy and begin anew, with nothing"
                " that writes to either"
            )
        copied.append(Copied(shard, found))
        told(shard, copied[-1])
    again = await source.shards()
    moved = [shard for shard in again if wanted(shard) and again[shard] != shards.get(shard)]
    if moved or shards.keys() - again.keys():
        where = moved[0] if moved else min(shards.keys() - again.keys())
        raise LogError(f"{where}: the source has changed meanwhile: stop every server on it, and copy again")
    await target.done()
    return copied


async def summed(log: Source, shard: str) -> Sum:
    """Raises `LogError`."""
    first, next_ = (await log.shards())[shard]
    running = _Running()
    position = first
    async for part in log.parts(shard, first):
        if part.first != position:
            raise LogError(f"{shard}: records {position} to {part.first - 1} are missing")
        running.add(part)
        position = part.next
    if position != next_:
        raise LogError(f"{shard} ends at {position}, and not at {next_}")
    return Sum(first, next_, running.value)


class _Running:
    """A checksum that does not see where parts begin: one for the bytes of each column, and one for their lengths."""

    def __init__(self) -> None:
        self._crcs = [0] * 7

    @property
    def value(self) -> int:
        return crc32c(np.array(self._crcs, "<u4").tobytes())

    def add(self, part: Part) -> None:
        records = part.records
        data, data_sizes = _bytes(records.data)
        keys, key_sizes = _bytes(records.partition_key)
        hash_keys = b"\0" * len(records)
        if records.hash_key is not None:
            hash_keys = b"".join(b"\0" if one is None else b"\1" + one for one in records.hash_key.to_pylist())
        marks = "".join(f"{mark.producer} {mark.sequence} {at}\n" for mark, at in part.marks)
        columns = (data, data_sizes, keys, key_sizes, records.arrival_ms().tobytes(), hash_keys, marks.encode())
        self._crcs = [crc32c(column, crc) for column, crc in zip(columns, self._crcs, strict=True)]


def _bytes(column: pa.Array) -> tuple[memoryview | bytes, bytes]:
    """All bytes of a string or binary array, and the length of each value."""
    count = len(column)
    if not count:
        return b"", b""
    _, offsets, values = column.buffers()
    ends = np.frombuffer(offsets, np.int32, count + 1, column.offset * 4)
    sizes = np.diff(ends).astype("<i4").tobytes()
    return (b"" if values is None else memoryview(values)[ends[0] : ends[-1]]), sizes
