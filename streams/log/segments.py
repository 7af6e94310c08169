"""Segments: the files of a shard, and the sidecars that let a log of any size open at once.

    shard folder   := [first] segment* sidecar* unfinished*
    first          := offset in decimal, a blank, its crc32c in hexadecimal: nothing below it is served
    segment        := "BASE.log"   frames (see `frames`), BASE the offset of the first in 20 digits
                    | "BASE.zlog"  the same records packed (see `packing`); it takes the place of BASE.log
                    | "BASE.tier"  a stub: the packed file is an object elsewhere (see `stubs`)
    sidecar        := "BASE.idx" | "BASE.zidx"   of BASE.log or BASE.zlog:
                      crc32c (u32, little-endian) of the rest, then MessagePack of `_Sidecar`
    unfinished     := "*.new"      of no meaning: removed at the next opening

A sidecar vouches for the first `size` bytes of its segment: they were on disk and whole when it was written. It is
written when a segment is sealed, from time to time while one grows, and at close. A lost or damaged sidecar costs one
scan of its segment; nothing else depends on it.
"""

from __future__ import annotations

import bisect
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec
from crc32c import crc32c

from streams.log.disk import Disk
from streams.log.frames import Header
from streams.log.sealing import Seal

INDEX_EVERY = 64 << 10
"""Bytes between index entries: a read scans the headers of at most this much before it finds its frame."""

PLAIN, PACKED, TIERED = ".log", ".zlog", ".tier"


class Index:
    """A sparse index of frames: offset, arrival and position of one frame in about every `INDEX_EVERY` bytes.

    Grown by the writer, read by others: an entry is complete before its offset appears.
    """

    def __init__(self) -> None:
        self.offsets = array("q")
        self.positions = array("q")
        self.arrivals = array("q")

    def add(self, header: Header) -> None:
        """Notes the frame if it is far enough behind the last one noted."""
        if not self.positions or header.position - self.positions[-1] >= INDEX_EVERY:
            self.positions.append(header.position)
            self.arrivals.append(header.arrival_ms)
            self.offsets.append(header.base)

    def position_of(self, offset: int) -> int:
        """Of a frame at or before the one that holds `offset`."""
        at = bisect.bisect_right(self.offsets, offset) - 1
        return self.positions[at] if at >= 0 else 0

    def position_before(self, arrival_ms: int) -> int:
        """Of a frame at or before the first that arrived at or after `arrival_ms`."""
        at = bisect.bisect_left(self.arrivals, arrival_ms, 0, len(self.offsets)) - 1
        return self.positions[at] if at >= 0 else 0


class Source(Protocol):
    """Where a segment's bytes lie, if not in its file."""

    @property
    def name(self) -> str: ...

    def read(self, position: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end. Raises `LogUnreachable`, `LogCorrupt`."""
        ...

    def there(self) -> bool:
        """Whether the bytes are. Raises `LogUnreachable`."""
        ...


@dataclass(slots=True, eq=False)
class Segment:
    """One segment as readers see it: `size` bytes and the offsets [base, next) are there to be read. `seal` opens what is
    sealed in it, and seals what comes. With `remote` its bytes lie there, and its file is a stub."""

    path: Path
    base: int
    next: int
    size: int
    arrival_ms: int
    index: Index = field(default_factory=Index)
    seal: Seal | None = None
    remote: Source | None = None
    packed: bool = field(init=False)

    def __post_init__(self) -> None:
        self.packed = self.path.suffix in (PACKED, TIERED)

    def read(self, disk: Disk, position: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end. Raises `OSError`; `LogUnreachable` and `LogCorrupt` where it is
        remote, and then it may take long."""
        if self.remote is not None:
            return self.remote.read(position, size)
        return disk.read(self.path, position, size)

    def extend(self, header: Header) -> None:
        """One more frame is there to be read."""
        self.next = header.next
        self.size = header.end
        self.arrival_ms = header.arrival_ms


class _Sidecar(msgspec.Struct, array_like=True):
    base: int
    next: int
    size: int
    arrival_ms: int
    offsets: bytes
    positions: bytes
    arrivals: bytes
    marks: dict[str, tuple[int, int]]


def segment_path(folder: Path, base: int) -> Path:
    return folder / f"{base:020d}.log"


def packed_path(segment: Path) -> Path:
    """Where the segment at `segment` lies once it is packed."""
    return segment.with_suffix(PACKED)


def sidecar_path(segment: Path) -> Path:
    return segment.with_suffix(".zidx" if segment.suffix == PACKED else ".idx")


def write_sidecar(disk: Disk, segment: Segment, marks: dict[str, tuple[int, int]]) -> None:
    """All `segment.size` bytes must be on disk."""
    disk.replace(sidecar_path(segment.path), checked(voucher(segment, marks)))


def checked(content: bytes) -> bytes:
    """With its checksum in front."""
    return crc32c(content).to_bytes(4, "little") + content


def unchecked(raw: bytes) -> bytes | None:
    """What `checked` was given; None if that is not what it is now."""
    content = raw[4:]
    return content if len(raw) >= 4 and crc32c(content) == int.from_bytes(raw[:4], "little") else None


def voucher(segment: Segment, marks: dict[str, tuple[int, int]]) -> bytes:
    """What a sidecar says of a segment, as `vouched` reads it."""
    index = segment.index
    return msgspec.msgpack.encode(
        _Sidecar(
            *(segment.base, segment.next, segment.size, segment.arrival_ms),
            *(index.offsets.tobytes(), index.positions.tobytes(), index.arrivals.tobytes()),
            marks,
        )
    )


def vouched(path: Path, content: bytes) -> tuple[Segment, dict[str, tuple[int, int]]]:
    """The segment at `path` and the producers' marks. Raises `msgspec.DecodeError`."""
    found = msgspec.msgpack.decode(content, type=_Sidecar)
    segment = Segment(path, found.base, found.next, found.size, found.arrival_ms)
    segment.index.offsets.frombytes(found.offsets)
    segment.index.positions.frombytes(found.positions)
    segment.index.arrivals.frombytes(found.arrivals)
    return segment, found.marks


def read_sidecar(disk: Disk, path: Path) -> tuple[Segment, dict[str, tuple[int, int]]] | None:
    """What the sidecar of the segment at `path` vouches for, and the producers' marks then; None if it is of no use."""
    try:
        sidecar = sidecar_path(path)
        content = unchecked(disk.read(sidecar, 0, disk.size(sidecar)))
        if content is None:
            return None
        found = vouched(path, content)
        return None if disk.size(path) < found[0].size else found
    except (OSError, msgspec.DecodeError):
        return None
