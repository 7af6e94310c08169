"""The commit log: what it holds heals segments after a crash, and damage to it never makes a record up."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from streams.core.clock import ManualClock
from streams.core.records import ProducerMark
from streams.log import commits
from streams.log.commits import CommitLog
from streams.log.disk import Disk
from streams.log.embedded import EmbeddedLog
from tests.log.engines import FaultyDisk, read_all, records

SHARDS = ("a", "b", "c")


async def start(path: Path, disk: Disk | None = None) -> EmbeddedLog:
    return await EmbeddedLog.open(path, clock=ManualClock(), disk=disk)


async def test_segments_that_lost_everything_are_healed(tmp_path: Path) -> None:
    log = await start(tmp_path / "log")
    for shard in SHARDS:
        await log.create(shard)
    for number in range(30):
        await log.append(SHARDS[number % 3], records([(str(number), b"x" * 50)]), ProducerMark("p", number))
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "log", copy)
    await log.close()
    for segment in copy.rglob("*.log"):
        segment.unlink()
    log = await start(copy)
    for at, shard in enumerate(SHARDS):
        assert [key for key, _ in await read_all(log, shard)] == [str(number) for number in range(at, 30, 3)]
    assert await log.append("c", records([("again", b"")]), ProducerMark("p", 29)) == 9, "marks are healed too"
    assert await log.append("c", records([("new", b"")])) == 10
    await log.close()
    log = await start(copy)
    assert await log.bounds("c") == (0, 11)
    await log.close()


async def test_damage_to_it_ends_it_and_makes_nothing_up(tmp_path: Path, seed: int) -> None:
    randomness = random.Random(seed)
    log = await start(tmp_path / "log")
    await log.create("a")
    for number in range(8):
        await log.append("a", records([(str(number), b"x" * 20)]))
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "log", copy)
    await log.close()
    content = (copy / commits.NAME).read_bytes()
    written = len(content.rstrip(b"\0"))
    for segment in copy.rglob("*.log"):
        segment.unlink()
    for _ in range(40):
        damaged = bytearray(content)
        bit = randomness.randrange(written * 8)
        damaged[bit // 8] ^= 1 << (bit % 8)
        (copy / commits.NAME).write_bytes(damaged)
        found = [frame for _, frame in CommitLog(Disk(), copy).read()]
        assert len(found) < 8 or bytes(damaged).rstrip(b"\0") != content.rstrip(b"\0")
        one = tmp_path / "one"
        shutil.copytree(copy, one)
        log = await start(one)
        keys = [key for key, _ in await read_all(log, "a")]
        assert keys == [str(number) for number in range(len(keys))], f"bit {bit}"
        await log.close()
        shutil.rmtree(one)


async def test_rounds_follow_each_other(tmp_path: Path, seed: int) -> None:
    randomness = random.Random(seed)
    disk = FaultyDisk()
    log = await start(tmp_path / "log", disk)
    await log.create("a")
    for number in range(100):
        await log.append("a", records([(str(number), b"x" * randomness.choice([100, 200_000]))]))
        if number % 33 == 32:
            await log._writer.stop()
            log._directory.close()
            disk.crash(randomness)
            log = await start(tmp_path / "log", disk)
    assert [key for key, _ in await read_all(log, "a")] == [str(number) for number in range(100)]
    assert (tmp_path / "log" / commits.NAME).stat().st_size == commits.SIZE, "it never grows"
    await log.close()


async def test_a_shard_made_anew_gets_nothing_of_the_old_one(tmp_path: Path) -> None:
    log = await start(tmp_path / "log")
    await log.create("a")
    await log.append("a", records([("old", b"")]))
    await log.drop("a")
    await log.create("a")
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "log", copy)
    await log.close()
    log = await start(copy)
    assert await log.bounds("a") == (0, 0)
    await log.close()
