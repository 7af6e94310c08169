"""The native face: Arrow in and out, marks, waits, checkpoints."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from streams.core.clock import ManualClock
from streams.core.errors import InternalFailure, InvalidArgument, ResourceInUse, ResourceNotFound
from streams.core.records import ProducerMark, Records
from streams.sdk.client import LATEST, TRIM_HORIZON, at_timestamp

A, B = "shardId-000000000000", "shardId-000000000001"


def some(count: int, prefix: str = "key") -> Records:
    return Records.of([f"{prefix}-{number}" for number in range(count)], [b"x"] * count)


async def everything(kinesis: Any, stream: str = "n") -> dict[str, tuple[str, int]]:
    """key → (shard, offset)"""
    fetched = await kinesis.client.fetch(stream, await kinesis.client.find(stream, TRIM_HORIZON))
    return {
        key: (batch.shard, batch.first + place)
        for batch in fetched.batches
        for place, key in enumerate(batch.records.partition_key.to_pylist())
    }


@pytest.mark.parametrize("shards", [1, 4])
async def test_a_receipt_says_where_each_record_went(kinesis: Any, shards: int) -> None:
    await kinesis.client.create_stream("n", shards)
    for prefix in "ab":
        records = some(100, prefix)
        receipt = await kinesis.client.put("n", records)
        assert (receipt.shard.type, receipt.offset.type) == (pa.int32(), pa.int64())
        found = await everything(kinesis)
        for key, shard, offset in zip(
            records.partition_key.to_pylist(), receipt.shard.to_pylist(), receipt.offset.to_pylist(), strict=True
        ):
            assert found[key] == (receipt.shards[shard], offset)
    empty = await kinesis.client.put("n", Records.empty())
    assert (len(empty.shard), len(empty.offset)) == (0, 0)


async def test_streams_are_active_at_once_and_gone_at_once(opened: Callable[..., Any]) -> None:
    kinesis = await opened(create_ms=60_000, delete_ms=60_000)
    await kinesis.client.create_stream("n", 2, retention_hours=48)
    described = await kinesis.client.describe_stream("n")
    assert (described.status, described.retention_hours, len(described.shards)) == ("ACTIVE", 48, 2)
    assert described.shards[0].log == f"streams/{described.id}/{A}"
    with pytest.raises(ResourceInUse):
        await kinesis.client.create_stream("n")
    await kinesis.client.delete_stream("n")
    assert await kinesis.client.list_streams() == []
    with pytest.raises(ResourceNotFound):
        await kinesis.client.describe_stream("n")


@pytest.mark.parametrize("name", ["", "a b", "/a", "a/", "a//b", "é", "n" * 129])
async def test_names_that_no_stream_has(kinesis: Any, name: str) -> None:
    with pytest.raises(InvalidArgument):
        await kinesis.client.create_stream(name)


@pytest.mark.parametrize("arguments", [{"shards": 0}, {"retention_hours": 23}, {"retention_hours": 8761}])
async def test_streams_that_cannot_be(kinesis: Any, arguments: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument):
        await kinesis.client.create_stream("n", **arguments)


@pytest.mark.parametrize(
    "records",
    [
        Records.of([""], [b"x"]),
        Records.of(["k" * 257], [b"x"]),
        Records.of(["k"], [bytes(1 << 20)]),
        Records(pa.array([None], pa.binary()), pa.array(["k"])),
        Records(pa.array([b"x"]), pa.array([None], pa.string())),
    ],
)
async def test_records_that_the_kinesis_api_could_not_carry_are_refused(kinesis: Any, records: Records) -> None:
    await kinesis.client.create_stream("n")
    with pytest.raises(InvalidArgument):
        await kinesis.client.put("n", records)


async def test_a_put_repeated_under_its_mark_appends_what_is_missing(kinesis: Any) -> None:
    await kinesis.client.create_stream("n", 2)
    mark = ProducerMark("me", 1)
    kinesis.log.full = {B}
    with pytest.raises(InternalFailure):
        await kinesis.client.put("n", some(50), mark)
    kinesis.log.full = set()
    receipt = await kinesis.client.put("n", some(50), mark)
    assert len(await everything(kinesis)) == 50
    again = await kinesis.client.put("n", some(50), mark)
    assert again.offset.equals(receipt.offset)
    assert again.shard.equals(receipt.shard)
    fetched = await kinesis.client.fetch("n", await kinesis.client.find("n", TRIM_HORIZON))
    assert sum(map(len, fetched.batches)) == 50


async def test_places_to_start(kinesis: Any, clock: ManualClock) -> None:
    await kinesis.client.create_stream("n")
    await kinesis.client.put("n", some(3))
    clock.advance(10)
    await kinesis.client.put("n", some(2))
    assert await kinesis.client.find("n", TRIM_HORIZON) == {A: 0}
    assert await kinesis.client.find("n", LATEST) == {A: 5}
    assert await kinesis.client.find("n", at_timestamp(clock.now_ms()), (A,)) == {A: 3}
    with pytest.raises(ResourceNotFound):
        await kinesis.client.find("n", LATEST, (B,))


async def test_a_fetch_without_patience_returns_at_once(kinesis: Any) -> None:
    await kinesis.client.create_stream("n", 2)
    fetched = await kinesis.client.fetch("n", {A: 0, B: 0})
    assert (fetched.batches, fetched.ended, dict(fetched.tips)) == ((), (), {A: 0, B: 0})
    with pytest.raises(ResourceNotFound):
        await kinesis.client.fetch("n", {"shardId-000000000009": 0})
    with pytest.raises(InvalidArgument):
        await kinesis.client.fetch("n", {A: -1})


async def waiting(kinesis: Any, positions: dict[str, int], wait_ms: int = 60_000) -> asyncio.Task[Any]:
    """A fetch that has begun to wait."""
    task = asyncio.create_task(kinesis.client.fetch("n", positions, wait_ms=wait_ms))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_a_fetch_waits_for_the_first_record_anywhere(kinesis: Any, clock: ManualClock) -> None:
    await kinesis.client.create_stream("n", 4)
    positions = await kinesis.client.find("n", LATEST)
    before = asyncio.all_tasks()
    task = await waiting(kinesis, positions)
    await kinesis.client.put("n", some(1))
    fetched = await task
    assert [len(batch) for batch in fetched.batches] == [1]
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before, "no task is left behind"


async def test_a_fetch_waits_no_longer_than_asked(kinesis: Any, clock: ManualClock) -> None:
    await kinesis.client.create_stream("n")
    task = await waiting(kinesis, {A: 0}, wait_ms=5000)
    clock.advance(4.9)
    await asyncio.sleep(0)
    assert not task.done()
    clock.advance(0.1)
    assert (await task).batches == ()


async def test_a_cancelled_fetch_leaves_no_task(kinesis: Any) -> None:
    if kinesis.log.shared:
        pytest.skip("a question to a broker that is under way is not taken back")
    await kinesis.client.create_stream("n", 3)
    before = asyncio.all_tasks()
    task = await waiting(kinesis, await kinesis.client.find("n", LATEST))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    gc.collect()
    assert asyncio.all_tasks() == before


async def test_a_reshard_wakes_who_waits(kinesis: Any) -> None:
    await kinesis.client.create_stream("n")
    task = await waiting(kinesis, {A: 0})
    await kinesis.ask("SplitShard", StreamName="n", ShardToSplit="0", NewStartingHashKey="10")
    fetched = await task
    assert (fetched.batches, fetched.ended) == ((), (A,))
    shards = (await kinesis.client.describe_stream("n")).shards
    assert [(shard.end, shard.parents) for shard in shards] == [(0, ()), (None, (A,)), (None, (A,))]


async def test_a_deletion_wakes_who_waits(kinesis: Any) -> None:
    await kinesis.client.create_stream("n")
    task = await waiting(kinesis, {A: 0})
    await kinesis.client.delete_stream("n")
    with pytest.raises(ResourceNotFound):
        await task


async def test_shards_share_the_size_of_a_fetch(kinesis: Any) -> None:
    await kinesis.client.create_stream("n", 2)
    for _ in range(10):
        await kinesis.client.put("n", Records.of([f"k{number}" for number in range(64)], [bytes(1000)] * 64))
    positions = {A: 0, B: 0}
    total = 0
    while True:
        fetched = await kinesis.client.fetch("n", positions, size_max=50_000)
        if not fetched.batches:
            break
        assert sum(batch.records.size for batch in fetched.batches) <= 50_000
        total += sum(map(len, fetched.batches))
        positions |= {batch.shard: batch.next for batch in fetched.batches}
    assert total == 640
    assert positions == dict(fetched.tips)


async def test_checkpoints(kinesis: Any) -> None:
    await kinesis.client.create_stream("n", 2)
    assert await kinesis.client.load_checkpoint("n", "me") == {}
    await kinesis.client.save_checkpoint("n", "me", {A: 3})
    await kinesis.client.save_checkpoint("n", "me", {B: 4})
    await kinesis.restart()
    assert await kinesis.client.load_checkpoint("n", "me") == {A: 3, B: 4}
    assert await kinesis.client.load_checkpoint("n", "other") == {}
    with pytest.raises(InvalidArgument):
        await kinesis.client.save_checkpoint("n", "me", {A: -1})
    with pytest.raises(InvalidArgument):
        await kinesis.client.save_checkpoint("n", "", {A: 1})
    await kinesis.client.delete_stream("n")
    await kinesis.client.create_stream("n", 2)
    assert await kinesis.client.load_checkpoint("n", "me") == {}, "another stream under an old name"
    with pytest.raises(ResourceNotFound):
        await kinesis.client.load_checkpoint("m", "me")


async def test_hidden_streams_take_records(kinesis: Any) -> None:
    await kinesis.client.create_stream("firehose/d")
    await kinesis.client.put("firehose/d", some(3))
    assert len(await everything(kinesis, "firehose/d")) == 3
