"""Segments that have moved to an object store: the same records in the same places, whatever happens on the way."""

from __future__ import annotations

import asyncio
import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from streams.core.clock import ManualClock
from streams.core.errors import LogCorrupt, LogError, LogUnreachable
from streams.core.records import ProducerMark
from streams.log.blocks import Blocks
from streams.log.embedded import EmbeddedLog
from streams.log.objects import Folder, Objects, open_objects
from streams.log.sealing import Keyring
from streams.log.stubs import BLOCK_SIZE
from streams.log.tiering import LOOK_S, TierOptions
from streams.log.verifying import Verification
from tests.log.engines import KEY, read_all, records, rows, tier
from tests.log.test_log_faults import FailingDisk, Story
from tests.log.test_log_packing import COUNT, Snapshots, files, fill, start

HOUR_MS = 3_600_000


async def cold(log: EmbeddedLog) -> None:
    """All that is old enough has moved."""
    await log.packed()
    await log.tiered()


def objects(path: Path) -> list[Path]:
    return sorted(one for one in (path / "objects").rglob("*") if one.is_file())


async def made(path: Path, **options: object) -> list[tuple[str, bytes]]:
    """A log of which all but the growing segment has moved; its records."""
    clock = ManualClock()
    log = await start(path / "log", clock=clock, compress=True, tier=tier(path / "log"), **options)
    expected = await fill(log, clock)
    await cold(log)
    await log.close()
    assert len(objects(path)) > 3
    return expected


@pytest.mark.parametrize("sealed", [False, True])
async def test_what_is_old_moves_and_reads_the_same(tmp_path: Path, sealed: bool) -> None:
    clock = ManualClock()
    options = {"compress": True, "keyring": Keyring([KEY]) if sealed else None, "clock": clock}
    log = await start(tmp_path / "log", tier=tier(tmp_path / "log", 2 * HOUR_MS), **options)
    expected = await fill(log, clock)
    await cold(log)
    assert objects(tmp_path) == [], "not yet"
    clock.advance(2 * 3600)
    await cold(log)
    await cold(log)
    await log.append("s", records([("k", b"what grows is not old")]))
    await cold(log)
    assert len(objects(tmp_path)) == len(files(tmp_path / "log", ".tier")) > 3
    expected.append(("k", b"what grows is not old"))
    for _ in range(2):
        for size_max in (1, 500, 1 << 20):
            assert await read_all(log, "s", size_max) == expected
        for second in (0, 7, 20):
            assert await log.find("s", ManualClock().now_ms() + second * 1000) == 2 * second
        assert await log.append("s", records([("again", b"")]), ProducerMark("p", COUNT - 1)) == 2 * COUNT - 2
        await log.close()
        log = await start(tmp_path / "log", tier=tier(tmp_path / "log", 2 * HOUR_MS), **options)
    await log.close()


async def test_a_segment_that_grows_slowly_moves_when_its_first_record_is_old(tmp_path: Path) -> None:
    clock = ManualClock()
    log = await EmbeddedLog.open(
        tmp_path / "log", clock=clock, compress=True, tier=tier(tmp_path / "log", after_ms=HOUR_MS)
    )
    await log.create("s")
    await log.append("s", records([("a", b"1")]))
    clock.advance(3601)
    await cold(log)  # it is sealed
    await cold(log)
    assert [file.suffix for file in files(tmp_path / "log", "")] == [".tier"]
    assert await log.append("s", records([("b", b"2")])) == 1
    assert await read_all(log, "s") == [("a", b"1"), ("b", b"2")]
    await log.close()


async def test_what_is_trimmed_or_dropped_is_deleted_there(tmp_path: Path) -> None:
    await made(tmp_path)
    log = await start(tmp_path / "log", compress=True, tier=tier(tmp_path / "log"))
    held = len(objects(tmp_path))
    await log.trim("s", COUNT)
    await log.tiered()
    assert 0 < len(objects(tmp_path)) < held
    await log.drop("s")
    await log.create("s")
    await log.tiered()
    assert objects(tmp_path) == []
    assert await log.append("s", records([("new", b"")])) == 0
    await log.close()


async def test_objects_that_no_stub_names_are_deleted_and_those_of_others_are_not(tmp_path: Path) -> None:
    expected = await made(tmp_path)
    kept = objects(tmp_path)
    ours = kept[0].relative_to(tmp_path / "objects").parts[0]
    stray, foreign = tmp_path / "objects" / ours / "s" / "stray.zlog", tmp_path / "objects" / "other" / "s" / "1.zlog"
    foreign.parent.mkdir(parents=True)
    stray.write_bytes(b"left by a crash")
    foreign.write_bytes(b"another log's")
    log = await start(tmp_path / "log", compress=True, tier=tier(tmp_path / "log"))
    await log.tiered()
    assert objects(tmp_path) == sorted([*kept, foreign])
    assert await read_all(log, "s") == expected
    await log.close()


