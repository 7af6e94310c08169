"""The disk as the log uses it: few calls, each with its promise, so that a test can put a worse disk in its place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from streams.core import durable


class Disk:
    """The machine's own disk. All methods raise `OSError`. `fd` is what `open` answered."""

    def open(self, path: Path) -> int:
        """For writing at positions; created if it does not exist (durable after `sync_folder`)."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def close(self, fd: int) -> None:
        os.close(fd)

    def write(self, fd: int, pieces: Sequence[bytes], position: int) -> int:
        """All pieces, one after the other, from `position` on; how many bytes. An error may leave a part of them."""
        return _write(fd, pieces, position, 0)

    def write_through(self, fd: int, pieces: Sequence[bytes], position: int) -> int:
        """As `write` and then `sync`, over bytes that the file has already."""
        if _THROUGH:
            return _write(fd, pieces, position, _THROUGH)
        written = self.write(fd, pieces, position)
        self.sync(fd)
        return written

    def sync(self, fd: int) -> None:
        """What was written is on the disk when it returns."""
        os.fdatasync(fd)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def read(self, path: Path, position: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the file."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.pread(fd, size, position)
            while 0 < len(found) < size and (more := os.pread(fd, size - len(found), position + len(found))):
                found += more
            return found
        finally:
            os.close(fd)

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def replace(self, path: Path, content: bytes) -> None:
        """The file has this content, or its old one if the machine stops half-way. Durable when it returns."""
        fresh = path.with_name(path.name + ".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            self.write(fd, [content], 0)
            os.fdatasync(fd)
        finally:
            os.close(fd)
        fresh.replace(path)
        self.sync_folder(path.parent)

    def make_folders(self, paths: Iterable[Path]) -> None:
        """The folders and their parents exist, durably. Many at once cost hardly more than one."""
        changed: dict[Path, None] = {}
        for path in paths:
            changed[path.parent] = None
            missing = []
            while not path.is_dir():
                missing.append(path)
                path = path.parent
            for folder in reversed(missing):
                folder.mkdir()
                changed[folder.parent] = None
        for folder in changed:
            self.sync_folder(folder)

    def sync_folder(self, path: Path) -> None:
        """Names made, changed or removed in the folder are on the disk when it returns."""
        durable.sync_folder(path)

    def rename(self, path: Path, other: Path) -> None:
        path.rename(other)

    def remove(self, path: Path) -> None:
        """The file is gone. One that does not exist is."""
        path.unlink(missing_ok=True)


def _write(fd: int, pieces: Sequence[bytes], position: int, flags: int) -> int:
    total = sum(map(len, pieces))
    if len(pieces) <= _PIECES_MAX and os.pwritev(fd, pieces, position, flags) == total:
        return total
    # What came of it before is only written over.
    left = [memoryview(piece) for piece in pieces]
    done = 0
    while left:
        written = os.pwritev(fd, left[:_PIECES_MAX], position + done, flags)
        done += written
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = left[0][written:]
    return total


_PIECES_MAX = 1000  # IOV_MAX is 1024
_THROUGH: int = getattr(os, "RWF_DSYNC", 0)
"""Linux syncs what a call has written before it returns: one call instead of two, each of which lets go of the
interpreter and has to wait for it again."""
