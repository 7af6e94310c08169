"""Packed segments: the same records in the same places, whatever happens while they are packed."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import threading
from pathlib import Path

import pytest

from streams.core.clock import ManualClock
from streams.core.records import ProducerMark, Records
from streams.log.embedded import EmbeddedLog
from streams.log.frames import decode_header
from streams.log.segments import Segment
from streams.log.unpacked import Unpacked
from tests.log.engines import read_all, records, rows
from tests.log.test_log_faults import FailingDisk, Story

COUNT = 40


async def start(path: Path, **options: object) -> EmbeddedLog:
    return await EmbeddedLog.open(path, **{"clock": ManualClock(), "segment_size_max": 2000, **options})  # type: ignore[arg-type]


async def fill(log: EmbeddedLog, clock: ManualClock, shard: str = "s") -> list[tuple[str, bytes]]:
    """Marked appends of two records a second, some with hash keys."""
    await log.create(shard)
    for number in range(COUNT):
        keys, data = [f"k{number}", ""], [b"a row that is like the others " * 8, b""]
        hash_keys = [number.to_bytes(16, "big"), None] if number % 3 == 0 else None
        await log.append(shard, Records.of(keys, data, hash_keys), ProducerMark("p", number))
        clock.advance(1)
    return await read_all(log, shard)


def files(path: Path, suffix: str, shard: str = "s") -> list[Path]:
    return sorted((path / "shards" / f"{shard}~").glob(f"*{suffix}"))


async def test_what_is_sealed_is_packed_and_reads_the_same(tmp_path: Path) -> None:
    plain, clock = tmp_path / "log", ManualClock()
    log = await start(plain, clock=clock)
    expected = await fill(log, clock)
    hash_keys = (await log.read("s", 0, 1 << 20)).records.hash_key
    await log.close()
    size = sum(path.stat().st_size for path in files(plain, ".log"))
    log = await start(plain, compress=True)
    await log.packed()
    packed = files(plain, ".zlog")
    assert len(packed) > 3
    assert len(files(plain, ".log")) == 1, "the last one grows"
    assert sum(path.stat().st_size for path in [*packed, *files(plain, ".log")]) < size / 2
    for size_max in (1, 500, 1 << 20):
        assert await read_all(log, "s", size_max) == expected
    found = (await log.read("s", 0, 1 << 20)).records
    assert found.hash_key is not None
    assert hash_keys is not None
    assert found.hash_key.to_pylist() == hash_keys.to_pylist()[: len(found)]
    began = ManualClock().now_ms()
    for number in range(COUNT):
        assert await log.find("s", began + number * 1000) == 2 * number
        assert (await log.read("s", 2 * number + 1, 1)).records.arrival_ms().tolist() == [began + number * 1000]
    assert await log.find("s", began + 1500) == 4
    await log.close()


async def test_appends_are_packed_as_they_are_sealed(tmp_path: Path) -> None:
    clock = ManualClock()
    log = await start(tmp_path / "log", clock=clock, compress=True)
    expected = await fill(log, clock)
    await log.packed()
    assert len(files(tmp_path / "log", ".log")) == 1
    assert await read_all(log, "s") == expected
    await log.trim("s", COUNT)
    assert await read_all(log, "s") == expected[COUNT:]
    assert int(files(tmp_path / "log", ".zlog")[0].stem) > 0, "packed ones are freed too"
    await log.close()
    log = await start(tmp_path / "log")
    assert await read_all(log, "s") == expected[COUNT:], "also where nothing more is packed"
    await log.close()


@pytest.mark.parametrize("lost", [[".zidx"], [".zidx", ".idx"]])
async def test_lost_sidecars_cost_a_scan_and_no_producers(tmp_path: Path, lost: list[str]) -> None:
    clock = ManualClock()
    log = await start(tmp_path / "log", clock=clock, compress=True)
    expected = await fill(log, clock)
    await log.packed()
    await log.close()
    for suffix in lost:
        for sidecar in files(tmp_path / "log", suffix):
            sidecar.unlink()
    files(tmp_path / "log", ".log")[0].unlink()  # and the last segment: what the packed ones say of producers counts
    (tmp_path / "log" / "COMMITS").unlink()
    log = await start(tmp_path / "log", compress=True)
    _, end = await log.bounds("s")
    assert await read_all(log, "s") == expected[:end]
    last = end // 2 - 1
    assert await log.append("s", records([("again", b"")]), ProducerMark("p", last)) == 2 * last
    assert await log.append("s", records([("new", b"")]), ProducerMark("p", last + 1)) == end
    await log.close()


async def test_readers_go_on_while_their_files_are_replaced(tmp_path: Path) -> None:
    clock = ManualClock()
    log = await start(tmp_path / "log", clock=clock)
    expected = await fill(log, clock)
    await log.close()
    for _ in range(5):
        copy = Path(shutil.copytree(tmp_path / "log", tmp_path / "copy"))
        log = await start(copy, compress=True)
        packing = asyncio.create_task(log.packed())
        while not packing.done():
            assert await read_all(log, "s", 300 << 10) == expected
            assert await log.find("s", ManualClock().now_ms() + 20_000) == 40
        await log.close()
        shutil.rmtree(copy)


async def test_rot_in_a_packed_segment_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    log = await start(tmp_path / "log", clock=clock, compress=True)
    expected = await fill(log, clock)
    await log.packed()
    await log.close()
    second = files(tmp_path / "log", ".zlog")[1]
    content = bytearray(second.read_bytes())
    content[100] ^= 1
    second.write_bytes(content)
    log = await start(tmp_path / "log")
    begin = int(second.stem)
    batch = await log.read("s", begin, 1 << 20)
    assert batch.first == int(files(tmp_path / "log", ".zlog")[2].stem)
    assert rows(batch.records) == expected[batch.first : batch.next]
    assert "damaged" in caplog.text
    assert rows((await log.read("s", 0, 1 << 20)).records) == expected[:begin]
    await log.close()


async def test_a_segment_with_damage_stays_as_it_is(tmp_path: Path) -> None:
    clock = ManualClock()
    log = await start(tmp_path / "log", clock=clock)
    await fill(log, clock)
    await log.close()
    second = files(tmp_path / "log", ".log")[1]
    content = bytearray(second.read_bytes())
    content[100] ^= 1
    second.write_bytes(content)
    log = await start(tmp_path / "log", compress=True)
    await log.packed()
    await log.close()
    assert second.read_bytes() == content
    assert len(files(tmp_path / "log", ".log")) == 2
    assert files(tmp_path / "log", ".new") == []


async def test_what_does_not_shrink_is_gathered_and_not_compressed(tmp_path: Path, seed: int) -> None:
    randomness = random.Random(seed)
    log = await start(tmp_path / "log", compress=True, segment_size_max=100_000)
    await log.create("s")
    for _ in range(30):
        await log.append("s", records([("k", randomness.randbytes(10_000))]))
    await log.packed()
    expected = await read_all(log, "s")
    await log.close()
    header = decode_header(memoryview(files(tmp_path / "log", ".zlog")[0].read_bytes()), 0, 0)
    assert header is not None
    assert header.count > 5
    assert not header.compressed
    log = await start(tmp_path / "log")
    assert await read_all(log, "s") == expected
    await log.close()


class Snapshots(FailingDisk):
    """Keeps what a crash would leave behind before every change, from `begin` on."""

    def __init__(self, path: Path, into: Path) -> None:
        super().__init__()
        self.path, self.into, self.count, self.begun = path, into, 0, False
        self._one = threading.Lock()

    def _step(self) -> bool:
        if self.begun:
            with self._one:
                self._copy(self.into / str(self.count))
                self.count += 1
        return super()._step()

    def _copy(self, into: Path) -> None:
        """What another thread renames or removes meanwhile begins the copy anew."""
        while True:
            try:
                shutil.copytree(self.path, into)
                return
            except (shutil.Error, FileNotFoundError):
                shutil.rmtree(into)

    def write(self, fd: int, pieces: list[bytes], position: int) -> int:  # type: ignore[override]
        """Also half of it."""
        if self.begun:
            half = b"".join(pieces)[: sum(map(len, pieces)) // 2]
            os.pwrite(fd, half, position)
        return super().write(fd, pieces, position)


async def test_a_crash_at_any_step_of_packing_loses_and_doubles_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    log = await start(tmp_path / "log", clock=clock)
    expected = await fill(log, clock)
    await log.close()
    disk = Snapshots(tmp_path / "log", tmp_path / "snapshots")
    log = await start(tmp_path / "log", disk=disk, compress=True)
    disk.begun = True
    await log.packed()
    disk.begun = False
    await log.close()
    assert disk.count > 20
    for number in range(disk.count):
        for compress in (False, True):
            path = tmp_path / "snapshots" / str(number)
            log = await start(path, compress=compress)
            assert await read_all(log, "s") == expected, number
            assert await log.append("s", records([("again", b"")]), ProducerMark("p", COUNT - 1)) == 2 * COUNT - 2
            await log.packed()
            assert await read_all(log, "s") == expected, number
            await log.close()
        assert files(path, ".new") == []
        assert {file.stem for file in files(path, ".log")}.isdisjoint(file.stem for file in files(path, ".zlog"))


@pytest.mark.parametrize("burst", [1, 3])
async def test_any_change_of_the_disk_may_fail_while_packing(tmp_path: Path, seed: int, burst: int) -> None:
    for first in range(seed % 9, 250, 17):
        randomness, path, disk = random.Random(seed + first), tmp_path / str(first), FailingDisk()
        log = await start(path, disk=disk, compress=True, segment_size_max=3000)
        disk.done, disk.failing = 0, range(first, first + burst)
        story = Story(log, randomness)
        await story.tell()
        await story.check(log)
        disk.failing = range(0)
        assert log._packer is not None
        await log._packer.stop()
        await log._writer.stop()
        log._directory.close()
        disk.crash(randomness)
        log = await start(path, disk=disk, compress=True, segment_size_max=3000)
        await story.check(log)
        await log.packed()
        await story.check(log)
        await log.close()


async def test_a_directory_of_format_1_is_read_as_it_is(tmp_path: Path) -> None:
    path = Path(shutil.copytree(Path(__file__).parent / "data" / "format-1", tmp_path / "log"))
    for compress in (False, True):
        log = await start(path, compress=compress)
        await log.packed()
        assert (path / "FORMAT").read_text() == "headrace-log 2\n"
        for shard, first, began_s in (("a", 4, 0), ("b/1", 0, 12)):
            assert await log.bounds(shard) == (first, 12)
            expected = [(str(n), f"{shard} record {n} ".encode() * 8) for n in range(first, 12)]
            assert await read_all(log, shard) == expected
            assert await log.append(shard, records([("again", b"")]), ProducerMark("p", 11)) == 11
            assert await log.find(shard, ManualClock().now_ms() + (began_s + 7) * 1000) == 7
        assert (await log.read("b/1", 5, 1)).records.hash_key.to_pylist() == [b"h" * 16]  # type: ignore[union-attr]
        await log.close()
    assert files(path, ".zlog", "a")


def test_unpacked_frames_are_kept_up_to_a_size() -> None:
    kept = Unpacked(250)
    one, other = (Segment(Path(name), 0, 0, 0, 0) for name in ("1.zlog", "1.zlog"))
    header = decode_header(memoryview(bytes.fromhex(HEADER)), 0, 0)
    assert header is not None
    kept.put(one, header, memoryview(bytes(100)))
    kept.put(one, header, memoryview(bytes(100)))
    assert kept.size == 100
    kept.put(other, header, memoryview(bytes(100)))
    assert kept.get(one, 0) is not None
    kept.put(Segment(Path("2.zlog"), 0, 0, 0, 0), header, memoryview(bytes(100)))
    assert (kept.size, kept.get(other, 0)) == (200, None), "the longest unused is forgotten"
    kept.put(other, header, memoryview(bytes(251)))
    kept.forget(one)
    assert kept.size == 100


HEADER = (
    "48524631 00000000 20000000 8fa151ef 00000000 00000000 01000000 01000000 "
    "04000000 0068e5cf 8b010000 00000000 00000000 00000000 00000000 e4806a98"
)
