"""The growing end of a shard, as the writer thread sees it: encode, write, sync, roll, and undo what did not succeed.

Nobody else touches a `Tail` while the writer runs. Readers learn of what was written from the `Written` that a commit
hands over, so they never see bytes that are not durable by the log's policy.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from streams.core.records import ProducerMark, Records
from streams.log import frames
from streams.log.columns import Columns
from streams.log.disk import Disk
from streams.log.frames import HEADER_SIZE, Header, MarkAt, decode_header, decode_marks, encode, encode_columns
from streams.log.marks import Changed, Marks
from streams.log.sealing import Seal
from streams.log.segments import Segment, segment_path, write_sidecar

FRAME_SIZE_MAX = 1 << 20
"""Bytes of records in a frame, but for a single record that is larger: a reader that wants less reads all of it."""

SIDECAR_EVERY = 16 << 20
"""Bytes after which the sidecar of a growing segment is written anew: what a restart scans at most, in milliseconds."""


class Request(Protocol):
    """An append as the tail needs it."""

    @property
    def content(self) -> Records | Columns:
        """Columns are those of a frame of its own, and come without a mark."""
        ...

    @property
    def mark(self) -> ProducerMark | None: ...
    @property
    def size(self) -> int:
        """Bytes of keys and data."""
        ...


@dataclass(slots=True)
class Written:
    """What one commit added to a shard: each frame with the segment that it went into, the bytes of each frame (header
    first, in pieces), each request's first offset, and the arrival time of all."""

    arrival_ms: int
    frames: list[tuple[Segment, Header]] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    encoded: list[list[bytes]] = field(default_factory=list)


