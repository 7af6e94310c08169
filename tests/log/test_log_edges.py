"""Where the log's parts meet: appends of many frames, producers remembered past their segments, names inside names."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from streams.core.clock import ManualClock
from streams.core.errors import LogClosed, LogCorrupt, LogFull
from streams.core.records import ProducerMark, Records
from streams.log import frames
from streams.log.embedded import EmbeddedLog
from streams.log.tail import FRAME_SIZE_MAX
from tests.log.engines import FaultyDisk, read_all, records, rows

LARGE = [(f"key {number}", number.to_bytes(4, "big") * 25_000) for number in range(35)]
MARK = ProducerMark("p", 1)


async def start(path: Path, segment_size_max: int = 1 << 20) -> EmbeddedLog:
    return await EmbeddedLog.open(path, clock=ManualClock(), segment_size_max=segment_size_max)


def crashed(path: Path) -> Path:
    """What the disk holds if the process ends now."""
    return Path(shutil.copytree(path, path.with_name(path.name + "-crashed")))


async def test_a_large_append_is_cut_into_frames(tmp_path: Path) -> None:
    log = await start(tmp_path / "log")
    await log.create("s")
    assert await log.append("s", records(LARGE), MARK) == 0
    assert await read_all(log, "s") == LARGE
    batch = await log.read("s", 3, 1 << 30)
    assert rows(batch.records) == LARGE[3:]
    assert len(set(batch.records.arrival_ms().tolist())) == 1
    await log.close()


async def test_a_large_append_that_was_torn_is_gone_as_a_whole(tmp_path: Path) -> None:
    log = await start(tmp_path / "log")
    await log.create("s")
    await log.append("s", records([("before", b"")]))
    await log.append("s", records(LARGE), MARK)
    copy = crashed(tmp_path / "log")
    await log.close()
    segment = copy / "shards" / "s~" / f"{0:020d}.log"
    size = segment.stat().st_size
    assert size > 3 * FRAME_SIZE_MAX
    for torn in (size - 1, size - FRAME_SIZE_MAX, FRAME_SIZE_MAX * 3 // 2):
        os.truncate(segment, torn)
        log = await start(copy)
        assert await log.bounds("s") == (0, 1)
        await log.close()
    log = await start(copy)
    assert await log.append("s", records(LARGE), MARK) == 1, "what nobody was told of is taken when it comes again"
    assert await log.append("s", records(LARGE), MARK) == 1
    assert await log.bounds("s") == (0, 1 + len(LARGE))
    await log.close()


async def test_a_producer_is_remembered_after_its_segment_and_a_crash(tmp_path: Path) -> None:
    log = await start(tmp_path / "log", 1000)
    await log.create("s")
    assert await log.append("s", records([("once", b"")]), MARK) == 0
    for _ in range(10):
        await log.append("s", records([("more", b"x" * 300)]))
    copy = crashed(tmp_path / "log")
    await log.close()
    log = await start(copy, 1000)
    assert await log.append("s", records([("once", b"")]), MARK) == 0
    await log.close()


async def test_a_producer_is_remembered_after_all_was_trimmed(tmp_path: Path) -> None:
    log = await start(tmp_path / "log")
    await log.create("s")
    await log.append("s", records([("once", b"")]), MARK)
    await log.trim("s", 1)
    await log.close()
    log = await start(tmp_path / "log")
    assert await log.append("s", records([("once", b"")]), MARK) == 0
    assert await log.bounds("s") == (1, 1)
    await log.close()


async def test_what_changes_shards_while_the_log_closes_ends(tmp_path: Path) -> None:
    log = await start(tmp_path / "log")
    changes = [asyncio.create_task(log.create(f"s{number}")) for number in range(5)]
    await asyncio.sleep(0)
    await log.close()
    done, waiting = await asyncio.wait(changes, timeout=60)
    assert not waiting
    assert all(change.exception() is None or isinstance(change.exception(), LogClosed) for change in done)


async def test_a_shard_may_be_named_like_the_folder_of_another(tmp_path: Path) -> None:
    log = await start(tmp_path / "log")
    for shard in ("a/b", "a", "a/b/c"):
        await log.create(shard)
        await log.append(shard, records([(shard, b"")]))
    await log.drop("a")
    await log.close()
    log = await start(tmp_path / "log")
    assert await log.shards() == ["a/b", "a/b/c"]
    assert await read_all(log, "a/b/c") == [("a/b/c", b"")]
    await log.close()


@pytest.mark.parametrize("position", [1 << 50, 144])
async def test_a_frame_inside_a_record_is_never_taken_for_one(tmp_path: Path, position: int) -> None:
    log = await start(tmp_path / "log")
    await log.create("s")
    await log.append("s", records([("before", b"")]))
    forged = b"".join(frames.encode(records([("forged", b"")]), 1 << 40, 1 << 41, position))
    await log.append("s", Records.of([""], [forged + bytes(1000)]))
    copy = crashed(tmp_path / "log")
    await log.close()
    (copy / "COMMITS").unlink()  # which would heal it
    segment = copy / "shards" / "s~" / f"{0:020d}.log"
    os.truncate(segment, segment.stat().st_size - 8)
    log = await start(copy)
    assert await log.bounds("s") == (0, 1)
    await log.close()


async def test_a_damaged_first_offset_is_said(tmp_path: Path) -> None:
    log = await start(tmp_path / "log")
    await log.create("s")
    await log.append("s", records([("a", b""), ("b", b"")]))
    await log.trim("s", 1)
    await log.close()
    first = tmp_path / "log" / "shards" / "s~" / "first"
    content = bytearray(first.read_bytes())
    content[0] ^= 1
    first.write_bytes(content)
    with pytest.raises(LogCorrupt, match="first"):
        await start(tmp_path / "log")


async def test_a_log_closes_although_the_disk_is_full(tmp_path: Path) -> None:
    disk = FaultyDisk()
    log = await EmbeddedLog.open(tmp_path / "log", clock=ManualClock(), disk=disk)
    for shard in ("a", "b"):
        await log.create(shard)
        await log.append(shard, records([(shard, b"")]))
    disk.room = 3
    with pytest.raises(LogFull):
        await log.append("a", records([("no-room", b"")]))
    disk.room = 10
    await log.close()
    disk.room = None
    log = await start(tmp_path / "log")
    assert await read_all(log, "a") == [("a", b"")]
    assert await read_all(log, "b") == [("b", b"")]
    await log.close()