async def test_without_the_setting_a_log_with_stubs_is_refused(tmp_path: Path) -> None:
    expected = await made(tmp_path)
    place = f"segments of {tmp_path}/log lie at {tmp_path}/objects: set log_tier_url to where they are now"
    with pytest.raises(LogError, match=place):
        await start(tmp_path / "log", compress=True)
    with pytest.raises(LogError, match=place):
        Verification(tmp_path / "log")
    (tmp_path / "objects").rename(tmp_path / "moved")
    moved = TierOptions(Folder(tmp_path / "moved"), 0, 1 << 20)
    log = await start(tmp_path / "log", compress=True, tier=moved)
    assert await read_all(log, "s") == expected, "objects may be moved"
    await log.close()


class Failing:
    """A store that does not answer while it is `down`, nor at the calls that `failing` numbers; half a put may be done."""

    def __init__(self, objects: Objects) -> None:
        self.url = objects.url
        self.down = False
        self.calls = 0
        self.failing: range = range(0)
        self._objects = objects
        self._lock = threading.Lock()

    def _call(self) -> None:
        with self._lock:
            self.calls += 1
            if self.down or self.calls - 1 in self.failing:
                raise LogUnreachable(f"{self.url} does not answer: it is down")

    def put(self, path: Path, name: str) -> None:
        self._call()
        self._objects.put(path, name)
        self._call()

    def size(self, name: str) -> int | None:
        self._call()
        return self._objects.size(name)

    def read(self, name: str, position: int, size: int) -> bytes:
        self._call()
        return self._objects.read(name, position, size)

    def delete(self, name: str) -> None:
        self._call()
        self._objects.delete(name)
        self._call()

    def names(self, folder: str) -> list[str]:
        self._call()
        return self._objects.names(folder)


async def test_while_the_store_is_down_only_its_reads_fail(tmp_path: Path) -> None:
    expected = await made(tmp_path)
    store = Failing(Folder(tmp_path / "objects"))
    store.down = True
    clock = ManualClock()
    log = await start(tmp_path / "log", clock=clock, compress=True, tier=TierOptions(store, 0, 1 << 20))
    with pytest.raises(LogUnreachable, match="does not answer: it is down"):
        await log.read("s", 0, 1 << 20)
    end = await log.append("s", records([("k", b"x" * 3000)]))
    await log.append("s", records([("k", b"y")]))
    assert rows((await log.read("s", end, 1 << 20)).records) == [("k", b"x" * 3000)], "what is here is read"
    await cold(log)
    await log.trim("s", 4)
    held = objects(tmp_path)
    await log.tiered()
    assert objects(tmp_path) == held
    store.down = False
    while clock.sleeping == 0:  # noqa: ASYNC110 - nothing tells that it waits for its time
        await asyncio.sleep(0)
    clock.advance(LOOK_S)
    while files(tmp_path / "log", ".zlog"):  # noqa: ASYNC110 - nor that it has looked
        await asyncio.sleep(0)
    await cold(log)
    assert await read_all(log, "s") == [*expected[4:], ("k", b"x" * 3000), ("k", b"y")]
    await log.close()


