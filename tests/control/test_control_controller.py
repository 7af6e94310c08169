"""The controller over a real log: what is committed is there after a restart, and nothing else."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from streams.control import controller as module
from streams.control import decisions
from streams.control.checkpoints import Checkpoints
from streams.control.controller import Controller
from streams.control.decisions import NewStream
from streams.control.events import encode
from streams.core.clock import ManualClock
from streams.core.errors import LogFull, ResourceInUse
from streams.core.records import ProducerMark, Records
from streams.core.scope import Scope
from streams.log.memory import MemoryLog

SCOPE = Scope()


class FullLog(MemoryLog):
    """A disk that refuses writes while `full`."""

    full = False

    async def append(self, shard: str, records: Records, mark: ProducerMark | None = None) -> int:
        if self.full:
            raise LogFull("no space left")
        return await super().append(shard, records, mark)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def log(clock: ManualClock) -> FullLog:
    return FullLog(clock)


async def nothing() -> None:
    """No other process."""


async def opened(log: MemoryLog, clock: ManualClock) -> Controller:
    controller = Controller(log, clock, lambda size: b"k" * size)
    await controller.open()
    return controller


async def create(controller: Controller, name: str, id: str | None = None) -> None:
    new = NewStream(scope=SCOPE, name=name, id=id or f"{name:x<20}-abc")
    await controller.execute(partial(decisions.create_stream, new=new, create_ms=0, shards_max=10_000))


def state(controller: Controller) -> bytes:
    return encode(controller.catalog.snapshot())


async def test_a_restart_replays(log: FullLog, clock: ManualClock) -> None:
    controller = await opened(log, clock)
    for name in "abc":
        await create(controller, name)
    restarted = await opened(log, clock)
    assert state(restarted) == state(controller)
    assert restarted.catalog.key == b"k" * 32


async def test_a_snapshot_bounds_the_replay(log: FullLog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SNAPSHOT_EVENTS", 5)
    controller = await opened(log, clock)
    for number in range(23):
        await create(controller, f"s{number}")
        assert state(await opened(log, clock)) == state(controller)
    first, following = await log.bounds(module.JOURNAL)
    assert following - first <= 5


async def test_what_cannot_be_committed_has_not_happened(log: FullLog, clock: ManualClock) -> None:
    controller = await opened(log, clock)
    log.full = True
    with pytest.raises(LogFull):
        await create(controller, "a")
    log.full = False
    assert not controller.catalog.streams
    await create(controller, "a")
    assert state(await opened(log, clock)) == state(controller)


async def test_a_snapshot_that_does_not_fit_fails_nobody(
    log: FullLog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SNAPSHOT_EVENTS", 2)
    controller = await opened(log, clock)

    async def refuse(state: bytes) -> None:
        raise LogFull("no space left")

    monkeypatch.setattr(controller._journal, "snapshot", refuse)
    for name in "abc":
        await create(controller, name)
    assert state(await opened(log, clock)) == state(controller)


async def test_of_concurrent_creations_of_one_name_one_wins(log: FullLog, clock: ManualClock) -> None:
    controller = await opened(log, clock)
    results = await asyncio.gather(
        *(create(controller, "same", f"{number:020d}-abc") for number in range(20)), return_exceptions=True
    )
    assert results.count(None) == 1
    assert all(result is None or isinstance(result, ResourceInUse) for result in results)
    assert state(await opened(log, clock)) == state(controller)


async def test_a_caller_that_goes_away_leaves_no_half_operation(log: FullLog, clock: ManualClock) -> None:
    controller = await opened(log, clock)
    for steps in range(8):
        task = asyncio.create_task(create(controller, f"s{steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await controller.close()
    assert state(await opened(log, clock)) == state(controller)


async def test_checkpoints_survive_a_restart(log: FullLog) -> None:
    checkpoints = Checkpoints(log, lambda stream: True, nothing)
    await checkpoints.open()
    await checkpoints.save("s", "me", {"shardId-000000000000": 5, "shardId-000000000001": 7})
    await checkpoints.save("s", "me", {"shardId-000000000000": 9})
    await checkpoints.save("s", "other", {"shardId-000000000000": 1})
    assert await checkpoints.load("s", "nobody") == {}
    restarted = Checkpoints(log, lambda stream: True, nothing)
    await restarted.open()
    assert await restarted.load("s", "me") == {"shardId-000000000000": 9, "shardId-000000000001": 7}
    assert await restarted.load("s", "other") == {"shardId-000000000000": 1}


async def test_checkpoints_of_streams_that_are_gone_are_forgotten(
    log: FullLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.control.checkpoints.SNAPSHOT_EVENTS", 3)
    gone: set[str] = set()
    checkpoints = Checkpoints(log, lambda stream: stream not in gone, nothing)
    await checkpoints.open()
    for number in range(10):
        await checkpoints.save(f"s{number % 2}", "me", {"shardId-000000000000": number})
        gone = {"s1"} if number > 5 else set()
    restarted = Checkpoints(log, lambda stream: True, nothing)
    await restarted.open()
    assert await restarted.load("s0", "me") == {"shardId-000000000000": 8}
    first, following = await log.bounds("control/checkpoints")
    assert following - first <= 3


async def test_a_checkpoint_that_is_not_durable_is_not_seen(log: FullLog) -> None:
    checkpoints = Checkpoints(log, lambda stream: True, nothing)
    await checkpoints.open()
    log.full = True
    with pytest.raises(LogFull):
        await checkpoints.save("s", "me", {"shardId-000000000000": 5})
    assert await checkpoints.load("s", "me") == {}
