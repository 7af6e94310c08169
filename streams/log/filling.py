"""The embedded log as the source and as the target of a copy: segments are read as they lie, and written packed.

A target is a directory with the file COPYING, of whose shards each has whole segments of about `SEGMENT_SIZE` bytes. A
segment gets its name when it is on disk, so a copy that was stopped goes on behind the last one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec

from streams.core.errors import LogError
from streams.core.records import Records
from streams.log.copying import Part
from streams.log.directory import COPYING, Directory
from streams.log.disk import Disk
from streams.log.embedded import EmbeddedLog
from streams.log.frames import MarkAt, decode_header, encode
from streams.log.gathering import gathered
from streams.log.marks import Marks
from streams.log.packing import name_it, unfinished
from streams.log.sealing import Keyring, Seal
from streams.log.segments import PACKED, Segment, packed_path, read_sidecar, segment_path, write_sidecar

SEGMENT_SIZE = 64 << 20
FRAME_SIZE = 1 << 20
"""Bytes of records in a frame: a read unpacks all of it."""


class _Copying(msgspec.Struct):
    origin: str
    firsts: dict[str, int]


class EmbeddedSource:
    """Of a log that this process has opened."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log

    async def shards(self) -> dict[str, tuple[int, int]]:
        return {shard: await self._log.bounds(shard) for shard in await self._log.shards()}

    async def parts(self, shard: str, offset: int) -> AsyncIterator[Part]:
        parts = self._log.gathered(shard, offset)
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            yield part

    async def close(self) -> None:
        await self._log.close()


class EmbeddedTarget:
    """A log in the directory `path`, which nobody else may open until it is done."""

    def __init__(self, path: Path, keyring: Keyring | None = None, disk: Disk | None = None) -> None:
        """Raises `LogError` where another process has it open."""
        self._disk = disk or Disk()
        self._keyring = keyring
        self._marker = path / COPYING
        self._directory = Directory(path, self._disk, keyring, copying=True)
        self._filling: dict[str, _Filling] = {}

    async def begin(self, origin: str, firsts: Mapping[str, int]) -> None:
        asked = _Copying(origin, dict(firsts))
        if self._marker.exists():
            found = msgspec.json.decode(self._marker.read_bytes(), type=_Copying)
            if found != asked:
                raise LogError(
                    f"{self._directory.path} is the begin of a copy of {found.origin}, and not of this log as it is now: remove"
                    " it, and begin anew"
                )
        else:
            if self._directory.folders():
                raise LogError(f"{self._directory.path} is not empty: a copy needs a new place")
            self._disk.replace(self._marker, msgspec.json.encode(asked))
        self._directory.create(firsts)
        for shard, first in firsts.items():
            if first:
                self._directory.write_first(shard, first)
            seal = None if self._keyring is None else Seal(self._keyring, shard)
            self._filling[shard] = _Filling(self._disk, self._directory.folder(shard), first, seal)

    async def next(self, shard: str) -> int:
        return self._filling[shard].next

    async def add(self, shard: str, part: Part, *, packed: bool) -> None:
        await asyncio.to_thread(self._filling[shard].add, part)

    async def end(self, shard: str) -> None:
        await asyncio.to_thread(self._filling[shard].end)

    async def shards(self) -> dict[str, tuple[int, int]]:
        return {shard: (filling.first, filling.next) for shard, filling in self._filling.items()}

    async def parts(self, shard: str, offset: int) -> AsyncIterator[Part]:
        parts = gathered(self._disk, shard, offset, self._filling[shard].segments)
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            yield part

    async def done(self) -> None:
        self._disk.remove(self._marker)
        self._disk.sync_folder(self._directory.path)

    async def close(self) -> None:
        for filling in self._filling.values():
            filling.close()
        self._directory.close()


class _Filling:
    """A shard on its way: whole segments, and one that is being written."""

    def __init__(self, disk: Disk, folder: Path, first: int, seal: Seal | None) -> None:
        self.first = first
        self._disk = disk
        self._folder = folder
        self._seal = seal
        self.segments: list[Segment] = []
        self._marks = Marks()
        self._growing: Segment | None = None
        self._fd = -1
        for path in sorted(folder.glob(f"*{PACKED}")):
            found = read_sidecar(disk, path)
            if found is None:
                raise LogError(f"{path}: its sidecar is damaged: remove the copy, and begin anew")
            segment, marks = found
            segment.seal = seal
            self.segments.append(segment)
            self._marks = Marks(marks)

    @property
    def next(self) -> int:
        return self.segments[-1].next if self.segments else self.first

    def add(self, part: Part) -> None:
        marks = list(part.marks)
        records, first = part.records, part.first
        while len(records):
            count = records.count_within(FRAME_SIZE)
            inside = [MarkAt(at, mark) for mark, at in marks if first <= at < first + count]
            self._write(first, records.slice(0, count), inside)
            records, first = records.slice(count), first + count

    def end(self) -> None:
        """What was added is on disk."""
        growing, self._growing = self._growing, None
        if growing is None:
            return
        self._disk.sync(self._fd)
        self._disk.close(self._fd)
        write_sidecar(self._disk, growing, self._marks.copy())
        name_it(self._disk, growing.path)
        self.segments.append(growing)

    def close(self) -> None:
        if self._growing is not None:
            self._growing = None
            self._disk.close(self._fd)

    def _write(self, first: int, records: Records, marks: list[MarkAt]) -> None:
        segment = self._growing
        if segment is not None and segment.size >= SEGMENT_SIZE:
            self.end()
            segment = None
        if segment is None:
            path = packed_path(segment_path(self._folder, first))
            self._disk.remove(unfinished(path))
            self._fd = self._disk.open(unfinished(path))
            segment = self._growing = Segment(path, first, first, 0, 0, seal=self._seal)
        arrivals = records.arrival_ms()
        newest_ms = int(arrivals.max())
        pieces = encode(records, first, newest_ms, segment.size, marks, packed=True, seal=self._seal)
        header = decode_header(memoryview(pieces[0]), 0, segment.size)
        assert header is not None, "what was just encoded"
        self._disk.write(self._fd, pieces, segment.size)
        segment.index.add(header)
        segment.extend(header)
        for one in marks:
            self._marks.note(one.mark, one.first)
