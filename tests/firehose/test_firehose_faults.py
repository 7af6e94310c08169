"""What goes wrong around a delivery, and that nothing is lost or doubled by it."""

from __future__ import annotations

import asyncio
import inspect
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from connectors.files import open_store
from firehose.memory import Memory
from firehose.staging import Staging
from streams.core.errors import InternalFailure, LogFull
from streams.core.records import Records
from tests.firehose.harness import NEWLINES, House, decoded, processing
from tests.firehose.test_firehose_crash import kafka_log


class Unreliable:
    """A store that is away until `healed`."""

    def __init__(self, url: str) -> None:
        self._store = open_store(url)
        self.healed = False
        self.tries = 0

    def publish(self, staged: Path, key: str, encoding: str | None = None) -> None:
        self.tries += 1
        if not self.healed:
            raise OSError("503 Slow Down")
        self._store.publish(staged, key, encoding)

    def has(self, key: str, size: int) -> bool:
        return self._store.has(key, size)


Build = Callable[..., House]


def building(log: Any) -> Build:
    """A house over this log, or over one of its own."""

    def build(folder: Path, **options: Any) -> House:
        return House(folder, **({} if log is None else {"log": log, "clock": log._clock}) | options)

    return build


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.soak)])
async def build(request: pytest.FixtureRequest) -> AsyncIterator[Build]:
    if request.param == "memory":
        yield building(None)
        return
    async with kafka_log(request.getfixturevalue("kafka_url")) as log:
        yield building(log)


def intercept(house: House, monkeypatch: pytest.MonkeyPatch, before: Callable[[], Awaitable[None]]) -> None:
    """`before` runs first whenever something is to go into the journal of delivery streams."""
    journal = house.firehose._book._journal
    name = "write" if house.log.shared else "append"
    write = getattr(journal, name)

    async def intercepted(*arguments: Any) -> None:
        await before()
        await write(*arguments)

    monkeypatch.setattr(journal, name, intercepted)


def lines(house: House) -> Counter[bytes]:
    return Counter(line for content in house.objects().values() for line in content.splitlines())


async def test_a_store_that_is_away_costs_disk_not_memory(build: Build, tmp_path: Path) -> None:
    stores: list[Unreliable] = []

    def store(url: str) -> Unreliable:
        stores.append(Unreliable(url))
        return stores[-1]

    house = build(tmp_path, stores=store, firehose_memory_max=16 << 20)
    async with house:
        await house.create(**processing(NEWLINES))
        sent = [b"%07d" % n + b"x" * 1000 for n in range(40_000)]
        for at in range(0, len(sent), 1000):
            await house.put("firehose/flights", sent[at : at + 1000])
        await house.until(lambda: bool(stores) and stores[0].tries >= 4, step_s=1)
        for _ in range(20):
            await house.pass_time(600)
        (driver,) = house.firehose._drivers.values()
        assert driver._buffer.weight + driver._in_flight < 26 << 20
        assert house.settled() == 0
        assert stores[0].tries < 60, "the pauses double"
        stores[0].healed = True
        await house.until(lambda: house.settled() == len(sent), step_s=10)
        assert lines(house) == Counter(sent)


async def test_objects_grow_while_delivery_is_behind_and_shrink_after(build: Build, tmp_path: Path) -> None:
    """AWS: when delivery falls behind, the buffer is made larger than the hint, and catches up."""
    stores: list[Unreliable] = []

    def store(url: str) -> Unreliable:
        stores.append(Unreliable(url))
        return stores[-1]

    async with build(tmp_path, stores=store) as house:
        await house.create(**processing(NEWLINES))
        ((_, _, meter),) = house.firehose.meters()
        batch = [b"x" * 1000] * 1200
        for turn in range(8):
            await house.put("firehose/flights", batch)
            if not turn:
                await house.until(lambda: bool(stores) and stores[0].tries > 0, step_s=1)
        await house.until(lambda: meter.buffered > 8 * 1_200_000)
        stores[0].healed = True
        await house.until(lambda: house.settled() == 8 * 1200, step_s=1)
        assert sorted(len(content) for content in house.objects().values()) == [1_201_200, 7 * 1_201_200]
        for turn in range(8, 11):
            await house.put("firehose/flights", batch)
            await house.until(lambda want=1200 * (turn + 1): house.settled() == want)
        assert sorted(map(len, house.objects().values())) == [*[1_201_200] * 4, 7 * 1_201_200], "at the hint again"


