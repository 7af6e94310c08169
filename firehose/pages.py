"""Where the lines of manifests are: pages, each of which begins with what had been settled by then.

    one process has the log for itself    firehose/manifests/NUMBER/LANE/yyyy-MM-dd.ndjson of its data directory
    processes share the log               the notebook NUMBER/LANE in the log, with a page for each process that took the lane
                                          over, and each day

Reading blocks, and is done in threads (`threads.beside`): never in the event loop's own, which reads the log for them.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

from firehose.threads import to_its_end
from streams.control.notebook import Notebook, Noted
from streams.core.durable import sync_folder
from streams.core.errors import LogError

T = TypeVar("T")

KEPT_MAX = 400
"""Days of a lane: a year and some, so that a year can be looked at as a whole."""

_FILE = re.compile(r"\d{4}-\d\d-\d\d\.ndjson")


@dataclass(frozen=True, slots=True)
class Placed:
    """A line, and where it is: on which page, at which place for `Pages.at`, and for people."""

    page: str
    place: str
    where: str
    text: bytes


class Pages(Protocol):
    @property
    def title(self) -> str:
        """For people."""
        ...

    async def begun(self) -> bool:
        """Whether lines can be written without a page that begins with them."""
        ...

    async def write(self, lines: Sequence[bytes], base: Callable[[], bytes], at_ms: int) -> None:
        """Durable when it returns; `base` begins a page, where one begins. One call at a time. Raises `OSError`, `LogError`, `LogFull`."""
        ...

    def read(self) -> Iterator[Placed]:
        """All of them, in order. Raises `OSError`, `LogError`."""
        ...

    def at(self, place: str) -> bytes:
        """Raises ValueError for what is no place, `OSError` where nothing is there (any more)."""
        ...


def folder_of(data: Path, number: int) -> Path:
    """Of a delivery stream's manifests in a data directory; each lane has a folder of its name in it."""
    return data / "firehose" / "manifests" / str(number)


def notebook_name(number: int, lane: str) -> str:
    return f"{number}/{lane}"


class FolderPages:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def title(self) -> str:
        return str(self.folder)

    async def begun(self) -> bool:
        return await asyncio.to_thread(lambda: any(self.folder.glob("*.ndjson")))

    async def write(self, lines: Sequence[bytes], base: Callable[[], bytes], at_ms: int) -> None:
        await to_its_end(self._append, lines, base, at_ms)

    def _append(self, lines: Sequence[bytes], base: Callable[[], bytes], at_ms: int) -> None:
        day = _day(at_ms)
        path = self.folder / f"{day:%Y-%m-%d}.ndjson"
        fresh = not path.exists()
        if fresh:
            self.folder.mkdir(parents=True, exist_ok=True)
            lines = [base(), *lines]
        with path.open("ab") as file:
            if not fresh and not _ends_whole(path):
                file.write(b"\n")
            file.write(b"".join(line + b"\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        if fresh:
            sync_folder(self.folder)
            self._forget(day - timedelta(days=KEPT_MAX))

    def read(self) -> Iterator[Placed]:
        for path in sorted(self.folder.glob("*.ndjson")):
            following = 0
            for number, text in enumerate(path.read_bytes().split(b"\n"), 1):
                at, following = following, following + len(text) + 1
                if text:
                    yield Placed(str(path), f"{path.name}:{at}", f"{path}, line {number}", text)

    def at(self, place: str) -> bytes:
        name, _, at = place.partition(":")
        if not _FILE.fullmatch(name) or not at.isdecimal():
            raise ValueError("it is no place of a manifest")
        with (self.folder / name).open("rb") as file:
            file.seek(int(at))
            return file.readline()

    def _forget(self, before: datetime) -> None:
        for path in self.folder.glob("*.ndjson"):
            if path.stem < f"{before:%Y-%m-%d}":
                path.unlink()


class LogPages:
    """`loop` is the log's."""

    def __init__(self, notebook: Notebook, loop: asyncio.AbstractEventLoop) -> None:
        self._notebook = notebook
        self._loop = loop
        self._written: datetime | None = None
        """The day of this writer's page, once it has one."""

    @property
    def title(self) -> str:
        return self._notebook.shard

    async def begun(self) -> bool:
        return self._written is not None

    async def write(self, lines: Sequence[bytes], base: Callable[[], bytes], at_ms: int) -> None:
        day = _day(at_ms).replace(hour=0, minute=0, second=0, microsecond=0)
        if day != self._written:
            self._written = None
            await self._notebook.claim()
            await self._notebook.write([base(), *lines])
            await self._notebook.forget(round((day - timedelta(days=KEPT_MAX)).timestamp() * 1000))
            self._written = day
        elif lines:
            await self._notebook.write(lines)

    def read(self) -> Iterator[Placed]:
        reading = self._notebook.read()
        while part := self._done(_next(reading)):
            for one in part:
                page = f"{self.title}, page {one.epoch}"
                yield Placed(page, str(one.offset), f"{self.title}, offset {one.offset}", one.text)

    def at(self, place: str) -> bytes:
        if not place.isdecimal():
            raise ValueError("it is no place of a manifest")
        try:
            return self._done(self._notebook.at(int(place)))
        except LogError as error:
            raise OSError(error.message) from error

    def _done(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _next(reading: Any) -> list[Noted]:
    return await anext(reading, [])


def _day(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
