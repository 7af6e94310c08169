"""Loading: what a directory holds becomes shards, with what a crash has left behind put in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from streams.log import packing
from streams.log.commits import CommitLog
from streams.log.directory import Directory
from streams.log.disk import Disk
from streams.log.marks import Marks
from streams.log.recovery import recover
from streams.log.sealing import Keyring, Seal
from streams.log.segments import PACKED, PLAIN, TIERED, Segment, sidecar_path
from streams.log.shard import Shard
from streams.log.tail import Tail

log = logging.getLogger(__name__)


ReadStub = Callable[[Path], tuple[Segment, dict[str, tuple[int, int]]]]
"""See `stubs.read_stub`."""


def load(
    disk: Disk,
    directory: Directory,
    commits: CommitLog,
    segment_size_max: int,
    keyring: Keyring | None = None,
    stub: ReadStub | None = None,
) -> dict[str, Shard]:
    """All shards by name, with what only the commit log had; the commit log is open then. Without `stub` no segment may lie
    elsewhere. Raises `OSError`, `LogError`."""
    shards = {
        name: load_shard(disk, directory, name, folder, segment_size_max, keyring, stub)
        for name, folder in directory.folders().items()
    }
    kept: dict[str, list[bytes]] = {}
    for name, frame in commits.read():
        if name in shards:
            kept.setdefault(name, []).append(frame)
    for name, frames in kept.items():
        at = shards[name]
        for found in filter(None, map(at.tail.restore, frames)):
            at.extend(*found)
        at.tail.sync()
        at.tail.release()
    commits.open()
    return shards


def load_shard(
    disk: Disk,
    directory: Directory,
    name: str,
    folder: Path,
    segment_size_max: int,
    keyring: Keyring | None = None,
    stub: ReadStub | None = None,
) -> Shard:
    """Sealed segments by their sidecars, unread; the last one is scanned behind what its sidecar vouches for."""
    seal = None if keyring is None else Seal(keyring, name)
    first = directory.read_first(folder)
    packing.sweep(disk, folder)
    suffixes = (PLAIN, PACKED, TIERED)
    paths = sorted((path for path in folder.iterdir() if path.suffix in suffixes), key=lambda path: path.stem)
    segments: list[Segment] = []
    marks, next_, file_size = Marks(), first, 0
    for path in paths:
        if path.suffix == TIERED:
            assert stub is not None, "who opens the directory has said so"
            segment, noted = stub(path)
            segment.seal, marks = seal, Marks(noted)
        else:
            segment, marks, file_size = recover(disk, path, next_, marks, seal)
        next_ = segment.next
        segments.append(segment)
    growing = None
    if segments and not segments[-1].packed:
        growing = segments[-1]
        fd = disk.open(growing.path)
        try:
            if file_size > growing.size:
                disk.truncate(fd, growing.size)
            # What a killed process had written but not synced is served from now on, so it must not vanish later.
            disk.sync(fd)
        finally:
            disk.close(fd)
        if growing.size == 0:
            segments.pop()
            growing = None
    tail = Tail(disk, folder, max(next_, first), growing, marks, segment_size_max, seal)
    if segments:
        tail.arrival_ms = segments[-1].arrival_ms
    trimmed = [segment for segment in segments if segment.next <= first and segment is not growing]
    remove(disk, trimmed)  # the objects of those that were elsewhere have no stub now, and will be swept
    return Shard(name, first, segments[len(trimmed) :], tail)


def remove(disk: Disk, segments: Iterable[Segment]) -> None:
    """Removes the files of segments that nobody reads any more; what cannot be removed now is at the next opening."""
    for segment in segments:
        try:
            if segment.remote is None:
                disk.remove(sidecar_path(segment.path))
            disk.remove(segment.path)
        except OSError as error:
            log.warning("%s: what is gone is still there: %s", segment.path, error)
