"""A crash at every step: before and after each journal entry, each staged object, each object's appearance."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.files import open_store
from connectors.functions.registry import Functions
from firehose.driver import Driver
from firehose.staging import Staging
from streams.core.clock import ManualClock
from streams.kafka.address import parse
from streams.kafka.log import KafkaLog
from tests.firehose.harness import NEWLINES, House, function, processing

SHARDS = 2
TURN_S_MAX = 2.0


class Crash(BaseException):
    """The process ends here."""


class Crasher:
    """Counts steps and crashes at the one it was told; after that, at every step, for a dead process does nothing."""

    def __init__(self) -> None:
        self.steps_left = 10**9
        self.crashed = False

    def arm(self, steps: int) -> None:
        self.steps_left, self.crashed = steps, False

    def step(self) -> None:
        self.steps_left -= 1
        if self.steps_left <= 0:
            self.crashed = True
            raise Crash


class CrashingLog:
    """The journal's way into the log."""

    def __init__(self, log: Any, crasher: Crasher) -> None:
        self._log = log
        self._crasher = crasher

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def append(self, *arguments: Any) -> int:
        self._crasher.step()
        offset: int = await self._log.append(*arguments)
        self._crasher.step()
        return offset


class CrashingStore:
    def __init__(self, url: str, crasher: Crasher) -> None:
        self._store = open_store(url)
        self._crasher = crasher

    def publish(self, staged: Path, key: str, encoding: str | None = None) -> None:
        self._crasher.step()
        self._store.publish(staged, key, encoding)
        self._crasher.step()

    def has(self, key: str, size: int) -> bool:
        return self._store.has(key, size)


@pytest.fixture
def crasher(monkeypatch: pytest.MonkeyPatch) -> Crasher:
    crasher = Crasher()
    stage = Staging.stage

    def crashing(self: Staging, chunks: Any) -> Any:
        crasher.step()
        plan = stage(self, chunks)
        crasher.step()
        return plan

    monkeypatch.setattr(Staging, "stage", crashing)
    return crasher


def new_house(folder: Path, crasher: Crasher, log: Any = None, **settings: Any) -> House:
    return House(
        folder,
        log=log,
        clock=None if log is None else log._clock,
        stores=lambda url: CrashingStore(url, crasher),
        journal_log=lambda log: CrashingLog(log, crasher),  # type: ignore[arg-type,return-value]
        firehose_compat="emulator",
        **settings,
    )


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.soak)])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """None: one of the house's own. Over Kafka each process is on another machine, and finds what was staged in the depot."""
    if request.param == "memory":
        yield None
        return
    async with kafka_log(request.getfixturevalue("kafka_url")) as opened:
        yield opened


@contextlib.asynccontextmanager
async def kafka_log(url: str) -> AsyncIterator[Any]:
    opened = await KafkaLog.open(parse(url), clock=ManualClock())
    try:
        yield opened
    finally:
        await opened.close()


async def die(house: House) -> None:
    """The process is gone: nothing it would still do happens."""
    following = house.firehose._book._following
    if following is not None:
        await following.stop()
    for driver in house.firehose._drivers.values():
        with contextlib.suppress(BaseException):
            await driver.stop()
    if house.warm is None:
        await house.firehose._functions.close()
    await house.firehose._assembly._queries.close()
    with contextlib.suppress(BaseException):
        await house.service.close()


def found(house: House) -> Counter[bytes]:
    """How often each record is in an object or in the error output."""
    records: Counter[bytes] = Counter()
    for name, content in house.objects().items():
        lines = content.splitlines()
        if "processing-failed" in name:
            lines = [base64.b64decode(json.loads(line)["rawData"]) for line in lines]
        records.update(lines)
    return records


async def crash_over_and_over(
    house: House,
    crasher: Crasher,
    seed: int,
    rounds: int,
    step: Callable[[random.Random], int],
    *,
    turn_s: float = 0.004,
    pauses: tuple[int, ...] = (1, 30, 61),
    patient: bool = False,
    data: Callable[[int], bytes] = lambda number: b"%06d" % number,
) -> list[bytes]:
    """Puts records, lets time pass, crashes and starts again; answers all records that were acknowledged.

    `patient` lets each put be delivered before the next."""
    randomness = random.Random(seed)
    sent: list[bytes] = []
    crashes = 0
    for number in itertools.count():
        if number >= rounds:
            if crashes > rounds / 5 or turn_s > TURN_S_MAX:
                break
            turn_s *= 2  # a busy machine gets nothing done in a turn: more of them, and longer ones
        crasher.arm(step(randomness))
        try:
            await house.open()
            for _ in range(4 if patient else randomness.randrange(1, 9)):
                records = [data(len(sent) + i) for i in range(randomness.randrange(1, 40))]
                await house.put("air", records)
                sent += records
                for _ in range(100 if patient else randomness.randrange(1, 4)):
                    if not crasher.crashed and (not patient or house.settled() < len(sent)):
                        house.clock.advance(randomness.choice(pauses))
                        await asyncio.sleep(turn_s)
        except Crash:
            pass
        crashes += crasher.crashed
        await die(house)
    assert crashes > rounds / 5, "the test crashes too little to say anything"
    crasher.arm(10**9)
    await house.open()
    house.clock.advance(61)
    (stream,) = house.streams()
    tips = (await house.client.fetch("air", stream.main.positions())).tips
    await house.until(lambda: stream.main.positions() == tips and not stream.main.plans, step_s=20)
    assert not await asyncio.to_thread(house.findings)
    await house.close()
    return sent


