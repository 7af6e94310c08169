"""Stubs: the small files that stand for segments whose bytes lie elsewhere.

    stub := "BASE.tier": crc32c (u32, little-endian) of the rest, then MessagePack of `_Stub`

A stub holds what a sidecar holds, so a log opens without asking for its objects, and a checksum of each block of the object:
what comes back over the network is what was put there, or it is an error.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
from crc32c import crc32c

from streams.core.errors import LogCorrupt
from streams.log.blocks import Blocks
from streams.log.disk import Disk
from streams.log.objects import Objects
from streams.log.segments import TIERED, Segment, checked, unchecked, vouched, voucher

BLOCK_SIZE = 4 << 20
"""Bytes asked for at once: at the latency of an object store larger ones are hardly slower, and smaller ones are."""


class _Stub(msgspec.Struct, array_like=True):
    name: str
    """Of the object."""
    checksums: bytes
    """crc32c (u32, little-endian) of each block."""
    voucher: bytes
    """What the sidecar said: see `segments`."""


class Remote:
    """The bytes of a segment: an object, read through a cache. See `segments.Source`."""

    def __init__(self, objects: Objects, blocks: Blocks, name: str, size: int, checksums: Sequence[int]) -> None:
        self.name = name
        self.checksums = checksums
        self._objects = objects
        self._blocks = blocks
        self._size = size

    def read(self, position: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end. Blocks; for any thread. Raises `LogUnreachable`, and `LogCorrupt` where
        the bytes are others."""
        end = min(position + size, self._size)
        pieces = []
        while position < end:
            block, begin = divmod(position, BLOCK_SIZE)
            size = min(end - position, BLOCK_SIZE - begin)
            piece = self._blocks.read((self.name, block), begin, size, partial(self._fetch, block))
            pieces.append(piece)
            position += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def there(self) -> bool:
        """Whether the object is, with its size. Blocks; raises `LogUnreachable`."""
        return self._objects.size(self.name) == self._size

    def _fetch(self, block: int) -> bytes:
        position = block * BLOCK_SIZE
        content = self._objects.read(self.name, position, min(BLOCK_SIZE, self._size - position))
        if crc32c(content) != self.checksums[block]:
            raise LogCorrupt(
                f"{self._objects.url}/{self.name}: bytes {position} to {position + len(content) - 1} are not what was put there"
            )
        return content


def checksums(disk: Disk, path: Path, size: int) -> list[int]:
    """Of each block of the file. Raises `OSError`."""
    return [crc32c(disk.read(path, position, BLOCK_SIZE)) for position in range(0, size, BLOCK_SIZE)]


def stub_path(segment: Path) -> Path:
    """Of the stub that stands for the segment at `segment`."""
    return segment.with_suffix(TIERED)


def write_stub(disk: Disk, segment: Segment, remote: Remote, marks: dict[str, tuple[int, int]]) -> None:
    """The stub of the segment at `segment.path` is there, durably. Raises `OSError`."""
    sums = struct.pack(f"<{len(remote.checksums)}I", *remote.checksums)
    disk.replace(segment.path, checked(msgspec.msgpack.encode(_Stub(remote.name, sums, voucher(segment, marks)))))


def read_stub(disk: Disk, path: Path, objects: Objects, blocks: Blocks) -> tuple[Segment, dict[str, tuple[int, int]]]:
    """The segment that the stub stands for, and the producers' marks at its end. Raises `OSError`, `LogCorrupt`."""
    content = unchecked(disk.read(path, 0, disk.size(path)))
    try:
        if content is None:
            raise ValueError("its checksum does not fit")
        stub = msgspec.msgpack.decode(content, type=_Stub)
        segment, marks = vouched(path, stub.voucher)
    except (ValueError, msgspec.DecodeError) as error:
        raise LogCorrupt(f"{path} is damaged ({error}): put it back from a copy of the data directory") from error
    sums = struct.unpack(f"<{len(stub.checksums) // 4}I", stub.checksums)
    segment.remote = Remote(objects, blocks, stub.name, segment.size, sums)
    return segment, marks
