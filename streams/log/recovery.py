"""What a segment holds after whatever happened to it: which frames are whole, and where its torn tail begins."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from streams.log.disk import Disk
from streams.log.frames import (
    HEADER_SIZE,
    MAGIC,
    Header,
    MarkAt,
    body_is_whole,
    columns,
    decode_header,
    decode_marks,
    has_marks,
)
from streams.log.marks import Marks
from streams.log.sealing import Seal
from streams.log.segments import Segment, read_sidecar

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scan:
    """Whole frames with their marks, in order, and where the last of them ends (bytes behind it are torn)."""

    frames: list[tuple[Header, list[MarkAt]]]
    end: int


def scan(content: memoryview, position: int, offset: int, name: str = "", seal: Seal | None = None) -> Scan:
    """Of bytes that lie at `position` of a segment; no frame is older than `offset`. See `frames` on damage."""
    frames: list[tuple[Header, list[MarkAt]]] = []
    at = 0
    while at < len(content):
        found = _whole_frame(content, at, position, offset)
        if found is None:
            found = _frame_behind_rot(content, at, position, offset)
            if found is None:
                break
            log.error(
                "%s: bytes %d to %d are damaged and passed over; records before offset %d are missing",
                *(name, position + at, found.position - 1, found.base),
            )
        frames.append((found, _marks(found, _body(content, found, position), seal)))
        at, offset = found.end - position, found.next
    while frames and frames[-1][0].continued:
        at = frames.pop()[0].position - position
    return Scan(frames, position + at)


def next_frame(content: memoryview, at: int, position: int, offset: int) -> Header | None:
    """The next whole frame that begins behind `at`, wherever it lies."""
    raw = bytes(content)
    while (at := raw.find(MAGIC, at + 1)) >= 0:
        if at % 8 == 0:
            found = _whole_frame(content, at, position, offset)
            if found is not None:
                return found
    return None


def recover(disk: Disk, path: Path, offset: int, before: Marks, seal: Seal | None = None) -> tuple[Segment, Marks, int]:
    """The segment at `path` as far as it is whole, the producers' marks at its end, and the size of its file.

    `offset` is where the segment before it ends, `before` the marks there. Nothing on disk is changed.
    """
    base = int(path.stem)
    vouched = read_sidecar(disk, path)
    if vouched is None:
        segment, marks = Segment(path, base, max(base, offset), 0, 0), Marks(before.copy())
    else:
        segment, marks = vouched[0], Marks(vouched[1])
    segment.seal = seal
    size = disk.size(path)
    if size > segment.size:
        content = memoryview(disk.read(path, segment.size, size - segment.size))
        for header, found in scan(content, segment.size, segment.next, str(path), seal).frames:
            segment.index.add(header)
            segment.extend(header)
            for at in found:
                marks.note(at.mark, at.first)
    return segment, marks, size


def _marks(header: Header, body: memoryview, seal: Seal | None) -> list[MarkAt]:
    return decode_marks(header, columns(header, body, seal)) if has_marks(header) else []


def _whole_frame(content: memoryview, at: int, position: int, offset: int) -> Header | None:
    header = decode_header(content, at, position + at)
    if header is None or header.base < offset or not body_is_whole(header, _body(content, header, position)):
        return None
    return header


def _frame_behind_rot(content: memoryview, at: int, position: int, offset: int) -> Header | None:
    """The next whole frame, if it was written when the bytes at `at` were known to be on disk."""
    header = decode_header(content, at, position + at)
    # What a frame with a whole header spans are its records' bytes: nothing in there is a frame.
    found = next_frame(content, at if header is None else header.end - position - 1, position, offset)
    return found if found is not None and found.synced > position + at else None


def _body(content: memoryview, header: Header, position: int) -> memoryview:
    begin = header.position - position + HEADER_SIZE
    return content[begin : begin + header.body_size]
