"""Several processes over one log: their catalogs agree, and nothing that one acknowledged is lost by what another does."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from streams.control.controller import Controller
from streams.control.events import encode
from streams.core.clock import ManualClock
from streams.core.errors import InternalFailure, RequestError, ResourceInUse
from streams.core.records import Batch, ProducerMark, Records
from streams.core.settings import Settings
from streams.log.log import Appends
from streams.log.memory import MemoryLog
from streams.operations.holding import HOLD_MS
from tests.operations.conftest import Kinesis

SHARD_0 = "shardId-000000000000"
MIDDLE = str(2**127)

Opener = Callable[[], Awaitable[Kinesis]]


class SharedLog(MemoryLog):
    """A log that several processes work on: each call takes some turns of the event loop, as over a network."""

    shared = True

    def __init__(self, clock: ManualClock, randomness: random.Random) -> None:
        super().__init__(clock)
        self._randomness = randomness

    async def append(
        self, shard: str, records: Records, mark: ProducerMark | None = None, *, packed: bool = False
    ) -> int:
        await self._travel()
        first = await super().append(shard, records, mark)
        await self._travel()
        return first

    def append_each(
        self, shards: Sequence[str], ends: Sequence[int], records: Records, *, packed: bool = False
    ) -> asyncio.Future[Appends]:
        return super().append_each(shards, ends, records)

    async def bounds(self, shard: str) -> tuple[int, int]:
        await self._travel()
        found = await super().bounds(shard)
        await self._travel()
        return found

    async def read(self, shard: str, offset: int, size_max: int) -> Batch:
        await self._travel()
        return await super().read(shard, offset, size_max)

    async def close(self) -> None:
        """It outlives each of the processes."""

    async def _travel(self) -> None:
        for _ in range(self._randomness.choice([0, 0, 1, 3, 10, 40])):
            await asyncio.sleep(0)


class Numbered(Kinesis):
    """A process whose randomness is its own."""

    def __init__(self, number: int, clock: ManualClock, log: SharedLog) -> None:
        async def open_log() -> SharedLog:
            return log

        super().__init__(clock, Settings(), open_log)
        self._random = random.Random(number)

    def random(self, size: int) -> bytes:
        return self._random.randbytes(size)

    @property
    def controller(self) -> Controller:
        return self.service._controller

    def state(self) -> bytes:
        return encode(self.controller.catalog.snapshot())


@pytest.fixture
async def process(clock: ManualClock, seed: int) -> AsyncIterator[Callable[[], Awaitable[Numbered]]]:
    """Opens one more process over the log."""
    log = SharedLog(clock, random.Random(seed))
    started: list[Numbered] = []

    async def start() -> Numbered:
        one = Numbered(len(started), clock, log)
        await one.open()
        started.append(one)
        return one

    yield start
    for one in started:
        await one.close()


async def agreed(*processes: Numbered) -> bytes:
    """The one state that all of them have."""
    for one in processes:
        await one.controller.current()
    states = {one.state() for one in processes}
    assert len(states) == 1, "their catalogs differ"
    return states.pop()


async def everything(kinesis: Kinesis, stream: str = "s") -> list[str]:
    """The partition keys of all records, read from all shards."""
    found = []
    shards = (await kinesis.ask("ListShards", StreamName=stream))["Shards"]
    for shard in shards:
        iterator: str | None = await kinesis.iterator(shard=shard["ShardId"], stream=stream)
        while iterator is not None:
            reply = await kinesis.ask("GetRecords", ShardIterator=iterator)
            found += [record["PartitionKey"] for record in reply["Records"]]
            iterator = reply.get("NextShardIterator") if reply["MillisBehindLatest"] or reply["Records"] else None
    return found


async def outcome(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except RequestError as error:
        return error


async def test_what_one_creates_all_know_at_once(process: Opener) -> None:
    one, other = await process(), await process()
    await one.ask("CreateStream", StreamName="s", ShardCount=2)
    assert len((await other.ask("DescribeStream", StreamName="s"))["StreamDescription"]["Shards"]) == 2
    numbers = await other.put("a", "b")
    assert len(numbers) == 2
    assert sorted(await everything(one)) == ["a", "b"]
    await other.ask("DeleteStream", StreamName="s")
    assert isinstance(await outcome(one.ask("PutRecord", StreamName="s", PartitionKey="c", Data=b"")), RequestError)


async def test_of_two_that_create_the_same_stream_one_does(process: Any) -> None:
    processes = [await process() for _ in range(4)]
    outcomes = await asyncio.gather(
        *(outcome(one.ask("CreateStream", StreamName="s", ShardCount=1)) for one in processes)
    )
    assert Counter(type(one) for one in outcomes) == {type(None): 1, ResourceInUse: 3}
    await agreed(*processes)


async def test_all_create_side_by_side(process: Any) -> None:
    processes = [await process() for _ in range(4)]
    names = [f"s{number}" for number in range(20)]
    await asyncio.gather(
        *(processes[number % 4].ask("CreateStream", StreamName=name, ShardCount=1) for number, name in enumerate(names))
    )
    assert (await processes[0].ask("ListStreams"))["StreamNames"] == sorted(names)
    await agreed(*processes)


async def test_of_two_that_split_the_same_shard_one_does(process: Any) -> None:
    one, other = await process(), await process()
    await one.ask("CreateStream", StreamName="s", ShardCount=1)
    split = {"StreamName": "s", "ShardToSplit": SHARD_0, "NewStartingHashKey": MIDDLE}
    outcomes = await asyncio.gather(*(outcome(each.ask("SplitShard", **split)) for each in (one, other)))
    assert sum(reply is None for reply in outcomes) == 1, outcomes
    assert len((await one.ask("ListShards", StreamName="s"))["Shards"]) == 3
    await agreed(one, other)


async def test_puts_through_all_while_all_split_and_merge(process: Any, seed: int) -> None:
    """Every record that was acknowledged is there, once; every other one is not there."""
    processes = [await process() for _ in range(3)]
    await processes[0].ask("CreateStream", StreamName="s", ShardCount=2)
    randomness = random.Random(seed)
    acknowledged: list[str] = []

    async def put(who: int) -> None:
        for turn in itertools.count():
            if all(task.done() for task in resharding):
                return
            keys = [f"{who}.{turn}.{record}" for record in range(randomness.randrange(1, 5))]
            records = [{"PartitionKey": key, "Data": b"x"} for key in keys]
            reply = await processes[who].ask("PutRecords", StreamName="s", Records=records)
            for key, entry in zip(keys, reply["Records"], strict=True):
                if "ErrorCode" in entry:
                    assert entry["ErrorCode"] == "InternalFailure"
                else:
                    acknowledged.append(key)

    async def reshard(who: int) -> None:
        for _ in range(5):
            shards = (await processes[who].ask("DescribeStreamSummary", StreamName="s"))["StreamDescriptionSummary"]
            target = shards["OpenShardCount"] + randomness.choice([1, -1])
            await outcome(
                processes[who].ask(
                    "UpdateShardCount", StreamName="s", TargetShardCount=max(1, target), ScalingType="UNIFORM_SCALING"
                )
            )

    resharding = [asyncio.create_task(reshard(who)) for who in range(3)]
    await asyncio.gather(*(put(who) for who in range(3)), *resharding)
    await agreed(*processes)
    for one in processes:
        assert Counter(await everything(one)) == Counter(acknowledged)


async def test_a_record_that_lands_behind_the_end_of_its_shard_is_none(process: Any) -> None:
    one, other = await process(), await process()
    await one.ask("CreateStream", StreamName="s", ShardCount=1)
    await other.put("before")
    other.log.held = asyncio.Event()
    late = asyncio.create_task(other.put("late"))
    await asyncio.sleep(0.01)
    await one.ask("SplitShard", StreamName="s", ShardToSplit=SHARD_0, NewStartingHashKey=MIDDLE)
    other.log.held.set()
    with pytest.raises(KeyError, match="SequenceNumber"):
        await late
    other.log.held = None
    await other.put("after")
    for each in (one, other):
        assert sorted(await everything(each)) == ["after", "before"]


async def test_a_marked_put_that_lands_behind_an_end_is_put_again_once(process: Any) -> None:
    one, other = await process(), await process()
    await one.client.create_stream("s")
    other.log.held = asyncio.Event()
    records, mark = Records.of(["a"], [b"1"]), ProducerMark("p", 1)
    late = asyncio.create_task(other.client.put("s", records, mark=mark))
    await asyncio.sleep(0.01)
    await one.ask("SplitShard", StreamName="s", ShardToSplit=SHARD_0, NewStartingHashKey=MIDDLE)
    other.log.held.set()
    with pytest.raises(InternalFailure, match="ended at 0 while"):
        await late
    other.log.held = None
    for _ in range(2):
        await other.client.put("s", records, mark=mark)
    assert await everything(one) == ["a"]


async def test_who_dies_in_a_split_holds_others_up_for_so_long_and_not_longer(process: Any, clock: ManualClock) -> None:
    one, other = await process(), await process()
    await one.ask("CreateStream", StreamName="s", ShardCount=1)
    await other.put("a")
    holding = one.service._context.holding
    stream = one.controller.catalog.streams[next(iter(one.controller.catalog.streams))]
    dead = holding.hold(stream.id)
    await dead.__aenter__()  # and never left
    await other.controller.current()
    put = asyncio.create_task(other.put("b"))
    split = asyncio.create_task(
        other.ask("SplitShard", StreamName="s", ShardToSplit=SHARD_0, NewStartingHashKey=MIDDLE)
    )
    await asyncio.sleep(0.01)
    clock.advance(HOLD_MS / 1000 - 0.001)
    await asyncio.sleep(0.01)
    assert not put.done()
    assert not split.done()
    clock.advance(0.001)
    await asyncio.wait_for(asyncio.gather(put, split), 60)
    with pytest.raises(InternalFailure, match="not be changed in time"):
        holding.check(stream.id)
    assert sorted(await everything(other)) == ["a", "b"]


async def test_who_was_away_while_the_journal_was_shortened_starts_from_the_snapshot(
    process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.control.controller.SNAPSHOT_EVENTS", 5)
    one, other = await process(), await process()
    await other.controller.following.stop()
    for number in range(23):
        await one.ask("CreateStream", StreamName=f"s{number}", ShardCount=1)
    first, _ = await one.log.bounds("control/catalog")
    assert first > other.controller.position
    late = await process()
    await agreed(one, other, late)
    await asyncio.gather(*(each.ask("DeleteStream", StreamName="s1") for each in (one,)))
    await agreed(one, other, late)


async def test_positions_that_one_saves_another_loads(process: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.control.checkpoints.SNAPSHOT_EVENTS", 7)
    one, other = await process(), await process()
    await one.client.create_stream("s", 2)
    for number in range(20):
        saver, reader = (one, other) if number % 2 else (other, one)
        await saver.client.save_checkpoint("s", "me", {f"shardId-{number % 2:012d}": number})
        assert (await reader.client.load_checkpoint("s", "me"))[f"shardId-{number % 2:012d}"] == number
    assert await (await process()).client.load_checkpoint("s", "me") == {
        "shardId-000000000000": 18,
        "shardId-000000000001": 19,
    }


async def test_shards_that_another_is_about_to_own_are_not_dropped(process: Any, clock: ManualClock) -> None:
    one, other = await process(), await process()
    await one.log.create("streams/coming-soon/shardId-000000000000")
    await other.service._context.drop_orphans()
    assert await one.log.shards() != []
    names = [name for name in await one.log.shards() if name.startswith("streams/")]
    assert names == ["streams/coming-soon/shardId-000000000000"]
    clock.advance(700)
    await other.service._context.drop_orphans()
    assert [name for name in await one.log.shards() if name.startswith("streams/")] == []


async def test_a_stream_that_one_deletes_wakes_who_waits_at_another(process: Any) -> None:
    one, other = await process(), await process()
    await one.client.create_stream("s")
    waiting = asyncio.create_task(other.client.fetch("s", {SHARD_0: 0}, wait_ms=60_000))
    await asyncio.sleep(0.01)
    await one.client.delete_stream("s")
    assert isinstance(await asyncio.wait_for(outcome(waiting), 60), RequestError)