async def test_every_record_is_in_exactly_one_object_over_kafka(
    tmp_path: Path, crasher: Crasher, seed: int, kafka_url: str
) -> None:
    """A few rounds of what follows."""
    async with kafka_log(kafka_url) as log:
        house = new_house(tmp_path, crasher, log)
        async with house:
            await house.client.create_stream("air", SHARDS)
            await house.create(kinesis="air", **processing(NEWLINES))
        sent = await crash_over_and_over(house, crasher, seed, 8, lambda r: r.randrange(4, 20), turn_s=0.1)
        assert found(house) == Counter(sent)


@pytest.mark.parametrize("part", range(4))
async def test_every_record_is_in_exactly_one_object(
    tmp_path: Path, crasher: Crasher, seed: int, part: int, log: Any
) -> None:
    house = new_house(tmp_path, crasher, log)
    async with house:
        await house.client.create_stream("air", SHARDS)
        await house.create(kinesis="air", **processing(NEWLINES))
    turn_s = 0.004 if log is None else 0.1
    sent = await crash_over_and_over(house, crasher, seed + part, 30, lambda r: r.randrange(1, 16), turn_s=turn_s)
    assert found(house) == Counter(sent)


@pytest.mark.parametrize("first", range(1, 14))
async def test_each_step_in_turn(tmp_path: Path, crasher: Crasher, seed: int, first: int, log: Any) -> None:
    house = new_house(tmp_path, crasher, log)
    async with house:
        await house.client.create_stream("air", SHARDS)
        await house.create(kinesis="air", **processing(NEWLINES))
    turn_s = 0.004 if log is None else 0.05
    sent = await crash_over_and_over(house, crasher, seed, 5, lambda _: first, patient=True, turn_s=turn_s)
    assert found(house) == Counter(sent)


async def test_also_with_a_function_that_decides_anew_each_time(
    tmp_path: Path, crasher: Crasher, seed: int, monkeypatch: pytest.MonkeyPatch, log: Any
) -> None:
    mark = tmp_path / "dropped"
    mark.touch()
    monkeypatch.setenv("HEADRACE_TEST_MARK", str(mark))
    house = new_house(tmp_path, crasher, log, functions={"f": "tests.firehose.functions:capricious"})
    house.warm = Functions.of(house.settings)
    async with house:
        await house.client.create_stream("air", SHARDS)
        await house.create(
            kinesis="air",
            Prefix="!{partitionKeyFromLambda:key}/",
            ErrorOutputPrefix="processing-failed/!{firehose:error-output-type}/",
            DynamicPartitioningConfiguration={"Enabled": True},
            **processing(function("f"), NEWLINES),
        )
    sent = await crash_over_and_over(
        house, crasher, seed, 20, lambda r: r.randrange(1, 30), turn_s=0.08, pauses=(1, 10, 25)
    )
    await house.warm.close()
    records = found(house)
    assert set(records) <= set(sent)
    assert not [record for record, times in records.items() if times > 1]
    assert set(sent) - set(records) <= set(mark.read_bytes().splitlines())
    assert len(records) > len(sent) / 2


async def test_what_was_delivered_out_of_order_is_left_out_after_a_restart(tmp_path: Path) -> None:
    """Partition a is flushed with records before and after those of partition b, which are still buffered."""
    house = House(tmp_path, functions={"f": "tests.firehose.functions:sort_out"}, firehose_compat="emulator")
    async with house:
        await house.create(
            Prefix="!{partitionKeyFromLambda:kind}/",
            ErrorOutputPrefix="errors/",
            DynamicPartitioningConfiguration={"Enabled": True},
            **processing(function("f"), NEWLINES),
        )
        for record in (b"ka1", b"kb2", b"ka3"):
            await house.put("firehose/flights", [record])
            (driver,) = house.firehose._drivers.values()
            await house.until(lambda r=record, d=driver: _read(d) == int(r[2:]))
            house.clock.advance(25)
        await house.until(house.delivered)
        assert found(house) == Counter([b"ka1", b"ka3"])
    async with house:
        await house.until(lambda: len(house.objects()) == 2, step_s=10)
        await house.pass_time(1000)
        assert found(house) == Counter([b"ka1", b"kb2", b"ka3"])


def _read(driver: Driver) -> int:
    """Records that are in the buffer."""
    buffer = driver._buffer
    return sum(chunk.records for chunk in buffer._chunks.values())
