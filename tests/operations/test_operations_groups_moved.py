"""Consumer groups whose log changes its form: one coordinator for all, one for each part of the work, and back."""

from __future__ import annotations

from streams.core.clock import ManualClock
from streams.core.work import ALONE, part_of
from streams.groups.coordinator import JOURNAL, Coordinator, Progress, ShardSeen
from streams.groups.registry import Coordinators
from streams.log.memory import MemoryLog
from tests.control.test_control_shared_journal import SharedLog

STREAMS = [f"stream{number}" for number in range(6)]


class View:
    """A stream of two shards."""

    def __init__(self, stream_id: str) -> None:
        self.id = self.name = stream_id

    def shards(self) -> list[ShardSeen]:
        return [ShardSeen(0, (), None), ShardSeen(1, (), None)]

    async def change(self) -> None:
        raise AssertionError


async def read_some(coordinator: Coordinator, stream: str) -> None:
    """A group has read up to 5 and 7, and works on up to 9."""
    await coordinator.found(stream, "g", {0: 1, 1: 2})
    leases = await coordinator.sync(View(stream), "g", "m", {}, 10_000, 0)
    await coordinator.save(
        View(stream), "g", "m", {0: Progress(leases[0].generation, 5, 9), 1: Progress(leases[1].generation, 7)}
    )


async def check(coordinator: Coordinator, stream: str) -> None:
    assert coordinator.knows(stream, "g")
    leases = await coordinator.sync(View(stream), "g", "another", {}, 10_000, 0)
    assert [(one.position, one.intent) for one in leases.values()] == [(5, 9), (7, None)]
    assert min(one.generation for one in leases.values()) > 2, "a lease of then is not one of now"


async def test_groups_of_one_coordinator_go_on_in_many_and_back() -> None:
    clock, log = ManualClock(), SharedLog()
    before = await Coordinator.open(log, clock)
    for stream in STREAMS:
        await read_some(before, stream)
    await before.close()
    many = Coordinators(log, clock, ALONE)
    for stream in STREAMS:
        await check(await many.of(stream), stream)
    forgotten = await many.of(STREAMS[0])
    await forgotten.forget(View(STREAMS[0]), "g")
    await many.close()
    again = Coordinators(log, clock, ALONE)
    assert not (await again.of(STREAMS[0])).knows(STREAMS[0], "g"), "it is not found in the old journal again"
    await again.close()


async def test_groups_of_many_coordinators_go_on_in_one() -> None:
    """As after a copy from Kafka into a folder."""
    clock, log = ManualClock(), SharedLog()
    many = Coordinators(log, clock, ALONE)
    for stream in STREAMS:
        await read_some(await many.of(stream), stream)
    assert len({part_of(f"groups {stream}") for stream in STREAMS}) > 1
    await many.close()
    log.shared = False  # type: ignore[misc]
    assert isinstance(log, MemoryLog)
    one = Coordinators(log, clock, ALONE)
    await one.open()
    for stream in STREAMS:
        await check(await one.of(stream), stream)
    await one.close()
    assert JOURNAL in await log.shards()
