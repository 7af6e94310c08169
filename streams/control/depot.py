"""Depots: files that another process may have to go on with, where it finds them whatever became of this machine.

A *shelf* holds the files of one thing (a lane of a delivery stream, an application), which one process at a time works on.
Files are written once, under names that are never used again, and found again by name.

    in the log     a shelf is a shard, `depot/SHELF`; a file is records with the key  name " " place " " count
    at a URL       a shelf is a folder below it
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

import zstandard

from streams.core.errors import OffsetOutOfRange, ShardUnknown
from streams.core.records import Records
from streams.log.log import Log

CHUNK_SIZE = 1 << 20
"""Bytes of one record of a file."""

APPEND_SIZE = 8 << 20
"""Bytes of one append: what is held in memory of a file."""

READ_SIZE = 8 << 20


class Depot(Protocol):
    async def put(self, shelf: str, name: str, path: Path) -> None:
        """The bytes of the file `path` are there, durably, when it returns. Raises `LogError`, `OSError`."""
        ...

    async def get(self, shelf: str, name: str, path: Path) -> bool:
        """Makes the file `path` of what was put; False where there is no such file. Raises `LogError`, `OSError`."""
        ...

    async def remove(self, shelf: str, names: Collection[str]) -> None:
        """These are needed no more."""
        ...

    async def drop(self, shelf: str) -> None:
        """None of it is needed any more. Dropping what is not there does nothing."""
        ...


class LogDepot:
    """In a log that processes share."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._shelves: dict[str, dict[str, tuple[int, int]]] = {}
        """Where this process has put files that are still needed, by shelf, in order: offsets [first, next)."""
        self._done: dict[str, dict[str, tuple[int, int]]] = {}

    async def put(self, shelf: str, name: str, path: Path) -> None:
        shard = _shard(shelf)
        await self._log.create(shard)
        size = path.stat().st_size
        count = max(1, -(-size // CHUNK_SIZE))
        first = next_ = -1
        with path.open("rb") as file:
            for place in range(0, count, APPEND_SIZE // CHUNK_SIZE):
                places = range(place, min(place + APPEND_SIZE // CHUNK_SIZE, count))
                data = await asyncio.to_thread(lambda: [file.read(CHUNK_SIZE) for _ in places])  # noqa: B023
                keys = [f"{name} {each} {count}" for each in places]
                at = await self._log.append(shard, Records.of(keys, data))
                first = at if first < 0 else first
                next_ = at + len(data)
        self._shelves.setdefault(shelf, {})[name] = first, next_

    async def get(self, shelf: str, name: str, path: Path) -> bool:
        shard = _shard(shelf)
        try:
            position, end = await self._log.bounds(shard)
        except ShardUnknown:
            return False
        found, count = 0, None
        with _Made(path) as file:
            while position < end and found != count:
                try:
                    batch = await self._log.read(shard, position, READ_SIZE)
                except OffsetOutOfRange:
                    position, end = await self._log.bounds(shard)
                    continue
                for key, data in zip(
                    batch.records.partition_key.to_pylist(), batch.records.data.to_pylist(), strict=True
                ):
                    of, place, total = key.rsplit(" ", 2)
                    if of == name and int(place) == 0:  # a put that was cut short may come before the whole one
                        file.seek(0)
                        file.truncate()
                        found, count = 0, int(total)
                    if of == name and int(place) == found:
                        file.write(data)
                        found += 1
                position = batch.next
            if found != count:
                return False
            file.keep()
        return True

    async def remove(self, shelf: str, names: Collection[str]) -> None:
        """Forgets from the oldest on what nothing is left of."""
        there, done = self._shelves.get(shelf, {}), self._done.setdefault(shelf, {})
        for name in names:
            if name in there:
                done[name] = there[name]
        before = 0
        for name, (_, next_) in list(there.items()):
            if name not in done:
                break
            # Never beyond what has been put from here: what lies there may be another process's, which took over.
            before = next_
            del there[name], done[name]
        if before:
            with contextlib.suppress(ShardUnknown):
                await self._log.trim(_shard(shelf), before)

    async def drop(self, shelf: str) -> None:
        self._shelves.pop(shelf, None)
        self._done.pop(shelf, None)
        await self._log.drop(_shard(shelf))


class UrlDepot:
    """Below an fsspec URL that all processes reach. Files are compressed with zstd."""

    def __init__(self, url: str) -> None:
        import fsspec

        self._filesystem, self._root = fsspec.core.url_to_fs(url)

    async def put(self, shelf: str, name: str, path: Path) -> None:
        await asyncio.to_thread(self._put, shelf, name, path)

    async def get(self, shelf: str, name: str, path: Path) -> bool:
        return await asyncio.to_thread(self._get, shelf, name, path)

    async def remove(self, shelf: str, names: Collection[str]) -> None:
        await asyncio.to_thread(self._remove, [self._path(shelf, name) for name in names])

    async def drop(self, shelf: str) -> None:
        await asyncio.to_thread(self._drop, self._path(shelf))

    def _put(self, shelf: str, name: str, path: Path) -> None:
        target = self._path(shelf, name)
        self._filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".depot-") as packed:
            with path.open("rb") as file:
                zstandard.ZstdCompressor(level=1).copy_stream(file, packed)
            packed.flush()
            self._filesystem.put_file(packed.name, f"{target}.part")
        self._filesystem.mv(f"{target}.part", target)

    def _get(self, shelf: str, name: str, path: Path) -> bool:
        self._filesystem.invalidate_cache()
        try:
            source = self._filesystem.open(self._path(shelf, name), "rb")
        except FileNotFoundError:
            return False
        with source, _Made(path) as file:
            zstandard.ZstdDecompressor().copy_stream(source, file)
            file.keep()
        return True

    def _remove(self, paths: list[str]) -> None:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                self._filesystem.rm_file(path)

    def _drop(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._filesystem.rm(path, recursive=True)

    def _path(self, *parts: str) -> str:
        return "/".join([self._root.rstrip("/"), *parts])


class _Made:
    """A file that is made beside its place, and there only once it is whole: `keep` says so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._kept = False

    def __enter__(self) -> Any:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._part.open("wb")
        return self

    def keep(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._kept = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._kept:
            self._part.replace(self._path)
        else:
            self._part.unlink()


def _shard(shelf: str) -> str:
    return f"depot/{shelf}"


def open_depot(log: Log, url: str) -> Depot | None:
    """At `url`, or in the log where that is empty. None where one process has the log for itself."""
    if not log.shared:
        return None
    return UrlDepot(url) if url else LogDepot(log)
