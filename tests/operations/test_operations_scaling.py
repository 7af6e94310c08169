"""On-demand streams grow with their peak, and shrink when it is long past; nothing is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from streams.core.clock import ManualClock
from streams.core.errors import ValidationError

DAY = 86_400


async def look(clock: ManualClock, seconds: float = 60) -> None:
    """Time passes; returns when the janitor and the scaler sleep again."""
    clock.advance(seconds)
    while clock.sleeping < 2:  # noqa: ASYNC110 - nothing tells when those who woke are done
        await asyncio.sleep(0)


async def shards(kinesis: Any, name: str = "s") -> int:
    reply = await kinesis.ask("DescribeStreamSummary", StreamName=name)
    assert reply["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
    return int(reply["StreamDescriptionSummary"]["OpenShardCount"])


@pytest.fixture
async def kinesis(opened: Callable[..., Any], clock: ManualClock) -> Any:
    kinesis = await opened(limits="aws", retention_check_s=1e9, subscription_s=1e9)
    await look(clock, 0)
    for name in ("s", "idle"):
        await kinesis.ask("CreateStream", StreamName=name, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    await kinesis.ask("CreateStream", StreamName="fixed", ShardCount=1)
    await look(clock)
    return kinesis


async def load(kinesis: Any, clock: ManualClock, mib: int) -> None:
    """So many MiB in a minute, evenly over the time and the key space."""
    records = [
        {"PartitionKey": f"k{number}", "ExplicitHashKey": str(number << 125), "Data": b"x" * (1 << 17)}
        for number in range(8)
    ]
    for _ in range(mib):
        assert (await kinesis.ask("PutRecords", StreamName="s", Records=records))["FailedRecordCount"] == 0
        clock.advance(60 / mib)
    await look(clock, 0)


async def test_a_stream_grows_to_double_its_peak(kinesis: Any, clock: ManualClock) -> None:
    assert await shards(kinesis) == 4
    await load(kinesis, clock, 100)
    await look(clock)
    assert await shards(kinesis) == 4, "1.7 MiB a second is less than half of what four shards take"
    await load(kinesis, clock, 200)
    assert await shards(kinesis) == 7, "3.3 MiB a second"
    assert await shards(kinesis, "idle") == 4
    assert (await kinesis.ask("DescribeStreamSummary", StreamName="fixed"))["StreamDescriptionSummary"][
        "OpenShardCount"
    ] == 1
    keys = [f"k{number}" for number in range(8)]
    read: list[str] = []
    reply = await kinesis.ask("ListShards", StreamName="s")
    for shard in reply["Shards"]:
        iterator = await kinesis.iterator(shard=shard["ShardId"])
        while iterator is not None:
            clock.advance(10)  # a shard gives 2 MiB a second
            answer = await kinesis.ask("GetRecords", ShardIterator=iterator)
            read += [record["PartitionKey"] for record in answer["Records"]]
            iterator = answer.get("NextShardIterator")
            if not answer["Records"] and not answer["MillisBehindLatest"]:
                break
    assert sorted(read) == sorted(keys * 300)


async def test_a_stream_shrinks_when_its_peak_is_30_days_past(kinesis: Any, clock: ManualClock) -> None:
    await load(kinesis, clock, 240)
    assert await shards(kinesis) == 8, "at most double at a look"
    await load(kinesis, clock, 300)
    assert await shards(kinesis) == 11, "5 MiB a second, and the keys"
    for _ in range(29):
        await look(clock, DAY)
    assert await shards(kinesis) == 11
    await look(clock, 2 * DAY)
    assert await shards(kinesis) == 6
    await look(clock)
    assert await shards(kinesis) == 4


async def test_small_records_count_too(kinesis: Any, clock: ManualClock) -> None:
    keys = [f"k{number}" for number in range(400)]
    for _ in range(60):
        for _ in range(5):
            await kinesis.put(*keys)
        clock.advance(1)
    await look(clock, 0)
    assert await shards(kinesis) == 4, "2,000 records a second"
    for _ in range(60):
        for _ in range(8):
            await kinesis.put(*keys)
        clock.advance(1)
    await look(clock, 0)
    assert await shards(kinesis) == 7, "3,200 records a second"


async def test_people_do_not_reshard_it(kinesis: Any) -> None:
    with pytest.raises(ValidationError, match="is in On-Demand mode"):
        await kinesis.ask("UpdateShardCount", StreamName="s", TargetShardCount=8, ScalingType="UNIFORM_SCALING")