async def test_what_is_idle_goes_out_when_its_oldest_record_has_waited(build: Build, tmp_path: Path) -> None:
    """The interval runs from the first record of a buffer, whatever comes after it, and when nothing does."""
    async with build(tmp_path) as house:
        await house.create(**processing(NEWLINES))
        ((_, _, meter),) = house.firehose.meters()
        for number in range(4):  # at 0, 20, 40 and 60 seconds
            await house.put("firehose/flights", [b"%d" % number])
            if number < 3:
                await house.until(lambda want=(number + 1): meter.buffered > 0 and _waiting(house) == want)
                assert not house.objects()
                house.clock.advance(20)
        await house.until(lambda: house.settled() >= 3)
        (first, *_) = house.objects().values()
        assert first.splitlines()[:3] == [b"0", b"1", b"2"]
        await house.until(lambda: house.settled() == 4, step_s=5)


def _waiting(house: House) -> int:
    (driver,) = house.firehose._drivers.values()
    return sum(chunk.records for chunk in driver._buffer._chunks.values())


async def test_a_clock_that_jumps_delivers_each_record_once(build: Build, tmp_path: Path, seed: int) -> None:
    """Backwards for an hour, forwards for a day, while records are buffered, staged, and on their way."""
    dice = random.Random(seed)
    sent: list[bytes] = []
    house = build(tmp_path, stores=Flaky)  # type: ignore[arg-type]
    for _ in range(3):
        async with house:
            if not sent:
                await house.client.create_stream("air", 2)
                await house.create(kinesis="air", **processing(NEWLINES))
            for _ in range(8):
                records = [b"%d" % (len(sent) + number) for number in range(20)]
                sent += records
                await house.put("air", records)
                await house.settle()
                house.clock.advance(dice.choice([-3600, -1, 30, 61, 86_400]))
                await house.settle()
    async with house:
        await house.until(lambda: house.settled() == len(sent), step_s=10)
        assert lines(house) == Counter(sent)
        assert not await asyncio.to_thread(house.findings)


class Flaky(Unreliable):
    """Every second try fails."""

    def publish(self, staged: Path, key: str, encoding: str | None = None) -> None:
        self.healed = bool(self.tries % 2)
        super().publish(staged, key, encoding)


async def test_a_deletion_while_records_are_buffered_staged_and_on_their_way(build: Build, tmp_path: Path) -> None:
    """The store is away: the deletion does not wait for it, leaves nothing behind, and a new stream of the name begins
    with nothing."""
    stores: list[Unreliable] = []

    def store(url: str) -> Unreliable:
        stores.append(Unreliable(url))
        return stores[-1]

    async with build(tmp_path, stores=store) as house:
        await house.create(**processing(NEWLINES))
        await house.put("firehose/flights", [b"on its way"])
        await house.until(lambda: bool(stores) and stores[0].tries > 1, step_s=5)
        await house.put("firehose/flights", [b"buffered"])
        await house.until(lambda: _waiting(house) == 1)
        await house.call("DeleteDeliveryStream", DeliveryStreamName="flights")
        left = [path for path in (tmp_path / "firehose").rglob("*") if path.is_file()]
        assert not left
        stores[0].healed = True
        await house.create(**processing(NEWLINES))
        await house.put("firehose/flights", [b"anew"])
        await house.until(lambda: lines(house)[b"anew"] == 1, step_s=5)
        assert lines(house) == Counter([b"anew"])
        assert not await asyncio.to_thread(house.findings)