class Tail:
    """`next` is the offset of the next record, `segment` the file that grows (None before the first append)."""

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        next_: int,
        segment: Segment | None,
        marks: Marks,
        size_max: int,
        seal: Seal | None = None,
    ) -> None:
        self.folder = folder
        self.next = next_
        self.segment = segment
        self.marks = marks
        self.fd: int | None = None
        self.arrival_ms = 0 if segment is None else segment.arrival_ms
        self._disk = disk
        self._size_max = size_max
        self._seal = seal
        self._position = 0 if segment is None else segment.size
        self._synced = self._position
        self._vouched = self._position
        self._before: tuple[int, int, Changed] = (next_, self._position, [])
        self._torn = False
        self._doubtful = False

    @property
    def dirty(self) -> bool:
        """Whether there are bytes that have not been synced."""
        return self._synced < self._position

    def write(self, requests: Sequence[Request], now_ms: int) -> Written:
        """Writes the requests in order, in as few frames as may be. Raises `OSError`: then nothing has changed."""
        self.cut()
        if self.segment is not None and self._position >= self._size_max:
            self.seal()
        arrival_ms = max(self.arrival_ms, now_ms)
        written = Written(arrival_ms)
        next_, position = self.next, self._position
        base = next_ if self.segment is None else self.segment.base
        segment = self.segment or self._segment(base, next_)
        noted: list[tuple[ProducerMark, int]] = []
        fresh: dict[str, tuple[int, int]] = {}
        parts: list[Records] = []
        marks: list[MarkAt] = []
        size = count = 0

        def close_frame(*, continued: bool = False) -> None:
            nonlocal position, next_, size, count
            if not parts:
                return
            frame = encode(
                *(Records.concat(parts), next_, arrival_ms, self._synced, marks), continued=continued, seal=self._seal
            )
            header = decode_header(memoryview(frame[0]), 0, position)
            assert header is not None, "what was just encoded"
            written.frames.append((segment, header))
            written.encoded.append(frame)
            position, next_ = header.end, header.next
            parts.clear()
            marks.clear()
            size = count = 0

        for request in requests:
            content = request.content
            if isinstance(content, Columns):
                close_frame()
                header, frame = encode_columns(content, position, next_, arrival_ms, self._synced, self._seal)
                written.offsets.append(next_)
                written.frames.append((segment, header))
                written.encoded.append(frame)
                position, next_ = header.end, header.next
                continue
            first = next_ + count
            mark = request.mark
            if mark is not None:
                seen = self.marks.seen(mark)
                last = fresh.get(mark.producer)
                if seen is None and last is not None and mark.sequence <= last[0]:
                    seen = last[1]
                if seen is not None:
                    written.offsets.append(seen)
                    continue
                noted.append((mark, first))
                fresh[mark.producer] = (mark.sequence, first)
            rest, left = content, request.size
            if size and size + left > FRAME_SIZE_MAX:
                close_frame()
            while left > FRAME_SIZE_MAX and (fits := rest.count_within(FRAME_SIZE_MAX)) < len(rest):
                parts.append(rest.slice(0, fits))
                close_frame(continued=True)
                rest = rest.slice(fits)
                left = rest.size
            if mark is not None:
                marks.append(MarkAt(first, mark))
            written.offsets.append(first)
            parts.append(rest)
            size += left
            count += len(rest)
        close_frame()
        if written.encoded:
            self._open(segment)
            assert self.fd is not None
            try:
                self._disk.write(self.fd, list(itertools.chain.from_iterable(written.encoded)), self._position)
            except OSError:
                self._torn = True
                with contextlib.suppress(OSError):
                    self.cut()
                raise
            self._before = self.next, self._position, self.marks.note_all(noted)
            self.segment, self.next, self._position, self.arrival_ms = segment, next_, position, arrival_ms
        return written

    def undo(self) -> None:
        """Back to what was before the last write, whose sync failed. What of it is on disk nobody knows; it is cut off,
        now or, if this raises `OSError`, before the next write."""
        self.next, self._position, changed = self._before
        assert self._synced <= self._position, "what is on disk is not undone"
        self.marks.restore(changed)
        self._torn = True
        self.cut()
        # A new descriptor reports errors that this one has reported already.
        self.release()

    def cut(self) -> None:
        """Cuts off what a failed write or sync has left behind the end. Until that succeeds nothing is written: shorter
        frames over it would leave whole ones of it behind them, which nobody was told are stored."""
        if not self._torn:
            return
        fd = self.fd
        if fd is None:
            fd = self._disk.open(segment_path(self.folder, self.next) if self.segment is None else self.segment.path)
        try:
            self._disk.truncate(fd, self._position)
        finally:
            if fd is not self.fd:
                self._disk.close(fd)
        self._torn = False

    def commit(self, written: Written) -> None:
        """The last write is durable by the log's policy: its frames may be found."""
        for segment, header in written.frames:
            segment.index.add(header)

    def sync(self) -> None:
        """Everything written is on disk when it returns."""
        if not self.dirty:
            return
        self._reopen()
        assert self.fd is not None
        if self._doubtful:
            self._rewrite()
        try:
            self._disk.sync(self.fd)
        except OSError:
            self._doubtful = True
            with contextlib.suppress(OSError):
                self._rewrite()
            raise
        self._synced = self._position

    def _rewrite(self) -> None:
        """Writes what is not synced once more: a failed sync may have marked its pages clean, and the next sync would
        pass over them."""
        assert self.fd is not None
        assert self.segment is not None
        content = self._disk.read(self.segment.path, self._synced, self._position - self._synced)
        self._disk.write(self.fd, [content], self._synced)
        self._doubtful = False

    def restore(self, frame: bytes) -> tuple[Segment, Header] | None:
        """Appends a frame that the commit log kept, unless the tail has it already. Before the writer runs."""
        header = decode_header(memoryview(frame), 0, self._position)
        if header is None or header.base != self.next:
            return None
        segment = self.segment or self._segment(header.base, header.base)
        self._open(segment)
        assert self.fd is not None
        self._disk.write(self.fd, [frame], self._position)
        for at in decode_marks(header, frames.columns(header, memoryview(frame)[HEADER_SIZE:], self._seal)):
            self.marks.note(at.mark, at.first)
        self.segment, self.next, self._position, self.arrival_ms = segment, header.next, header.end, header.arrival_ms
        segment.index.add(header)
        return segment, header

    def vouch(self, *, always: bool = False) -> None:
        """Writes the sidecar, if enough was synced since the last one (or if `always` and anything was)."""
        segment = self.segment
        if segment is not None and not self.dirty and self._synced - self._vouched >= (1 if always else SIDECAR_EVERY):
            copy = Segment(segment.path, segment.base, self.next, self._synced, self.arrival_ms, segment.index)
            write_sidecar(self._disk, copy, self.marks.copy())
            self._vouched = self._synced

    def seal(self) -> Segment | None:
        """The segment, if there is one, grows no more, and is answered; the next append begins a new one."""
        segment = self.segment
        self.sync()
        self.vouch(always=True)
        self.release()
        self.segment = None
        self._position = self._synced = self._vouched = 0
        return segment

    def seal_if(self, next_: int) -> bool:
        """Seals the segment if it still ends at `next_` and nobody needs its marks."""
        if self.next != next_ or self.marks.copy():
            return False
        self.seal()
        return True

    def release(self) -> None:
        """Closes the file until it is needed again."""
        if self.fd is not None:
            fd, self.fd = self.fd, None
            self._disk.close(fd)

    def _segment(self, base: int, next_: int) -> Segment:
        """A new one."""
        return Segment(segment_path(self.folder, base), base, next_, 0, 0, seal=self._seal)

    def _open(self, segment: Segment) -> None:
        if self.fd is None:
            self.fd = self._disk.open(segment.path)
            if segment is not self.segment:
                try:
                    self._disk.sync_folder(self.folder)
                except OSError:
                    self.release()
                    raise

    def _reopen(self) -> None:
        if self.fd is None:
            assert self.segment is not None
            self.fd = self._disk.open(self.segment.path)
