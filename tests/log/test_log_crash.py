"""Crashes that drop what was not synced, disks that are full or fail: what was acknowledged is there, once and in order."""

from __future__ import annotations

import asyncio
import errno
import random
from pathlib import Path

import pytest

from streams.core.clock import ManualClock
from streams.core.errors import HeadraceError, LogError, LogFull
from streams.core.records import ProducerMark
from streams.log.embedded import EmbeddedLog
from streams.log.log import Appends
from streams.log.sealing import Keyring
from tests.log.engines import KEY, FaultyDisk, read_all, records

SHARDS = ("a", "b", "c")


async def reopen(path: Path, disk: FaultyDisk, **options: object) -> EmbeddedLog:
    return await EmbeddedLog.open(path, clock=ManualClock(), segment_size_max=5000, disk=disk, **options)  # type: ignore[arg-type]


async def abandon(log: EmbeddedLog) -> None:
    """The process is gone: nothing is sealed or vouched for, and the directory is free."""
    await log._writer.stop()
    log._directory.close()


async def _one_of(appends: asyncio.Future[Appends], place: int) -> int:
    """As an append alone would have ended."""
    outcome = (await appends)[place]
    if isinstance(outcome, HeadraceError):
        raise outcome
    return outcome.first


@pytest.mark.parametrize("sealed", [False, True])
async def test_what_was_acknowledged_survives_crashes(tmp_path: Path, seed: int, sealed: bool) -> None:
    randomness = random.Random(seed)
    disk = FaultyDisk()
    options = {"keyring": Keyring([KEY])} if sealed else {}
    log = await reopen(tmp_path / "log", disk, **options)
    for shard in SHARDS:
        await log.create(shard)
    acknowledged: dict[str, list[str]] = {shard: [] for shard in SHARDS}
    sequence = 0
    for _ in range(25):
        fails_at, turns = randomness.randrange(40), randomness.randrange(1, 40)
        # What failed last may come back if the machine stops before the disk can take it back.
        for turn in range(turns if turns - 1 != fails_at else turns + 1):
            if turn == fails_at:
                disk.sync_error = errno.EIO
            jobs = []
            several = randomness.sample(SHARDS, randomness.randrange(len(SHARDS) + 1))
            if several:
                each = [f"{sequence + i:06d}" for i in range(len(several))]
                sequence += len(each)
                some = records([(id_, b"x" * randomness.randrange(400)) for id_ in each])
                outcomes = log.append_each(several, range(1, len(several) + 1), some)  # begun before the others
                for place, shard in enumerate(several):
                    jobs.append((shard, [each[place]], _one_of(outcomes, place)))
            for _ in range(randomness.randrange(1, 5)):
                shard = randomness.choice(SHARDS)
                ids = [f"{sequence + i:06d}" for i in range(randomness.randrange(1, 4))]
                sequence += len(ids)
                some = records([(id_, b"x" * randomness.randrange(400)) for id_ in ids])
                jobs.append((shard, ids, log.append(shard, some, ProducerMark("p", sequence))))
            results = await asyncio.gather(*(job for _, _, job in jobs), return_exceptions=True)
            for (shard, ids, _), result in zip(jobs, results, strict=True):
                if isinstance(result, int):
                    acknowledged[shard] += ids
                else:
                    assert isinstance(result, LogFull), result
                    assert result.retry
            disk.sync_error = None
        await abandon(log)
        disk.crash(randomness)
        log = await reopen(tmp_path / "log", disk, **options)
        for shard in SHARDS:
            found = [key for key, _ in await read_all(log, shard)]
            assert found == acknowledged[shard], f"{shard} after a crash"
    await log.close()


async def test_a_retry_after_a_crash_does_not_double(tmp_path: Path, seed: int) -> None:
    randomness = random.Random(seed)
    disk = FaultyDisk()
    log = await reopen(tmp_path / "log", disk)
    await log.create("a")
    for number in range(60):
        some, mark = records([(str(number), b"x" * 300), (str(number), b"y")]), ProducerMark("p", number)
        await log.append("a", some, mark)
        if randomness.random() < 0.3:
            await abandon(log)
            disk.crash(randomness)
            log = await reopen(tmp_path / "log", disk)
        assert await log.append("a", some, mark) == 2 * number
    assert [key for key, _ in await read_all(log, "a")] == [str(n) for n in range(60) for _ in range(2)]
    await log.close()


