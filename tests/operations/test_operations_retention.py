from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from streams.core.clock import ManualClock
from streams.core.errors import ResourceNotFound
from streams.sdk.client import TRIM_HORIZON, at_timestamp

HOUR = 3600
SHARD = "shardId-000000000000"


async def settle(clock: ManualClock) -> None:
    """Returns when the janitor sleeps."""
    while clock.sleeping == 0:  # noqa: ASYNC110 - the engine works in a thread of its own, and nothing tells when it is done
        await asyncio.sleep(0)


async def test_records_older_than_the_retention_are_hidden_before_they_are_trimmed(
    opened: Callable[..., Any], clock: ManualClock
) -> None:
    kinesis = await opened(retention_check_s=1e9)
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    number = (await kinesis.put("old", "old"))[0]
    clock.advance(HOUR)
    await kinesis.put("young")
    stale = await kinesis.iterator()
    clock.advance(23 * HOUR)
    assert await kinesis.read(await kinesis.iterator()) == ["old", "old", "young"], "exactly 24 hours old"
    clock.advance(0.001)
    assert await kinesis.read(await kinesis.iterator()) == ["young"]
    assert await kinesis.read(await kinesis.iterator("AT_TIMESTAMP", Timestamp=1_700_000_000)) == ["young"]
    at = await kinesis.iterator("AT_SEQUENCE_NUMBER", StartingSequenceNumber=number)
    assert await kinesis.read(at) == ["young"]
    assert stale is not None
    found = await kinesis.client.find("s", TRIM_HORIZON)
    assert found == {SHARD: 2} == await kinesis.client.find("s", at_timestamp(0))
    fetched = await kinesis.client.fetch("s", {SHARD: 0})
    assert [(batch.first, batch.next) for batch in fetched.batches] == [(2, 3)]
    clock.advance(HOUR)
    reply = await kinesis.ask("GetRecords", ShardIterator=await kinesis.iterator())
    assert reply["Records"] == []
    assert (await kinesis.client.fetch("s", {SHARD: 0})).batches == ()


async def test_the_janitor_trims(opened: Callable[..., Any], clock: ManualClock) -> None:
    kinesis = await opened(retention_check_s=60)
    await settle(clock)
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    await kinesis.put("old")
    clock.advance(HOUR)
    await settle(clock)
    await kinesis.put("young")
    (name,) = [name for name in await kinesis.log.shards() if name.startswith("streams/")]
    assert await kinesis.log.bounds(name) == (0, 2)
    clock.advance(23.5 * HOUR)
    await settle(clock)
    assert await kinesis.log.bounds(name) == (1, 2)
    assert await kinesis.read(await kinesis.iterator()) == ["young"]


async def test_closed_shards_disappear_with_their_last_record(opened: Callable[..., Any], clock: ManualClock) -> None:
    kinesis = await opened(retention_check_s=60)
    await settle(clock)
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    await kinesis.put("a")
    await kinesis.ask("SplitShard", StreamName="s", ShardToSplit="0", NewStartingHashKey=str(2**127))
    iterator = await kinesis.iterator()
    clock.advance(200)
    following = (await kinesis.ask("GetRecords", ShardIterator=iterator, Limit=10)).get("NextShardIterator")
    assert following is None
    clock.advance(24 * HOUR)
    shards = (await kinesis.ask("ListShards", StreamName="s"))["Shards"]
    assert [shard["ShardId"][-1] for shard in shards] == ["1", "2"], "by the time, whoever has swept"
    with pytest.raises(ResourceNotFound):
        await kinesis.iterator(shard="0")
    assert (await kinesis.client.fetch("s", {SHARD: 1})).ended == (SHARD,)
    await settle(clock)
    assert not any(name.endswith("000") for name in await kinesis.log.shards())
    await kinesis.restart()
    assert len((await kinesis.ask("DescribeStream", StreamName="s"))["StreamDescription"]["Shards"]) == 2


async def test_the_janitor_ends_deletions(opened: Callable[..., Any], clock: ManualClock) -> None:
    kinesis = await opened(delete_ms=1000, retention_check_s=60)
    await settle(clock)
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    await kinesis.ask("DeleteStream", StreamName="s")
    clock.advance(61)
    await settle(clock)
    assert not any(name.startswith("streams/") for name in await kinesis.log.shards())


async def test_a_full_disk_does_not_end_the_janitor(opened: Callable[..., Any], clock: ManualClock) -> None:
    kinesis = await opened(delete_ms=1000, retention_check_s=60)
    await settle(clock)
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    await kinesis.ask("DeleteStream", StreamName="s")
    kinesis.log.full = {"control"}
    clock.advance(61)
    await settle(clock)
    kinesis.log.full = set()
    clock.advance(61)
    await settle(clock)
    assert not any(name.startswith("streams/") for name in await kinesis.log.shards())
