"""The commit log: one small file that makes a commit over many shards durable with one sync.

A commit touches as many segments as there are shards in it, and to sync each of them costs a journal commit of the file
system a file. So the frames of a small commit are also written here, one behind the other, and only this file is synced;
the segments hold the same frames already and are synced when this file is full. A large commit goes past it.

The file is written over in rounds and never grows, so its sync moves no metadata: 0.13 ms where an append costs 0.2 and
four of them 0.65 (measured on ext4).

    file    := record* rest            of `SIZE` bytes, zeros at first
    record  := magic        4  "HRC1"
               name_size    u32
               frame_size   u32
               crc          u32  crc32c of everything after it, begun with the crc of the record before (0: there is none)
               round        16 bytes
               name         the shard's, padded with zeros to 8 bytes
               frame        as in `frames`, whose size is a multiple of 8

The records of the first record's round, up to the first that is not whole, are what the last commits wrote since all
segments were synced. After a crash, whichever of their frames a segment does not have is appended to it. A new round
has another random number, so that what is left of older rounds is not taken for its continuation.
"""

from __future__ import annotations

import contextlib
import struct
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from crc32c import crc32c

from streams.log.disk import Disk

SIZE = 8 << 20
"""Bytes of the file: some tens of commits of the largest size, thousands of small ones, between two rounds of syncs."""

COMMIT_SIZE_MAX = 256 << 10
"""Bytes up to which a commit goes through here. Beyond, writing everything twice costs more than the syncs."""

NAME = "COMMITS"

_MAGIC = b"HRC1"
_HEADER = struct.Struct("<4sIII16s")
_CRC_FROM = 16


class CommitLog:
    """Owned by the writer's thread. `add` is durable when it returns."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._path = folder / NAME
        self._fd: int | None = None
        self._position = 0
        self._round = uuid.uuid4().bytes
        self._crc = 0

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Shard and frame of each record of the last round, oldest first. Before the first `add`."""
        try:
            content = memoryview(self._disk.read(self._path, 0, SIZE))
        except FileNotFoundError:
            return
        at, crc, round_ = 0, 0, None
        while (record := _record(content, at, crc)) is not None:
            found, name, frame, at, crc = record
            if round_ not in (None, found):
                return
            round_ = found
            yield name, frame

    def open(self) -> None:
        """Makes the file ready; what it held is forgotten with the first `add`."""
        self._fd = self._disk.open(self._path)
        if self._disk.size(self._path) < SIZE:
            self._disk.write(self._fd, [b"\0" * SIZE], 0)
            self._disk.sync(self._fd)
            self._disk.sync_folder(self._path.parent)

    @property
    def empty(self) -> bool:
        """Whether no record of this round has been written."""
        return self._position == 0

    def fits(self, frames: Sequence[tuple[str, Sequence[bytes]]]) -> bool:
        """Whether a commit of these frames still has room in this round."""
        return self._position + _size(frames) <= SIZE

    def add(self, frames: Sequence[tuple[str, Sequence[bytes]]]) -> None:
        """The frames, each as its shard and its pieces, are on disk when it returns. Raises `OSError`: then none will be
        found, unless the disk fails also to take that back and the machine stops before the next commit."""
        assert self._fd is not None
        crc = self._crc
        pieces: list[bytes] = []
        for name, frame in frames:
            encoded = name.encode()
            encoded += b"\0" * (-len(encoded) % 8)
            size = sum(map(len, frame))
            crc = crc32c(encoded, crc32c(self._round, crc))
            for piece in frame:
                crc = crc32c(piece, crc)
            pieces.append(_HEADER.pack(_MAGIC, len(encoded), size, crc, self._round))
            pieces.append(encoded)
            pieces.extend(frame)
        try:
            written = self._disk.write_through(self._fd, pieces, self._position)
        except OSError:
            # Whoever asked is told that it failed, so it should not come back after a crash; where the disk refuses this too, it may.
            with contextlib.suppress(OSError):
                self._disk.write(self._fd, [b"\0" * _HEADER.size], self._position)
            raise
        self._position += written
        self._crc = crc

    def restart(self) -> None:
        """A new round: everything that this one held is on disk in the segments."""
        self._position = self._crc = 0
        self._round = uuid.uuid4().bytes

    def clear(self) -> None:
        """As `restart`, and nothing of this round is found after a crash either. Raises `OSError`."""
        assert self._fd is not None
        self._disk.write(self._fd, [b"\0" * _HEADER.size], 0)
        self._disk.sync(self._fd)
        self.restart()

    def close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            self._disk.close(fd)


def _size(frames: Sequence[tuple[str, Sequence[bytes]]]) -> int:
    return sum(_HEADER.size + len(name.encode()) + 8 + sum(map(len, frame)) for name, frame in frames)


def _record(content: memoryview, at: int, before: int) -> tuple[bytes, str, bytes, int, int] | None:
    """Round, shard, frame, end and crc of the record at `at`; `before` is the crc of the one before. None if there is no
    whole one: what a failed or older commit has left behind the last record does not go on from its crc."""
    if at + _HEADER.size > len(content):
        return None
    magic, name_size, frame_size, crc, round_ = _HEADER.unpack_from(content, at)
    end = at + _HEADER.size + name_size + frame_size
    if magic != _MAGIC or end > len(content) or crc32c(content[at + _CRC_FROM : end], before) != crc:
        return None
    name = bytes(content[at + _HEADER.size : at + _HEADER.size + name_size]).rstrip(b"\0").decode()
    return round_, name, bytes(content[at + _HEADER.size + name_size : end]), end, crc