def test_a_stream_that_is_stuck_leaves_room_for_the_others() -> None:
    memory = Memory(1000)
    memory.register("stuck")
    memory.register("other")
    memory.hold("stuck", 749)
    assert memory.room("stuck")
    memory.hold("stuck", 760)
    assert not memory.room("stuck")
    assert memory.room("other")
    memory.hold("other", 124)
    assert memory.room("other")
    memory.hold("other", 125)
    assert not memory.room("other")
    memory.forget("stuck")
    assert memory.room("other")


async def test_one_store_that_is_away_does_not_stop_another(build: Build, tmp_path: Path) -> None:
    stores: dict[str, Any] = {}

    def store(url: str) -> Any:
        return stores.setdefault(url, Unreliable(url) if url.endswith("away") else open_store(url))

    async with build(tmp_path, stores=store, firehose_memory_max=16 << 20) as house:
        await house.create("a", bucket="away", size=64, interval=900)
        await house.create("b", bucket="here", size=64, interval=900)
        for name in ("a", "b"):
            for _ in range(40):
                await house.put(f"firehose/{name}", [b"x" * 1000] * 1000)
        await house.until(lambda: sum(map(len, house.objects("here").values())) == 40_000_000, step_s=1)
        assert not house.objects("away")


async def test_a_full_disk_while_staging_and_planning(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = build(tmp_path)
    stage = Staging.stage
    failures = 3

    def failing(self: Staging, chunks: Any) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(28, "No space left on device")
        return stage(self, chunks)

    monkeypatch.setattr(Staging, "stage", failing)
    async with house:
        await house.create(**processing(NEWLINES))
        full = 2

        async def refusing() -> None:
            nonlocal full
            if full:
                full -= 1
                raise LogFull("no space left")

        intercept(house, monkeypatch, refusing)
        await house.put("firehose/flights", [b"1", b"2"])
        await house.until(lambda: house.settled() == 2, step_s=10)
        assert lines(house) == Counter([b"1", b"2"])


async def test_staged_bytes_that_vanish_are_made_again(build: Build, tmp_path: Path) -> None:
    house = build(tmp_path, stores=Unreliable)  # type: ignore[arg-type]
    async with house:
        await house.create(**processing(NEWLINES))
        await house.put("firehose/flights", [b"1", b"2"])
        await house.until(lambda: bool(house.streams()[0].main.plans), step_s=10)
    for path in (tmp_path / "firehose" / "staging").rglob("*.*"):
        path.unlink()
    house = build(tmp_path, log=house.log, clock=house.clock)
    async with house:
        await house.until(lambda: house.settled() == 2, step_s=10)
        assert lines(house) == Counter([b"1", b"2"])


async def test_an_open_plan_is_finished_with_the_bytes_that_were_staged(build: Build, tmp_path: Path) -> None:
    house = build(tmp_path, stores=Unreliable)  # type: ignore[arg-type]
    async with house:
        await house.create(**processing(NEWLINES))
        await house.put("firehose/flights", [b"1"])
        await house.until(lambda: bool(house.streams()[0].main.plans), step_s=10)
        (plan,) = house.streams()[0].main.plans.values()
    house = build(tmp_path, log=house.log, clock=house.clock)
    async with house:
        await house.until(house.delivered)
        assert house.objects() == {plan.objects[0].key: b"1\n"}


async def test_through_a_resharding(build: Build, tmp_path: Path) -> None:
    async with build(tmp_path) as house:
        await house.client.create_stream("air", 1)
        await house.create(kinesis="air", **processing(NEWLINES))
        await house.put("air", [b"a%d" % n for n in range(50)])
        await house.service.call("SplitShard", _split("air", str(2**127)), house.scope)
        await house.put("air", [b"b%d" % n for n in range(50)])
        await house.until(lambda: house.settled() == 100, step_s=10)
        assert lines(house) == Counter(b"%s%d" % (c, n) for c in (b"a", b"b") for n in range(50))


def _split(stream: str, hash_key: str) -> Any:
    return decoded(
        "kinesis",
        "SplitShard",
        {"StreamName": stream, "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": hash_key},
    )


async def test_a_source_that_is_deleted_and_created_again(build: Build, tmp_path: Path) -> None:
    async with build(tmp_path) as house:
        await house.client.create_stream("air", 1)
        await house.create(kinesis="air", **processing(NEWLINES))
        await house.put("air", [b"first", b"second"])
        await house.until(house.delivered, step_s=10)
        await house.client.delete_stream("air")
        for _ in range(5):
            await house.pass_time(10)
        description = await house.call("DescribeDeliveryStream", DeliveryStreamName="flights")
        assert description["DeliveryStreamDescription"]["DeliveryStreamStatus"] == "ACTIVE"
        await house.client.create_stream("air", 1)
        await house.put("air", [b"anew"])
        await house.until(lambda: lines(house)[b"anew"] == 1, step_s=10)
        assert lines(house) == Counter([b"first", b"second", b"anew"])


async def test_a_bucket_of_the_settings_is_any_fsspec_url(build: Build, tmp_path: Path) -> None:
    name = uuid.uuid4().hex
    async with build(tmp_path, buckets={"lake": f"memory://{name}"}) as house:
        await house.create(Prefix="raw/", **processing(NEWLINES))
        await house.put("firehose/flights", [b"1"])
        memory = fsspec.filesystem("memory")
        await house.until(lambda: bool(memory.find(f"/{name}")) and house.settled() == 1, step_s=10)
        (path,) = memory.find(f"/{name}")
        assert path.startswith(f"/{name}/raw/2023/11/14/22/flights-1-")
        assert memory.cat_file(path) == b"1\n"


async def test_two_streams_of_one_source_each_deliver_all(build: Build, tmp_path: Path) -> None:
    async with build(tmp_path) as house:
        await house.client.create_stream("air", 2)
        await house.create("one", kinesis="air", bucket="one", **processing(NEWLINES))
        await house.create("two", kinesis="air", bucket="two", **processing(NEWLINES))
        await house.client.put("air", Records.of(["k", "l"], [b"1", b"2"]))
        await house.until(lambda: bool(house.objects("one")) and bool(house.objects("two")), step_s=10)
        for bucket in ("one", "two"):
            (content,) = house.objects(bucket).values()
            assert sorted(content.splitlines()) == [b"1", b"2"]


async def test_a_plan_that_reaches_the_journal_late_is_not_made_twice(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading fails, and ends the run, while a plan is on its way into the journal."""
    house = build(tmp_path)
    async with house:
        await house.client.create_stream("air", 1)
        await house.create(kinesis="air", **processing(NEWLINES))
        released, began = asyncio.Event(), asyncio.Event()

        async def late() -> None:
            began.set()
            await released.wait()

        intercept(house, monkeypatch, late)
        await house.put("air", [b"1", b"2"])
        await house.until(began.is_set, step_s=10)
        fetch, failures = house.service.fetch, 1

        async def failing(*arguments: Any, **options: Any) -> Any:
            nonlocal failures
            if failures:
                failures -= 1
                raise InternalFailure("no")
            return await fetch(*arguments, **options)

        monkeypatch.setattr(house.service, "fetch", failing)
        await house.put("air", [b"3"])
        await house.until(lambda: failures == 0, step_s=10)
        for _ in range(5):
            await house.pass_time(10)
        released.set()
        await house.until(lambda: house.settled() == 3, step_s=10)
    async with house:
        await house.pass_time(100)
        assert lines(house) == Counter([b"1", b"2", b"3"])


FAULTS = [one for name, one in list(globals().items()) if name.startswith("test_") and inspect.iscoroutinefunction(one)]


async def test_two_of_these_over_kafka(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch, kafka_url: str
) -> None:
    """Drawn by the seed; all of them over Kafka are a long run."""
    for number, fault in enumerate(random.Random(seed).sample(FAULTS, 2)):
        print(fault.__name__)
        folder = tmp_path / str(number)
        folder.mkdir()
        async with kafka_log(f"{kafka_url}-{number}") as log:
            with monkeypatch.context() as patch:
                given = {"build": building(log), "tmp_path": folder, "seed": seed, "monkeypatch": patch}
                await fault(**{name: given[name] for name in inspect.signature(fault).parameters})