@pytest.mark.parametrize("burst", [1, 4])
async def test_any_call_of_the_store_and_any_change_of_the_disk_may_fail(tmp_path: Path, seed: int, burst: int) -> None:
    for first in range(seed % 9, 260, 29):
        randomness, path, disk = random.Random(seed + first), tmp_path / str(first) / "log", FailingDisk()
        store = Failing(Folder(path.parent / "objects"))
        options = {"compress": True, "segment_size_max": 3000, "tier": TierOptions(store, 0, 1 << 20)}
        log = await start(path, disk=disk, **options)
        disk.done, disk.failing = 0, range(first, first + burst)
        store.calls, store.failing = 0, range(first // 10, first // 10 + burst)
        story = Story(log, randomness)
        await story.tell()
        store.failing = range(0)
        await cold(log)
        await story.check(log)
        disk.failing = range(0)
        assert log._packer is not None
        assert log._tier is not None
        await log._tier.stop()
        await log._packer.stop()
        await log._writer.stop()
        log._directory.close()
        disk.crash(randomness)
        log = await start(path, disk=disk, **options)
        await story.check(log)
        await cold(log)
        await story.check(log)
        named = {segment.remote.name for shard in log._shards.values() for segment in shard.segments if segment.remote}
        assert {str(one.relative_to(path.parent / "objects")) for one in objects(path.parent)} == named
        await log.close()


async def test_a_crash_at_any_step_of_moving_loses_and_doubles_nothing(tmp_path: Path) -> None:
    clock, path = ManualClock(), tmp_path / "made"
    log = await start(path / "log", clock=clock, compress=True)
    expected = await fill(log, clock)
    await log.packed()
    await log.close()
    disk = Snapshots(path, tmp_path / "snapshots")
    disk.begun = True
    store = Folder(path / "objects", disk)
    log = await start(path / "log", clock=clock, disk=disk, compress=True, tier=TierOptions(store, 0, 1 << 20))
    await cold(log)
    disk.begun = False
    await log.close()
    assert disk.count > 50
    for number in range(disk.count):
        copy = tmp_path / "snapshots" / str(number)
        log = await start(copy / "log", clock=clock, compress=True, tier=tier(copy / "log"))
        assert await read_all(log, "s") == expected, number
        assert await log.append("s", records([("again", b"")]), ProducerMark("p", COUNT - 1)) == 2 * COUNT - 2
        await cold(log)
        assert await read_all(log, "s") == expected, number
        await log.close()
        assert len(objects(copy)) == len(files(copy / "log", ".tier")) > 3, number
        assert files(copy / "log", ".zlog") == [], number


async def test_bytes_that_are_not_what_was_put_there_are_told(tmp_path: Path) -> None:
    await made(tmp_path)
    second = objects(tmp_path)[1]
    content = bytearray(second.read_bytes())
    content[70] ^= 1
    second.write_bytes(content)
    log = await start(tmp_path / "log", compress=True, tier=tier(tmp_path / "log"))
    with pytest.raises(LogCorrupt, match=f"bytes 0 to {len(content) - 1} are not what was put there"):
        await log.read("s", int(second.name[:20]), 100)
    await log.close()


def verified(path: Path) -> list[str]:
    found = Verification(path / "log", objects=Folder(path / "objects"))
    try:
        return [f"{finding.path.name}: {finding.what}" for finding in found.verify("s").findings]
    finally:
        found.close()


async def test_verifying_reads_what_lies_elsewhere(tmp_path: Path) -> None:
    await made(tmp_path)
    assert verified(tmp_path) == []
    one, other, third, *_ = objects(tmp_path)
    shutil.copy(one, tmp_path / "log" / "shards" / "s~" / f"{one.name[:20]}.zlog")
    assert verified(tmp_path) == [f"{one.name[:20]}.zlog: it has moved elsewhere"]
    one.unlink()
    content = bytearray(other.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    stub = tmp_path / "log" / "shards" / "s~" / f"{third.name[:20]}.tier"
    stub.write_bytes(stub.read_bytes()[:-1])
    told = "\n".join(verified(tmp_path))
    assert f"{one.name[:20]}.tier: its object {tmp_path}/objects/" in told
    assert "bytes is not there" in told
    assert "are not what was put there" in told
    assert f"{third.name[:20]}.tier is damaged (its checksum does not fit): put it back from a copy" in told


def test_blocks_are_kept_up_to_a_size(tmp_path: Path) -> None:
    blocks = Blocks(tmp_path / "cache", 250)
    fetched = []

    def fetch(number: int, size: int = 100) -> bytes:
        def now() -> bytes:
            fetched.append(number)
            return bytes([number]) * size

        return blocks.read(("one", number), 10, 20, now)

    for number in (1, 2, 1, 3, 1, 2):
        assert fetch(number) == bytes([number]) * 20
    assert fetched == [1, 2, 3, 2], "the longest unused goes"
    assert blocks.size == sum(file.stat().st_size for file in (tmp_path / "cache").iterdir()) == 200
    fetch(4, 300)
    assert blocks.size == 200, "one that is larger than all is not kept"
    for file in (tmp_path / "cache").iterdir():
        file.unlink()
    assert fetch(1) == b"\1" * 20, "somebody has emptied the folder"
    blocks.forget("one")
    assert blocks.size == 0
    assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(ZeroDivisionError):
        blocks.read(("two", 0), 0, 1, lambda: bytes(1 // 0))
    assert blocks.read(("two", 0), 0, 1, lambda: b"2") == b"2", "a failure is not kept"


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The endpoint of moto's S3, with a bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    ).create_bucket(Bucket="cold")
    yield endpoint
    server.stop()


async def test_s3_holds_the_cold_ones(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": bucket,
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # one that another test has made would go to that test's server
    store = open_objects("s3://cold/logs")
    clock = ManualClock()
    log = await start(
        tmp_path / "log", clock=clock, compress=True, segment_size_max=3 << 20, tier=TierOptions(store, 0, BLOCK_SIZE)
    )
    await log.create("s")
    randomness = random.Random(1)
    expected = [(str(number), randomness.randbytes(500 << 10)) for number in range(30)]
    for row in expected:
        await log.append("s", records([row]))
    await cold(log)
    (tier_id,) = {name.split("/")[0] for name in await asyncio.to_thread(store.names, "")}
    names = await asyncio.to_thread(store.names, tier_id)
    assert len(names) == len(files(tmp_path / "log", ".tier")) > 3
    assert await read_all(log, "s") == expected
    with pytest.raises(FileExistsError):
        await asyncio.to_thread(store.put, files(tmp_path / "log", ".tier")[0], names[0])
    await log.trim("s", 20)
    await log.close()
    log = await start(tmp_path / "log", compress=True, tier=TierOptions(store, 0, BLOCK_SIZE))
    await log.tiered()
    assert await read_all(log, "s") == expected[20:]
    assert len(await asyncio.to_thread(store.names, tier_id)) == len(files(tmp_path / "log", ".tier"))
    await log.close()
