"""One operation of the disk fails, whichever it is, or several in turn: the log answers, serves what it took and only
that, and goes on; so it does after a crash."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from streams.core.clock import ManualClock
from streams.core.errors import HeadraceError, LogError, LogFull
from streams.core.records import ProducerMark
from streams.log import commits, writer
from streams.log.embedded import EmbeddedLog
from tests.log.engines import FaultyDisk, read_all, records

TRIES_MAX = 20


class FailingDisk(FaultyDisk):
    """Changes of the disk are counted from `begin` on; those numbered in `failing` do half of their work and fail."""

    def __init__(self) -> None:
        super().__init__()
        self.done = 0
        self.failing: range = range(0)

    def _step(self) -> bool:
        self.done += 1
        return self.done - 1 in self.failing

    def _change(self) -> None:
        if self._step():
            raise OSError(errno.EIO, "Input/output error")

    def open(self, path: Path) -> int:
        self._change()
        return super().open(path)

    def close(self, fd: int) -> None:
        self._paths.pop(fd, None)
        super().close(fd)

    def write(self, fd: int, pieces: Sequence[bytes], position: int) -> int:
        if self._step():
            whole = b"".join(pieces)
            super().write(fd, [whole[: len(whole) * 2 // 3]], position)
            raise OSError(errno.EIO, "Input/output error")
        return super().write(fd, pieces, position)

    def sync(self, fd: int) -> None:
        self._change()
        super().sync(fd)

    def truncate(self, fd: int, size: int) -> None:
        self._change()
        super().truncate(fd, size)

    def sync_folder(self, path: Path) -> None:
        self._change()
        super().sync_folder(path)

    def make_folders(self, paths: Iterable[Path]) -> None:
        self._change()
        super().make_folders(paths)

    def rename(self, path: Path, other: Path) -> None:
        self._change()
        super().rename(path, other)

    def remove(self, path: Path) -> None:
        self._change()
        super().remove(path)


class Story:
    """Appends, trims, drops and creates, each tried until it succeeds; `stored` is what must be there."""

    def __init__(self, log: EmbeddedLog, randomness: random.Random) -> None:
        self.log = log
        self.randomness = randomness
        self.stored: dict[str, list[str]] = {}
        self.number = 0

    async def insist(self, change: str, *arguments: object) -> None:
        for _ in range(TRIES_MAX):
            try:
                await getattr(self.log, change)(*arguments)
                return
            except LogFull:
                continue
        raise AssertionError(f"{change} never succeeds")

    async def create(self, shard: str) -> None:
        await self.insist("create", shard)
        self.stored[shard] = []

    async def drop(self, shard: str) -> None:
        await self.insist("drop", shard)
        del self.stored[shard]

    async def trim(self, shard: str, before: int) -> None:
        await self.insist("trim", shard, before)

    async def append(self, *shards: str, insist: bool = False) -> None:
        """To each shard at once several records under a mark, tried until they are taken; or, unmarked, tried once."""
        marked = insist or self.randomness.random() < 0.5
        jobs = []
        for shard in shards:
            self.number += 1
            ids = [f"{self.number:04d}.{i}" for i in range(self.randomness.randrange(1, 3))]
            some = records([(id_, b"x" * self.randomness.randrange(700)) for id_ in ids])
            mark = ProducerMark("p", self.number) if marked else None
            jobs.append((shard, ids, some, mark))
        for _ in range(TRIES_MAX):
            calls = (self.log.append(shard, some, mark) for shard, _, some, mark in jobs)
            results = await asyncio.gather(*calls, return_exceptions=True)
            failed = []
            for job, result in zip(jobs, results, strict=True):
                if isinstance(result, int):
                    self.stored[job[0]] += job[1]
                else:
                    assert isinstance(result, LogFull), result
                    failed.append(job)
            jobs = failed if marked else []
            if not jobs:
                return
        raise AssertionError("an append never succeeds")

    async def tell(self) -> None:
        for shard in ("a", "b", "c/1"):
            await self.create(shard)
        for turn in range(12):
            await self.append("a")
            await self.append("a", "b", "c/1")
            if turn % 3 == 2:
                await self.append("b", "b", "b")
                await self.trim("a", len(self.stored["a"]) // 2)
        await self.drop("b")
        await self.create("b")
        await self.append("a", "b")
        await self.append("b")
        # What failed last may come back if the machine stops before the disk can take it back.
        await self.append("a", "b", "c/1", insist=True)

    async def check(self, log: EmbeddedLog) -> None:
        assert await log.shards() == sorted(self.stored)
        for shard, expected in self.stored.items():
            first, end = await log.bounds(shard)
            assert end == len(expected), shard
            assert [key for key, _ in await read_all(log, shard)] == expected[first:], shard


async def start(path: Path, disk: FaultyDisk, **options: object) -> EmbeddedLog:
    return await EmbeddedLog.open(path, clock=ManualClock(), segment_size_max=3000, disk=disk, **options)  # type: ignore[arg-type]


async def run(path: Path, first: int, burst: int, seed: int, **options: object) -> int:
    """The story with `burst` failures from the change `first` on, a check, a crash, a check. How many changes."""
    randomness = random.Random(seed)
    disk = FailingDisk()
    log = await start(path, disk, **options)
    disk.done, disk.failing = 0, range(first, first + burst)
    story = Story(log, randomness)
    await story.tell()
    await story.check(log)
    changes = disk.done
    disk.failing = range(0)
    if options:
        await log.close()
    else:
        await log._writer.stop()
        log._directory.close()
    disk.crash(randomness)
    log = await start(path, disk, **options)
    await story.check(log)
    await log.append("a", records([("last", b"")]))
    await log.close()
    return changes


@pytest.mark.parametrize(("burst", "step"), [(1, 4), (2, 9), (3, 9), (7, 9)])
async def test_any_change_of_the_disk_may_fail(
    tmp_path: Path, seed: int, burst: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "SIZE", 16 << 10)  # several rounds in one story
    changes = await run(tmp_path / "whole", 0, 0, seed)
    assert changes > 100
    for first in range(seed % step, changes, step):
        try:
            await run(tmp_path / str(first), first, burst, seed + first)
        except Exception as error:
            raise AssertionError(f"{burst} failures from change {first} on: {error}") from error


class BrokenClock(ManualClock):
    broken = False

    def now_ms(self) -> int:
        if self.broken:
            raise ZeroDivisionError("no time")
        return super().now_ms()


async def test_nobody_waits_for_a_writer_that_is_no_more(tmp_path: Path) -> None:
    clock = BrokenClock()
    log = await EmbeddedLog.open(tmp_path / "log", clock=clock, pending_size_max=5000)
    for shard in "ab":
        await log.create(shard)
        await log.append(shard, records([("good", b"")]))
    clock.broken = True
    jobs = [log.append(shard, records([("bad", b"x" * 900)])) for shard in "abababab"]
    results = await asyncio.wait_for(asyncio.gather(*jobs, log.create("c"), return_exceptions=True), 60)
    assert all(isinstance(result, LogError) for result in results), results
    clock.broken = False
    with pytest.raises(LogError, match=r"writer has stopped: .*no time"):
        await asyncio.wait_for(log.append("a", records([("late", b"")])), 60)
    assert await read_all(log, "a") == [("good", b"")]
    await asyncio.wait_for(log.close(), 60)
    log = await EmbeddedLog.open(tmp_path / "log", clock=ManualClock())
    assert [await read_all(log, shard) for shard in "ab"] == [[("good", b"")]] * 2
    await log.close()


async def test_more_shards_than_files_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "OPEN_FILES_MAX", open_max := 50)
    log = await EmbeddedLog.open(tmp_path / "log", clock=ManualClock())
    before = len(os.listdir("/proc/self/fd"))
    shards = [f"s{number}" for number in range(open_max + 100)]
    await asyncio.gather(*(log.create(shard) for shard in shards))
    for shard in shards:
        await log.append(shard, records([(shard, b"x" * 100)]))
    await log.drop(shards.pop())  # which syncs all
    assert len(os.listdir("/proc/self/fd")) <= before + open_max + 1
    crashed = Path(shutil.copytree(tmp_path / "log", tmp_path / "crashed"))
    await log.close()
    log = await EmbeddedLog.open(crashed, clock=ManualClock())
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert [await read_all(log, shard) for shard in shards] == [[(shard, b"x" * 100)] for shard in shards]
    await log.close()


async def test_what_a_trim_could_not_remove_goes_with_the_next_opening(tmp_path: Path) -> None:
    log = await EmbeddedLog.open(tmp_path / "log", clock=ManualClock(), segment_size_max=1000)
    await log.create("a")
    for _ in range(20):
        await log.append("a", records([("k", b"x" * 400)]))
    crashed = Path(shutil.copytree(tmp_path / "log", tmp_path / "crashed"))
    await log.trim("a", 10)
    await log.close()
    shutil.copy(tmp_path / "log" / "shards" / "a~" / "first", crashed / "shards" / "a~" / "first")
    log = await EmbeddedLog.open(crashed, clock=ManualClock(), segment_size_max=1000)
    left = {path.name for path in (crashed / "shards" / "a~").glob("*.log")}
    assert left == {path.name for path in (tmp_path / "log" / "shards" / "a~").glob("*.log")}
    assert len(await read_all(log, "a")) == 10
    await log.close()


async def test_arrival_never_goes_back_through_a_reopening_behind_an_empty_segment(tmp_path: Path) -> None:
    clock = ManualClock()
    log = await EmbeddedLog.open(tmp_path / "log", clock=clock)
    await log.create("a")
    await log.append("a", records([("k", b"")]))
    then = clock.now_ms()
    await log.close()
    (tmp_path / "log" / "shards" / "a~" / f"{1:020d}.log").touch()
    clock.advance(-60)
    log = await EmbeddedLog.open(tmp_path / "log", clock=clock)
    await log.append("a", records([("k", b"")]))
    assert (await log.read("a", 1, 100)).records.arrival_ms().tolist() == [then]
    await log.close()


async def test_shards_created_at_once_are_synced_at_once(tmp_path: Path) -> None:
    disk = FailingDisk()
    log = await start(tmp_path / "log", disk)
    disk.done = 0
    await asyncio.gather(*(log.create(f"s/{number}") for number in range(200)))
    assert disk.done < 10
    assert len(await log.shards()) == 200
    await log.close()


async def test_a_drop_that_failed_leaves_the_shard_as_it_was(tmp_path: Path) -> None:
    disk = FailingDisk()
    log = await start(tmp_path / "log", disk)
    await log.create("a")
    await log.append("a", records([("old", b"")]))
    disk.done, disk.failing = 0, range(100)
    with pytest.raises(HeadraceError):
        await log.drop("a")
    disk.failing = range(0)
    await log.create("a")
    await log.append("a", records([("new", b"")]))
    assert [key for key, _ in await read_all(log, "a")] == ["old", "new"]
    await log.drop("a")
    await log.close()
