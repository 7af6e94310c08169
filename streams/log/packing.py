"""Packing: a sealed segment's records gathered into large compressed frames, in a file that takes the segment's place.

    BASE.log  → BASE.zlog.new → BASE.zlog     and the sidecar BASE.idx → BASE.zidx

`pack` writes the records into BASE.zlog.new and syncs it. `publish` writes the sidecar and gives the file its name: from
then on BASE.zlog is the segment, and BASE.log is removed. Whenever the machine stops, one of the two is whole under its
name: if both are, the next opening removes BASE.log; a file that ends in .new is removed.

Only segments that grow no more are packed, never the last one of a shard. One in which anything is damaged stays as it
is: what can still be saved from it lies in the file, and not in a copy without the damage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from streams.core.records import Records
from streams.log.disk import Disk
from streams.log.frames import Header, MarkAt, decode_header, decode_marks, decode_records, encode
from streams.log.reader import frames
from streams.log.segments import INDEX_EVERY, Segment, packed_path, read_sidecar, sidecar_path, write_sidecar

GATHERED_SIZE_MAX = 1 << 20
"""Bytes of records gathered into a frame, but for one larger frame that is kept whole: a read unpacks all of it."""

GATHERED_COUNT_MAX = 65_536
"""Records gathered into a frame: without a limit empty ones would never fill it."""


PARTS_MAX = 1024
"""Frames gathered before they are joined: as objects, lone records take a kilobyte each."""


@dataclass(slots=True)
class _Gathered:
    """What goes into the next packed frame."""

    base: int = 0
    next: int = 0
    parts: list[Records] = field(default_factory=list)
    marks: list[MarkAt] = field(default_factory=list)
    size: int = 0

    def add(self, header: Header, records: Records, marks: list[MarkAt]) -> None:
        if not self.parts:
            self.base = header.base
        self.parts.append(records)
        self.marks += marks
        self.size += records.size
        self.next = header.next
        if len(self.parts) >= PARTS_MAX:
            self.parts = [Records.concat(self.parts)]

    def takes(self, header: Header, records: Records) -> bool:
        """Whether the frame's records still belong into this one."""
        return not self.parts or (
            header.base == self.next
            and self.size + records.size <= GATHERED_SIZE_MAX
            and self.next - self.base + header.count <= GATHERED_COUNT_MAX
        )


def pack(disk: Disk, segment: Segment, paused: Callable[[], bool]) -> Segment | None:
    """Writes the packed segment beside the sealed one, synced but not yet under its name; what it is once it is published.
    `paused` is called after each packed frame and may take its time; it answers whether to go on. None if it said no, or
    if there is damage. Raises `OSError`. Holds about two frames in memory."""
    path = packed_path(segment.path)
    fresh = unfinished(path)
    packed = Segment(path, segment.base, segment.base, 0, segment.arrival_ms, seal=segment.seal)
    gathered = _Gathered()
    disk.remove(fresh)
    fd = disk.open(fresh)
    try:

        def flush() -> None:
            nonlocal gathered
            if gathered.parts:
                records = Records.concat(gathered.parts)
                # All before this frame will be on disk before any of it may be read.
                position = packed.size
                arrival_ms = int(records.arrival_ms()[-1])
                pieces = encode(
                    *(records, gathered.base, arrival_ms, position, gathered.marks), packed=True, seal=segment.seal
                )
                header = decode_header(memoryview(pieces[0]), 0, position)
                assert header is not None, "what was just encoded"
                disk.write(fd, pieces, position)
                packed.index.add(header)
                packed.extend(header)
                gathered = _Gathered()

        following = segment.base
        for header, plain in frames(disk, segment, 0, INDEX_EVERY + GATHERED_SIZE_MAX):
            if plain is None or header.base != following:
                return None
            records = decode_records(header, plain)
            if records.arrival is None:
                records = records.with_arrival(np.full(header.count, header.arrival_ms, np.int64))
            if not gathered.takes(header, records):
                flush()
                if not paused():
                    return None
            gathered.add(header, records, decode_marks(header, plain))
            following = header.next
        flush()
        if packed.next != segment.next:
            return None
        disk.sync(fd)
    finally:
        disk.close(fd)
    return packed


def publish(disk: Disk, segment: Segment, packed: Segment) -> None:
    """The packed segment is there under its name, durably. Raises `OSError`: then it is not, or the next opening finds
    both and serves one."""
    vouched = read_sidecar(disk, segment.path)
    if vouched is not None and vouched[0].next == packed.next:
        write_sidecar(disk, packed, vouched[1])
    name_it(disk, packed.path)


def name_it(disk: Disk, path: Path) -> None:
    """What was written at `unfinished` is there under its name, durably. Raises `OSError`."""
    disk.rename(unfinished(path), path)
    disk.sync_folder(path.parent)


def discard(disk: Disk, segment: Segment) -> None:
    """Removes what an unfinished packing of the segment has left. Raises `OSError`."""
    disk.remove(unfinished(packed_path(segment.path)))


def sweep(disk: Disk, folder: Path) -> None:
    """Removes what is of no meaning from a shard's folder. Raises `OSError`."""
    for path in folder.glob("*.new"):
        disk.remove(path)
    for sidecar in folder.glob("*.zidx"):
        if not sidecar.with_suffix(".zlog").exists():
            disk.remove(sidecar)
    for stub in folder.glob("*.tier"):
        for suffix in (".zidx", ".zlog", ".idx", ".log"):
            disk.remove(stub.with_suffix(suffix))
    for packed in folder.glob("*.zlog"):
        plain = packed.with_suffix(".log")
        disk.remove(sidecar_path(plain))
        disk.remove(plain)


def unfinished(path: Path) -> Path:
    """Where the file at `path` lies until it has its name."""
    return path.with_name(path.name + ".new")
