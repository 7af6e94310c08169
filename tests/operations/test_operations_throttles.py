"""``limits = "aws"``: shards and accounts let through what AWS lets through."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.bucket import TokenBucket
from streams.core.errors import LimitExceeded, ProvisionedThroughputExceeded
from streams.wire.protocol import JSON, protocol

SHARD = "Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000."
KIB_100 = base64.b64encode(bytes(100 << 10)).decode()


@pytest.fixture
async def limited(opened: Any) -> Any:
    kinesis = await opened(limits="aws")
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    return kinesis


async def put(kinesis: Any, count: int, data: str = "") -> list[str | None]:
    """The error codes of so many records."""
    records = [{"PartitionKey": "k", "Data": data}] * count
    reply = await kinesis.ask("PutRecords", StreamName="s", Records=records)
    failed = [record.get("ErrorCode") for record in reply["Records"]]
    assert reply["FailedRecordCount"] == sum(code is not None for code in failed)
    assert {record.get("ErrorMessage") for record in reply["Records"]} <= {None, SHARD}
    return failed


async def test_a_shard_takes_a_thousand_records_a_second(limited: Any, clock: Any) -> None:
    assert await put(limited, 500) + await put(limited, 500) == [None] * 1000
    assert await put(limited, 2) == ["ProvisionedThroughputExceededException"] * 2
    with pytest.raises(ProvisionedThroughputExceeded, match=SHARD):
        await limited.ask("PutRecord", StreamName="s", PartitionKey="k", Data="")
    clock.advance(0.1)
    assert (await put(limited, 101)).count(None) == 100
    assert len(await limited.read(await limited.iterator())) == 1100


async def test_a_shard_takes_a_mebibyte_a_second(limited: Any, clock: Any) -> None:
    assert (await put(limited, 15, KIB_100)).count(None) == 10
    assert await put(limited, 1) == [None]
    clock.advance(1)
    assert (await put(limited, 15, KIB_100)).count(None) == 10


async def test_a_shard_is_read_five_times_a_second(limited: Any, clock: Any) -> None:
    iterator = await limited.iterator()
    for _ in range(5):
        await limited.read(iterator)
    with pytest.raises(ProvisionedThroughputExceeded, match=SHARD):
        await limited.read(iterator)
    clock.advance(0.2)
    await limited.read(iterator)


async def test_a_large_answer_makes_the_shard_rest(limited: Any, clock: Any) -> None:
    for _ in range(7):
        await put(limited, 10, KIB_100)
        clock.advance(1)
    iterator = await limited.iterator()
    assert len(await limited.read(iterator)) == 70
    clock.advance(2.3)
    with pytest.raises(ProvisionedThroughputExceeded):
        await limited.read(iterator)
    clock.advance(0.3)
    await limited.read(iterator)


async def test_control_operations_have_a_rate_an_account(limited: Any, clock: Any) -> None:
    for _ in range(10):
        await limited.ask("DescribeStream", StreamName="s")
    with pytest.raises(LimitExceeded, match=r"Rate exceeded for stream s under account 000000000000\."):
        await limited.ask("DescribeStream", StreamName="s")
    clock.advance(0.1)
    await limited.ask("DescribeStream", StreamName="s")


async def test_ten_scalings_a_day(limited: Any, clock: Any) -> None:
    scale = {"StreamName": "s", "ScalingType": "UNIFORM_SCALING"}
    for number in range(10):
        await limited.ask("UpdateShardCount", TargetShardCount=1 + number % 2, **scale)
        clock.advance(1)
    with pytest.raises(LimitExceeded):
        await limited.ask("UpdateShardCount", TargetShardCount=1, **scale)
    clock.advance(3 * 3600)
    await limited.ask("UpdateShardCount", TargetShardCount=1, **scale)


async def test_without_limits_nothing_is_refused(stream: Any) -> None:
    for _ in range(30):
        await stream.ask("DescribeStream", StreamName="s")
    assert await put(stream, 500) * 3 == [None] * 1500


@given(st.floats(1, 1e6), st.lists(st.tuples(st.integers(0, 2000), st.floats(0, 1e6)), max_size=50))
def test_a_bucket_never_gives_more_than_its_rate_and_one_second(rate: float, takes: list[tuple[int, float]]) -> None:
    bucket, now_ms, taken = TokenBucket(rate, 0), 0, 0.0
    for pause_ms, amount in takes:
        now_ms += pause_ms
        if bucket.take(min(amount, rate), now_ms):
            taken += min(amount, rate)
    assert taken <= rate * (1 + now_ms / 1000) * (1 + 1e-9) + 1e-6


async def test_a_subscription_is_pushed_two_mebibytes_a_second(limited: Any, clock: Any) -> None:
    for _ in range(5):
        assert (await put(limited, 10, KIB_100)).count(None) == 10
        clock.advance(1)
    readers = []
    for name in ("a", "b"):
        arn = (
            await limited.ask(
                "RegisterStreamConsumer", StreamARN="arn:aws:kinesis:us-east-1:000000000000:stream/s", ConsumerName=name
            )
        )["Consumer"]["ConsumerARN"]
        asked = {"ConsumerARN": arn, "ShardId": "0", "StartingPosition": {"Type": "TRIM_HORIZON"}}
        request = protocol("kinesis").decode("SubscribeToShard", JSON, msgspec.json.encode(asked))
        readers.append(await limited.service.call("SubscribeToShard", request, limited.scope))

    counts = [0, 0]

    async def read(number: int) -> None:
        async for event in readers[number]:
            counts[number] += len(event.reply["Records"])

    tasks = [asyncio.create_task(read(number)) for number in range(2)]
    seen = []
    while counts != [50, 50]:
        # Beside the janitor, the scaler and the two heartbeats: both wait for their time.
        while clock.sleeping < 6 and counts != [50, 50]:  # noqa: ASYNC110
            await asyncio.sleep(0)
        seen.append(list(counts))
        clock.advance(0.5)
        await asyncio.sleep(0)
    for one, task in zip(readers, tasks, strict=True):
        one.close()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert seen == [[30, 30], [40, 40], [50, 50]], (
        "each half second a MiB, after the first two, which are there at once"
    )