async def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path, seed: int) -> None:
    randomness = random.Random(seed)
    disk = FaultyDisk()
    log = await reopen(tmp_path / "log", disk)
    await log.create("a")
    acknowledged: list[str] = []
    refused: list[str] = []
    for number in range(200):
        if randomness.random() < 0.05:
            disk.room = randomness.randrange(1000)
        try:
            await log.append("a", records([(str(number), b"x" * 200)]))
            acknowledged.append(str(number))
        except LogFull as error:
            refused.append(error.message)
            disk.room = None
        assert [key for key, _ in await read_all(log, "a")] == acknowledged
    assert refused
    assert all("No space left on device" in message for message in refused)
    await log.close()
    log = await reopen(tmp_path / "log", disk)
    assert [key for key, _ in await read_all(log, "a")] == acknowledged
    await log.close()


@pytest.mark.parametrize("sync", ["interval", "os"])
async def test_lazy_syncs_lose_at_most_a_tail(tmp_path: Path, seed: int, sync: str) -> None:
    randomness = random.Random(seed)
    disk = FaultyDisk()
    log = await reopen(tmp_path / "log", disk, sync=sync, sync_interval_ms=1)
    await log.create("a")
    for number in range(100):
        await log.append("a", records([(str(number), b"x" * 100)]))
    await abandon(log)
    disk.crash(randomness)
    log = await reopen(tmp_path / "log", disk)
    found = [key for key, _ in await read_all(log, "a")]
    assert found == [str(number) for number in range(len(found))]
    await log.close()


@pytest.mark.parametrize("sync", ["interval", "os"])
async def test_lazy_syncs_are_whole_after_a_clean_close(tmp_path: Path, sync: str) -> None:
    disk = FaultyDisk()
    log = await reopen(tmp_path / "log", disk, sync=sync)
    await log.create("a")
    for number in range(100):
        await log.append("a", records([(str(number), b"x" * 100)]))
    await log.close()
    disk.crash(random.Random(0))
    log = await reopen(tmp_path / "log", disk)
    assert len(await read_all(log, "a")) == 100
    await log.close()


async def test_appends_wait_for_room_and_are_all_taken(tmp_path: Path) -> None:
    log = await EmbeddedLog.open(tmp_path / "log", clock=ManualClock(), pending_size_max=1000)
    await log.create("a")
    await asyncio.gather(*(log.append("a", records([("k", b"x" * 400)])) for _ in range(50)))
    assert await log.bounds("a") == (0, 50)
    await log.close()


async def test_a_second_opener_is_refused(tmp_path: Path) -> None:
    log = await EmbeddedLog.open(tmp_path / "log", clock=ManualClock())
    with pytest.raises(LogError, match="is in use by another process"):
        await EmbeddedLog.open(tmp_path / "log", clock=ManualClock())
    await log.close()
    await (await EmbeddedLog.open(tmp_path / "log", clock=ManualClock())).close()


async def test_another_formats_directory_is_refused(tmp_path: Path) -> None:
    await (await EmbeddedLog.open(tmp_path / "log", clock=ManualClock())).close()
    (tmp_path / "log" / "FORMAT").write_text("headrace-log 99\n")
    with pytest.raises(
        LogError, match="has the format 'headrace-log 99'; this version reads 'headrace-log 4' and older"
    ):
        await EmbeddedLog.open(tmp_path / "log", clock=ManualClock())


async def test_trimmed_segments_free_their_space(tmp_path: Path) -> None:
    log = await EmbeddedLog.open(tmp_path / "log", clock=ManualClock(), segment_size_max=1000)
    await log.create("a")
    for _ in range(20):
        await log.append("a", records([("k", b"x" * 400)]))
    folder = tmp_path / "log" / "shards" / "a~"
    before = sum(path.stat().st_size for path in folder.glob("*.log"))
    await log.trim("a", 10)
    after = sum(path.stat().st_size for path in folder.glob("*.log"))
    assert after <= before * 0.7
    await log.trim("a", 20)
    assert list(folder.glob("*.log")) == []
    await log.close()
    log = await EmbeddedLog.open(tmp_path / "log", clock=ManualClock())
    assert await log.bounds("a") == (20, 20)
    assert await log.append("a", records([("k", b"x")])) == 20
    await log.close()


async def test_an_error_that_nobody_foresaw_is_told_and_the_log_goes_on(tmp_path: Path) -> None:
    log = await EmbeddedLog.open(tmp_path / "log", clock=ManualClock())
    await log.create("a")
    with pytest.raises(HeadraceError, match="an append to a failed"):
        await log.append("a", records([("k", b"x")]), ProducerMark("p" * 300, 1))
    assert await log.append("a", records([("k", b"x")])) == 0
    await log.close()
