"""What the log's tests share: engines by name, a disk that fails and forgets, and records as plain rows."""

from __future__ import annotations

import errno
import random
from collections.abc import Sequence
from pathlib import Path

from streams.core.clock import Clock
from streams.core.records import ProducerMark, Records
from streams.kafka.log import KafkaLog
from streams.log.disk import Disk
from streams.log.embedded import EmbeddedLog
from streams.log.log import Log
from streams.log.memory import MemoryLog
from streams.log.objects import Folder
from streams.log.sealing import Keyring
from streams.log.tiering import TierOptions

Row = tuple[str, bytes]

KEY = bytes(range(32))
"""That the engine "sealed" seals with."""


async def open_engine(name: str, path: Path, clock: Clock) -> Log:
    if name == "memory":
        return MemoryLog(clock)
    if name == "packed":
        return await EmbeddedLog.open(path, clock=clock, segment_size_max=256, compress=True)
    if name == "sealed":
        return await EmbeddedLog.open(path, clock=clock, segment_size_max=256, compress=True, keyring=Keyring([KEY]))
    if name == "tiered":
        return await EmbeddedLog.open(path, clock=clock, segment_size_max=256, compress=True, tier=tier(path))
    return await EmbeddedLog.open(path, clock=clock, segment_size_max=4096)


class PackedKafkaLog(KafkaLog):
    """One whose shards are all those of packed streams."""

    async def append(
        self, shard: str, records: Records, mark: ProducerMark | None = None, *, packed: bool = True
    ) -> int:
        return await super().append(shard, records, mark, packed=packed)


def tier(path: Path, after_ms: int = 0, cache_size_max: int = 1 << 20) -> TierOptions:
    """In the folder ``objects`` beside the log."""
    return TierOptions(Folder(path.parent / "objects"), after_ms, cache_size_max)


def records(rows: Sequence[Row]) -> Records:
    return Records.of([key for key, _ in rows], [data for _, data in rows])


def rows(of: Records) -> list[Row]:
    return list(zip(of.partition_key.to_pylist(), of.data.to_pylist(), strict=True))


async def read_all(log: Log, shard: str, size_max: int = 1 << 20) -> list[Row]:
    """Everything that is retained; fails where a read is not dense."""
    position, end = await log.bounds(shard)
    found: list[Row] = []
    while position < end:
        batch = await log.read(shard, position, size_max)
        assert batch.first == position, "a gap"
        assert batch.next > position, "a read that brings nothing although there is something"
        found += rows(batch.records)
        position = batch.next
    return found


class FaultyDisk(Disk):
    """Fails on command, and forgets at a crash what was not synced.

    `room` bytes may still be written (None: any number), `sync_error` is raised by the next syncs while it is set.
    """

    def __init__(self) -> None:
        self.room: int | None = None
        self.sync_error: int | None = None
        self._paths: dict[int, Path] = {}
        self._synced: dict[Path, int] = {}
        self._overwritten: dict[Path, list[tuple[int, bytes]]] = {}

    def open(self, path: Path) -> int:
        fd = super().open(path)
        self._paths[fd] = path
        self._synced.setdefault(path, self.size(path))
        return fd

    def write(self, fd: int, pieces: Sequence[bytes], position: int) -> int:
        if self.room is not None:
            whole = b"".join(pieces)
            if len(whole) > self.room:
                super().write(fd, [whole[: self.room]], position)
                self.room = 0
                raise OSError(errno.ENOSPC, "No space left on device")
            self.room -= len(whole)
        path = self._paths.get(fd)
        if path is not None and position < self._synced[path]:
            old = self.read(path, position, min(sum(map(len, pieces)), self._synced[path] - position))
            self._overwritten.setdefault(path, []).append((position, old))
        return super().write(fd, pieces, position)

    def write_through(self, fd: int, pieces: Sequence[bytes], position: int) -> int:
        written = self.write(fd, pieces, position)
        self.sync(fd)
        return written

    def sync(self, fd: int) -> None:
        if self.sync_error is not None:
            raise OSError(self.sync_error, "Input/output error")
        super().sync(fd)
        self._synced[self._paths[fd]] = self.size(self._paths[fd])
        self._overwritten.pop(self._paths[fd], None)

    def truncate(self, fd: int, size: int) -> None:
        super().truncate(fd, size)
        path = self._paths[fd]
        self._synced[path] = min(self._synced[path], size)

    def crash(self, randomness: random.Random) -> None:
        """Of the bytes of each file that were not synced, some first part stays, and it may be garbage; of what was
        written over and not synced, some is as before."""
        for path, pieces in self._overwritten.items():
            if not path.exists():
                continue
            with path.open("r+b") as file:
                for position, old in reversed(pieces):
                    first = randomness.choice([0, randomness.randint(0, len(old))])
                    file.seek(position + first)
                    file.write(old[first:])
        self._overwritten.clear()
        for path, synced in self._synced.items():
            if not path.exists():
                continue
            content = path.read_bytes()
            kept = randomness.randint(synced, len(content)) if len(content) > synced else len(content)
            torn = bytearray(content[:kept])
            for _ in range(randomness.choice([0, 0, 1, 5]) if kept > synced else 0):
                torn[randomness.randrange(synced, kept)] = randomness.randrange(256)
            path.write_bytes(torn)
