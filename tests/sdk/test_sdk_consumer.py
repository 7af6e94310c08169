"""Consumer: every record of the stream, each shard in order, through reshards, stops and crashes."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

from streams.core.clock import ManualClock
from streams.core.errors import ResourceNotFound, ServiceUnavailable, ValidationError
from streams.core.records import Batch, Records
from streams.log.memory import MemoryLog
from streams.sdk.client import LATEST, TRIM_HORIZON, Client, Fetch, at_timestamp
from streams.sdk.consumer import Consumer
from streams.sdk.local import LocalClient
from streams.sdk.producer import Producer
from streams.service import Service
from tests.sdk.conftest import HastyClock, operate, until


class Counting:
    """A client that counts fetches, and fails as often as told."""

    def __init__(self, client: Client, error: Exception | None = None, times: int = 0) -> None:
        self._client = client
        self._error = error
        self._left = times
        self.fetches = 0

    async def fetch(self, stream: str, positions: Mapping[str, int], *, size_max: int = 0, wait_ms: int = 0) -> Fetch:
        self.fetches += 1
        if self._left > 0:
            self._left -= 1
            assert self._error is not None
            raise self._error
        return await self._client.fetch(stream, positions, size_max=size_max, wait_ms=wait_ms)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


async def put(client: Client, stream: str, *data: str, key: str = "k") -> None:
    await client.put(stream, Records.of([key] * len(data), [text.encode() for text in data]))


async def take(consumer: Consumer, count: int) -> list[str]:
    """The next `count` records: a batch brings all or none of what is asked for."""
    found: list[str] = []
    while len(found) < count:
        found += [data.decode() for data in (await anext(consumer)).records.data.to_pylist()]
    assert len(found) == count
    return found


async def test_batches_of_all_shards_come_as_they_are_put(client: Client) -> None:
    await client.create_stream("s", 4)
    keys = [f"key{index}" for index in range(50)]
    async with Consumer(client, "s") as consumer:
        for data in ("eins", "zwei", "drei"):
            await client.put("s", Records.of(keys, [data.encode()] * 50))
            assert await take(consumer, 50) == [data] * 50
        assert sum(consumer.positions.values()) == 150
        assert consumer.tips == consumer.positions


async def test_where_to_start(client: Client) -> None:
    await client.create_stream("s")
    await put(client, "s", "old")
    latest = Consumer(client, "s", start=LATEST)
    horizon = Consumer(client, "s", start=TRIM_HORIZON)
    past = Consumer(client, "s", start=at_timestamp(0))
    given = Consumer(client, "s", positions={"shardId-000000000000": 1})
    async with latest, horizon, past, given:
        await put(client, "s", "new")
        assert await take(latest, 1) == ["new"]
        assert await take(given, 1) == ["new"]
        assert await take(horizon, 2) == ["old", "new"]
        assert await take(past, 2) == ["old", "new"]


async def test_an_idle_consumer_waits_without_asking_again() -> None:
    """Time stands still, so nothing that polls would ever ask again; a record is seen all the same."""
    clock = ManualClock()
    log = MemoryLog(clock)
    service = Service(log, clock=clock)
    await service.open()
    client = Counting(LocalClient(service))
    await client.create_stream("s", 3)
    async with Consumer(client, "s", clock=clock) as consumer:
        waiting = asyncio.create_task(take(consumer, 1))
        for _ in range(100):
            await asyncio.sleep(0)
        assert client.fetches == 1
        await put(client, "s", "wakes")
        assert await waiting == ["wakes"]
        assert client.fetches <= 2
    await service.close()
    await log.close()


async def test_a_named_consumer_goes_on_where_its_checkpoint_was(client: Client) -> None:
    await client.create_stream("s")
    await put(client, "s", "a")
    async with Consumer(client, "s", name="report") as consumer:
        assert await take(consumer, 1) == ["a"]
        await consumer.checkpoint()
        await put(client, "s", "b")
        assert await take(consumer, 1) == ["b"]
    async with Consumer(client, "s", name="report") as consumer:
        assert await take(consumer, 1) == ["b"], "what came after the checkpoint comes again"
    async with Consumer(client, "s", name="other") as consumer:
        assert await take(consumer, 2) == ["a", "b"]


async def test_a_new_name_that_starts_at_the_latest_misses_nothing_from_then_on(client: Client) -> None:
    await client.create_stream("s", 2)
    await put(client, "s", "before", key="a")
    async with Consumer(client, "s", name="n", start=LATEST):
        pass
    await put(client, "s", "between", key="a")
    async with Consumer(client, "s", name="n", start=LATEST) as consumer:
        assert await take(consumer, 1) == ["between"]


async def test_asking_for_the_next_batch_checkpoints_the_one_before(client: Client) -> None:
    await client.create_stream("s")
    clock = ManualClock()
    async with Consumer(client, "s", name="n", auto_checkpoint_s=10, clock=clock) as consumer:
        await put(client, "s", "a")
        await take(consumer, 1)
        await put(client, "s", "b")
        await take(consumer, 1)
        assert await client.load_checkpoint("s", "n") == {"shardId-000000000000": 0}
        clock.advance(10)
        await put(client, "s", "c")
        await take(consumer, 1)
        assert await client.load_checkpoint("s", "n") == {"shardId-000000000000": 2}


async def test_an_idle_consumer_checkpoints_when_it_is_time(client: Client) -> None:
    await client.create_stream("s")
    clock = ManualClock()

    async def saved() -> bool:
        return await client.load_checkpoint("s", "n") == {"shardId-000000000000": 1}

    async with Consumer(client, "s", name="n", auto_checkpoint_s=10, clock=clock) as consumer:
        await put(client, "s", "a")
        await take(consumer, 1)
        waiting = asyncio.create_task(take(consumer, 1))
        await until(lambda: clock.sleeping == 1)
        clock.advance(10)
        await until(saved)
        consumer.stop()
        with pytest.raises(StopAsyncIteration):
            await waiting


async def test_stop_ends_the_iteration_and_saves_what_is_done(client: Client) -> None:
    await client.create_stream("s")
    await put(client, "s", "a")
    seen = []
    async with Consumer(client, "s", name="n", auto_checkpoint_s=3600) as consumer:
        async for batch in consumer:
            seen += batch.records.data.to_pylist()
            consumer.stop()
    assert seen == [b"a"]
    assert await client.load_checkpoint("s", "n") == {"shardId-000000000000": 1}


async def test_parents_come_before_children_through_splits_and_merges(
    client: Client, service: Service, seed: int
) -> None:
    await client.create_stream("s", 2)
    choose = random.Random(seed)
    expected: dict[str, list[int]] = defaultdict(list)
    found: dict[str, list[int]] = defaultdict(list)
    total = 0

    async def pour(count: int) -> None:
        nonlocal total
        async with Producer(client, "s", batch_count_max=9) as producer:
            for _ in range(count):
                key = f"key{choose.randrange(20)}"
                expected[key].append(total)
                await producer.put(b"%d" % total, key)
                total += 1

    async def drink(consumer: Consumer, until: int) -> None:
        while sum(map(len, found.values())) < until:
            note(await anext(consumer))

    def note(batch: Batch) -> None:
        for key, data in zip(batch.records.partition_key.to_pylist(), batch.records.data.to_pylist(), strict=True):
            found[key].append(int(data))

    async with Consumer(client, "s", size_max=200) as consumer:
        await pour(100)
        await operate(
            service, "SplitShard", StreamName="s", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126)
        )
        await pour(100)
        await drink(consumer, 150)
        await operate(
            service,
            "MergeShards",
            StreamName="s",
            ShardToMerge="shardId-000000000003",
            AdjacentShardToMerge="shardId-000000000001",
        )
        await pour(100)
        await drink(consumer, 300)
        drinking = asyncio.create_task(drink(consumer, 350))
        await asyncio.sleep(0)
        await operate(
            service,
            "MergeShards",
            StreamName="s",
            ShardToMerge="shardId-000000000002",
            AdjacentShardToMerge="shardId-000000000004",
        )
        await pour(50)
        await asyncio.wait_for(drinking, 60)
    assert found == expected


@pytest.mark.parametrize("crashes", [5])
async def test_killed_at_any_moment_it_repeats_but_never_misses(
    client: Client, service: Service, seed: int, crashes: int
) -> None:
    await client.create_stream("s", 2)
    choose = random.Random(seed)
    for index in range(200):
        await put(client, "s", str(index), key=f"key{index % 10}")
        if index == 80:
            await operate(
                service,
                "SplitShard",
                StreamName="s",
                ShardToSplit="shardId-000000000001",
                NewStartingHashKey=str(3 * 2**126),
            )
    durable: set[int] = set()
    effects: list[int] = []
    while len(durable) < 200:
        async with Consumer(client, "s", name="n", size_max=60) as consumer:
            for _ in range(choose.randrange(1, 30)):
                if len(set(effects)) == 200:
                    break
                effects += map(int, (await anext(consumer)).records.data.to_pylist())
                if choose.random() < 0.5:
                    await consumer.checkpoint()
                    durable = set(effects)
            if len(set(effects)) == 200:
                break
    assert set(effects) == set(range(200))


async def test_records_that_retention_took_are_missed_aloud(
    client: Client, log: MemoryLog, caplog: pytest.LogCaptureFixture
) -> None:
    await client.create_stream("s")
    await put(client, "s", "a", "b", "c")
    shard = (await client.describe_stream("s")).shards[0]
    await log.trim(shard.log, 2)
    with caplog.at_level(logging.WARNING):
        async with Consumer(client, "s", positions={shard.id: 0}) as consumer:
            assert await take(consumer, 1) == ["c"]
    assert "records 0 to 1 passed out of retention before they were read (2 lost)" in caplog.text


async def test_a_server_that_is_away_is_waited_for(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    await client.create_stream("s")
    await put(client, "s", "a")
    away = Counting(client, ServiceUnavailable("restarting"), 3)
    async with Consumer(away, "s", clock=HastyClock()) as consumer:
        assert await take(consumer, 1) == ["a"]
    assert caplog.text.count("does not answer") == 3


async def test_an_error_that_stays_ends_the_iteration(client: Client) -> None:
    await client.create_stream("s")
    async with Consumer(client, "s") as consumer:
        waiting = asyncio.create_task(take(consumer, 1))
        await asyncio.sleep(0)
        await client.delete_stream("s")
        with pytest.raises(ResourceNotFound):
            await waiting
        with pytest.raises(ResourceNotFound):
            await anext(consumer)


async def test_an_unknown_stream(client: Client) -> None:
    with pytest.raises(ResourceNotFound):
        await anext(Consumer(client, "nowhere"))


async def test_it_fetches_one_ahead_and_no_further(client: Client) -> None:
    """A stopped consumer costs disk, never memory."""
    await client.create_stream("s")
    for _ in range(50):
        await client.put("s", Records.of(["k"] * 10, [bytes(100)] * 10))
    counting = Counting(client)
    async with Consumer(counting, "s", size_max=1000) as consumer:
        await anext(consumer)
        for _ in range(200):
            await asyncio.sleep(0)
        assert counting.fetches <= 3


async def test_a_cancelled_wait_loses_nothing(client: Client) -> None:
    await client.create_stream("s")
    async with Consumer(client, "s") as consumer:
        waiting = asyncio.create_task(take(consumer, 1))
        await asyncio.sleep(0)
        waiting.cancel()
        await put(client, "s", "a")
        assert await take(consumer, 1) == ["a"]


async def test_a_shard_that_aged_out_whole_is_missed_aloud(caplog: pytest.LogCaptureFixture) -> None:
    """Its children are read all the same."""
    clock = ManualClock()
    log = MemoryLog(clock)
    service = Service(log, clock=clock)
    await service.open()
    client = LocalClient(service)
    await client.create_stream("s")
    await put(client, "s", *"0123456789")
    async with Consumer(client, "s", size_max=1, clock=clock) as consumer:
        assert await take(consumer, 1) == ["0"]
        await operate(
            service, "SplitShard", StreamName="s", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127)
        )
        clock.advance(25 * 3600)
        await put(client, "s", "young")
        seen = [""]
        while seen[-1] != "young":
            seen += await take(consumer, 1)
    assert len(seen) < 9
    assert "passed out of retention whole" in caplog.text
    await service.close()
    await log.close()


async def test_a_checkpoint_without_a_name_is_refused(client: Client) -> None:
    with pytest.raises(ValidationError, match="a checkpoint needs a name"):
        Consumer(client, "orders", auto_checkpoint_s=1)
    with pytest.raises(ValidationError, match="a checkpoint needs a name"):
        await Consumer(client, "orders").checkpoint()
