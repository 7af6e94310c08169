"""Verifying: whether a log's directory holds what it says, read from end to end and changing nothing.

Of each shard: every frame whole by its checksums, opened and decompressed, its records as many as it says and well-formed,
offsets dense from one frame to the next and from one segment to the next, arrivals rising; of each sidecar: its checksum, its
index pointing at frames that are there; of each segment that lies elsewhere: the same of its stub and its object. What a crash leaves behind and the next opening puts right (a torn tail, an
unfinished packing) is no damage, and is told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import pyarrow as pa

from streams.core.errors import LogCorrupt, LogError
from streams.core.records import Records
from streams.log.blocks import Blocks
from streams.log.directory import Directory
from streams.log.disk import Disk
from streams.log.frames import (
    HEADER_SIZE,
    Header,
    body_is_whole,
    columns,
    decode_header,
    decode_marks,
    decode_records,
)
from streams.log.objects import Objects
from streams.log.recovery import next_frame
from streams.log.sealing import Keyring, Seal
from streams.log.segments import PACKED, PLAIN, TIERED, Segment, read_sidecar, sidecar_path
from streams.log.stubs import read_stub

CHUNK = 16 << 20
"""Bytes read at once; a larger frame is read whole."""

Kind = Literal["damage", "torn", "left over"]
Each = Callable[[Records], None]
Read = Callable[[int, int], bytes]
"""Up to so many bytes from a position on; fewer only at the end."""

_BETTER = (PLAIN, PACKED, TIERED)
"""Of several files for the same records the last is served."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something at a byte of a file. `damage`: records are missing or wrong. `torn`, `left over`: a crash left it, and the
    next opening puts it right."""

    kind: Kind
    path: Path
    position: int
    what: str


@dataclass(slots=True)
class ShardReport:
    """A shard as it lies on disk: [first, next) is what is retained."""

    name: str
    first: int
    next: int
    segments: int = 0
    frames: int = 0
    records: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return not any(finding.kind == "damage" for finding in self.findings)


class Verification:
    """Of the log in the folder `path`, which nobody may have open meanwhile, and of its objects. Close it. Raises `LogError`
    as an opening does."""

    def __init__(self, path: Path, keyring: Keyring | None = None, objects: Objects | None = None) -> None:
        self._disk = Disk()
        self._directory = Directory(path, self._disk, keyring, read=True)
        noted = self._directory.tiered()
        if noted is not None and objects is None:
            self._directory.close()
            raise LogError(f"segments of {path} lie at {noted[1]}: set log_tier_url to where they are now")
        self._keyring = keyring
        self._objects = objects

    def shards(self) -> list[str]:
        return sorted(self._directory.folders())

    def first(self, shard: str) -> int:
        """The first offset that is retained."""
        return self._directory.read_first(self._directory.folders()[shard])

    def verify(self, shard: str, each: Each = lambda _: None) -> ShardReport:
        """Reads all of the shard; `each` is given what is retained of it, in order. Raises `LogUnreachable`."""
        folder = self._directory.folders()[shard]
        first = self._directory.read_first(folder)
        report = ShardReport(shard, first, first)
        seal = None if self._keyring is None else Seal(self._keyring, shard)
        paths = sorted(path for path in folder.iterdir() if path.suffix in (PLAIN, PACKED, TIERED))
        best = {path.stem: path.suffix for path in sorted(paths, key=lambda path: _BETTER.index(path.suffix))}
        for path in folder.glob("*.new"):
            report.findings.append(Finding("left over", path, 0, "an unfinished file"))
        following: int | None = None
        served = [path for path in paths if best[path.stem] == path.suffix]
        for path in [path for path in paths if path not in served]:
            what = "its packed copy has taken its place" if best[path.stem] == PACKED else "it has moved elsewhere"
            report.findings.append(Finding("left over", path, 0, what))
        for path in sorted(served, key=lambda path: path.stem):
            base = int(path.stem)
            if following is not None and base != following:
                what = f"it begins with record {base}, and {following} is the next"
                report.findings.append(Finding("damage", path, 0, what))
            elif following is None and base > first:
                report.findings.append(
                    Finding(
                        "damage", path, 0, f"it begins with record {base}, and {first} is the first that is retained"
                    )
                )
            following = self._segment(report, path, base, seal, last=path is served[-1], each=each)
        report.next = max(first, following or first)
        return report

    def close(self) -> None:
        self._directory.close()

    def _segment(self, report: ShardReport, path: Path, base: int, seal: Seal | None, *, last: bool, each: Each) -> int:
        """Where the segment ends."""
        report.segments += 1
        starts: dict[int, Header] = {}
        following, arrival_ms = base, 0
        try:
            told, read, size = self._opened(path)
        except LogCorrupt as error:
            report.findings.append(Finding("damage", path, 0, error.message))
            return base
        report.bytes += size
        whole = 0
        for at, found in _whole_or_told(read, size):
            if isinstance(found, str):
                torn = last and path.suffix == PLAIN and whole == at and not found.startswith("!")
                kind: Kind = "torn" if torn else "damage"
                report.findings.append(Finding(kind, path, at, found.removeprefix("!")))
                continue
            header, body = found
            whole = header.end
            starts[at] = header
            if header.base != following:
                what = f"records {following} to {header.base - 1} are missing"
                report.findings.append(Finding("damage", path, at, what))
            if header.arrival_ms < arrival_ms:
                what = f"record {header.base} arrived before the one before it"
                report.findings.append(Finding("damage", path, at, what))
            following, arrival_ms = header.next, header.arrival_ms
            try:
                plain = columns(header, body, seal)
                records = decode_records(header, plain)
                _check(records)
                decode_marks(header, plain)
            except (LogCorrupt, pa.ArrowInvalid, ValueError, IndexError) as error:
                what = f"records {header.base} to {header.next - 1}: {error}"
                report.findings.append(Finding("damage", path, at, what))
                continue
            report.frames += 1
            skip = min(max(report.first - header.base, 0), header.count)
            report.records += header.count - skip
            if skip < header.count:
                each(records.slice(skip))
        if told is None and (sidecar := sidecar_path(path)).exists():
            what = "it cannot be read, or says more than there is; the next opening scans the segment"
            report.findings.append(Finding("damage", sidecar, 0, what))
        elif told is not None:
            self._told(report, path, told, following, whole, starts)
        return following

    def _opened(self, path: Path) -> tuple[Segment | None, Read, int]:
        """What the sidecar or the stub says, how to read the segment, and its size. Raises `LogCorrupt`."""
        if path.suffix == TIERED:
            assert self._objects is not None, "there are stubs only where TIER is"
            # Each byte is read once: nothing is kept.
            segment, _ = read_stub(self._disk, path, self._objects, Blocks(self._directory.tier_cache, 0))
            assert segment.remote is not None
            if not segment.remote.there():
                raise LogCorrupt(
                    f"its object {self._objects.url}/{segment.remote.name} of {segment.size} bytes is not there"
                )
            return segment, partial(segment.read, self._disk), segment.size
        sidecar = read_sidecar(self._disk, path)
        return sidecar and sidecar[0], partial(self._disk.read, path), self._disk.size(path)

    @staticmethod
    def _told(
        report: ShardReport, path: Path, found: Segment, next_: int, size: int, starts: dict[int, Header]
    ) -> None:
        """Whether what the sidecar or stub says is so."""
        sidecar = path if path.suffix == TIERED else sidecar_path(path)
        if found.size > size or found.next > next_:
            what = (
                f"it vouches for {found.size} bytes up to record {found.next - 1}; {size} up to {next_ - 1} are whole"
            )
            report.findings.append(Finding("damage", sidecar, 0, what))
        index = found.index
        for offset, position, arrival in zip(index.offsets, index.positions, index.arrivals, strict=True):
            header = starts.get(position)
            if header is None or (header.base, header.arrival_ms) != (offset, arrival):
                what = f"it says that record {offset} is at byte {position} of {path.name}, and it is not"
                report.findings.append(Finding("damage", sidecar, 0, what))


def _check(records: Records) -> None:
    """Raises `pa.ArrowInvalid` where offsets or text are not well-formed."""
    for column in (records.data, records.partition_key):
        column.validate(full=True)


def _whole_or_told(read: Read, size: int) -> Iterator[tuple[int, tuple[Header, memoryview] | str]]:
    """As `_frames`; where bytes that lie elsewhere are others than were put there, that is what is wrong, and the end."""
    position = 0
    try:
        for at, found in _frames(read, size):
            yield at, found
            position = found[0].end if isinstance(found, tuple) else at
    except LogCorrupt as error:
        yield position, f"!{error.message}"


def _frames(read: Read, size: int) -> Iterator[tuple[int, tuple[Header, memoryview] | str]]:
    """Position and either a frame that is whole by its checksums, or what is wrong there; with a ``!`` where bytes behind it
    prove that it was on disk."""
    position = 0
    content, at = memoryview(b""), 0
    while position < size:
        begin = position - at
        header = decode_header(content, begin, position) if begin + HEADER_SIZE <= len(content) else None
        if header is None or header.end - at > len(content):
            wanted = CHUNK if header is None else max(CHUNK, header.end - position)
            content, at = memoryview(read(position, min(wanted, size - position))), position
            header = decode_header(content, 0, position)
            if header is not None and header.end - position > len(content):
                content = memoryview(read(position, min(header.end, size) - position))
        begin = position - at
        if header is not None and header.end <= size:
            body = content[begin + HEADER_SIZE : begin + HEADER_SIZE + header.body_size]
            if body_is_whole(header, body):
                yield position, (header, body)
                position = header.end
                continue
        rest = memoryview(read(position, size - position))
        found = next_frame(rest, 0, position, 0)
        proven = "!" if found is not None and found.synced > position else ""
        end = size if found is None else found.position
        yield position, f"{proven}{end - position} bytes are no whole frame"
        if found is None:
            return
        content, at, position = rest, position, found.position
