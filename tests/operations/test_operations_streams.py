from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from streams.core.clock import ManualClock
from streams.core.errors import (
    ExpiredNextToken,
    InvalidArgument,
    LimitExceeded,
    RequestError,
    ResourceInUse,
    ResourceNotFound,
    ValidationError,
)
from streams.core.scope import Scope
from streams.core.shards import HASH_KEY_MAX

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
NOT_FOUND = "Stream s under account 000000000000 not found."
EXISTS = "Stream s under account 000000000000 already exists."


async def test_a_new_stream_described(stream: Any) -> None:
    reply = await stream.ask("DescribeStream", StreamName="s")
    assert reply == {
        "StreamDescription": {
            "StreamName": "s",
            "StreamARN": ARN,
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": {"StreamMode": "PROVISIONED"},
            "StreamCreationTimestamp": 1_700_000_000.0,
            "RetentionPeriodHours": 24,
            "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
            "EncryptionType": "NONE",
            "Shards": [
                {
                    "ShardId": "shardId-000000000000",
                    "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(HASH_KEY_MAX)},
                    "SequenceNumberRange": {
                        "StartingSequenceNumber": "49646437577108476416916876405825929425585429676275269634"
                    },
                }
            ],
            "HasMoreShards": False,
        }
    }


async def test_a_new_stream_summarised(kinesis: Any) -> None:
    await kinesis.ask(
        "CreateStream", StreamName="s", StreamModeDetails={"StreamMode": "ON_DEMAND"}, MaxRecordSizeInKiB=2048
    )
    summary = (await kinesis.ask("DescribeStreamSummary", StreamARN=ARN))["StreamDescriptionSummary"]
    assert summary["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}
    assert (summary["OpenShardCount"], summary["ConsumerCount"]) == (4, 0)
    assert summary["MaxRecordSizeInKiB"] == 2048
    assert "Shards" not in summary


@pytest.mark.parametrize(
    ("members", "error", "text"),
    [
        ({"StreamName": "t"}, ResourceNotFound, "Stream t under account 000000000000 not found."),
        ({"StreamARN": ARN[:-1] + "t"}, ResourceNotFound, "Stream t under account 000000000000 not found."),
        (
            {"StreamARN": ARN.replace("000000000000", "111111111111")},
            ResourceNotFound,
            "Stream s under account 111111111111 not found.",
        ),
        ({"StreamARN": ARN.replace("us-east-1", "eu-west-1")}, ResourceNotFound, NOT_FOUND),
        ({}, InvalidArgument, "Either StreamName or StreamARN must be provided."),
        (
            {"StreamName": "t", "StreamARN": ARN},
            InvalidArgument,
            f"StreamName t and StreamARN {ARN} name different streams.",
        ),
    ],
)
async def test_addressing(stream: Any, members: dict[str, str], error: type[RequestError], text: str) -> None:
    for operation in ("DescribeStream", "DescribeStreamSummary", "DeleteStream"):
        with pytest.raises(error) as caught:
            await stream.ask(operation, **members)
        assert caught.value.message == text


async def test_a_stream_by_its_name_its_arn_or_both(stream: Any) -> None:
    for members in ({"StreamName": "s"}, {"StreamARN": ARN}, {"StreamName": "s", "StreamARN": ARN}):
        reply = await stream.ask("DescribeStreamSummary", **members)
        assert reply["StreamDescriptionSummary"]["StreamARN"] == ARN


async def test_stream_id_is_accepted_and_ignored(stream: Any) -> None:
    reply = await stream.ask("ListShards", StreamName="s", StreamId="abcdefghijklmnopqrst-abc")
    assert len(reply["Shards"]) == 1


async def test_accounts_and_regions_are_apart(stream: Any) -> None:
    for other in (Scope("111111111111", "us-east-1"), Scope("000000000000", "eu-west-1")):
        with pytest.raises(ResourceNotFound):
            await stream.ask("DescribeStream", scope=other, StreamName="s")
        await stream.ask("CreateStream", scope=other, StreamName="s", ShardCount=2)
        assert (await stream.ask("ListStreams", scope=other))["StreamNames"] == ["s"]
        summary = await stream.ask("DescribeStreamSummary", scope=other, StreamName="s")
        assert summary["StreamDescriptionSummary"]["OpenShardCount"] == 2


async def test_what_cannot_be_created(stream: Any) -> None:
    with pytest.raises(ResourceInUse) as caught:
        await stream.ask("CreateStream", StreamName="s", ShardCount=1)
    assert caught.value.message == EXISTS
    with pytest.raises(ValidationError, match="Value null at 'shardCount'"):
        await stream.ask("CreateStream", StreamName="t")
    with pytest.raises(InvalidArgument):
        await stream.ask("CreateStream", StreamName="t", ShardCount=1, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    with pytest.raises(InvalidArgument, match="only supported for streams in On-Demand mode"):
        await stream.ask("CreateStream", StreamName="t", ShardCount=1, RecordDistributionStrategy="AUTO")
    with pytest.raises(InvalidArgument, match="Some tags contain invalid characters"):
        await stream.ask("CreateStream", StreamName="t", ShardCount=1, Tags={"a": "!"})
    on_demand = {"StreamModeDetails": {"StreamMode": "ON_DEMAND"}, "WarmThroughputMiBps": 10}
    with pytest.raises(ValidationError, match="needs MinimumThroughputBillingCommitment ENABLED"):
        await stream.ask("CreateStream", StreamName="t", **on_demand)
    await stream.ask("UpdateAccountSettings", MinimumThroughputBillingCommitment={"Status": "ENABLED"})
    await stream.ask("CreateStream", StreamName="u", **on_demand)
    summary = (await stream.ask("DescribeStreamSummary", StreamName="u"))["StreamDescriptionSummary"]
    assert summary["WarmThroughput"] == {"TargetMiBps": 10, "CurrentMiBps": 10}
    await stream.ask("DeleteStream", StreamName="u")
    assert (await stream.ask("ListStreams"))["StreamNames"] == ["s"]


async def test_the_shard_limit(opened: Callable[..., Any]) -> None:
    kinesis = await opened(shards_max=3)
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=2)
    with pytest.raises(LimitExceeded, match=r"Current shard count for the account: 2\. Limit: 3\."):
        await kinesis.ask("CreateStream", StreamName="t", ShardCount=2)


async def test_concurrent_creations(kinesis: Any) -> None:
    results = await asyncio.gather(
        *(kinesis.ask("CreateStream", StreamName=f"s{number % 10}", ShardCount=2) for number in range(40)),
        return_exceptions=True,
    )
    assert results.count(None) == 10
    assert sum(isinstance(result, ResourceInUse) for result in results) == 30
    assert len((await kinesis.ask("ListStreams"))["StreamNames"]) == 10


async def test_the_life_of_a_stream(opened: Callable[..., Any], clock: ManualClock) -> None:
    kinesis = await opened(create_ms=1000, delete_ms=2000)

    async def status() -> str:
        return (await kinesis.ask("DescribeStreamSummary", StreamName="s"))["StreamDescriptionSummary"]["StreamStatus"]

    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    assert await status() == "CREATING"
    assert (await kinesis.ask("DescribeStream", StreamName="s"))["StreamDescription"]["Shards"] == []
    with pytest.raises(ResourceNotFound) as missing:
        await kinesis.put("k")
    assert missing.value.message == NOT_FOUND
    with pytest.raises(ResourceInUse) as busy:
        await kinesis.ask("SplitShard", StreamName="s", ShardToSplit="0", NewStartingHashKey="10")
    assert busy.value.message == "Stream s under account 000000000000 not ACTIVE, instead in state CREATING"
    clock.advance(1)
    assert await status() == "ACTIVE"
    await kinesis.put("k")
    await kinesis.ask("DeleteStream", StreamName="s")
    assert await status() == "DELETING"
    await kinesis.put("k")
    assert await kinesis.read(await kinesis.iterator()) == ["k", "k"]
    with pytest.raises(ResourceInUse):
        await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    clock.advance(2)
    with pytest.raises(ResourceNotFound):
        await status()
    assert (await kinesis.ask("ListStreams"))["StreamNames"] == []
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    clock.advance(1)
    assert await kinesis.read(await kinesis.iterator()) == []


async def test_deleting_drops_the_shards_of_the_log(stream: Any) -> None:
    await stream.put("k")
    await stream.ask("DeleteStream", StreamName="s")
    assert [name for name in await stream.log.shards() if name.startswith("streams/")] == []


async def test_a_stream_created_again_starts_empty_and_old_iterators_do_not_fit(stream: Any) -> None:
    await stream.put("k")
    iterator = await stream.iterator()
    await stream.ask("DeleteStream", StreamName="s")
    with pytest.raises(ResourceNotFound) as missing:
        await stream.read(iterator)
    assert missing.value.message == NOT_FOUND
    await stream.ask("CreateStream", StreamName="s", ShardCount=1)
    assert await stream.read(await stream.iterator()) == []
    with pytest.raises(InvalidArgument, match=r"^Invalid ShardIterator\.$"):
        await stream.read(iterator)


async def test_streams_are_listed_by_pages(kinesis: Any, clock: ManualClock) -> None:
    for number in range(105):
        await kinesis.ask("CreateStream", StreamName=f"s{number:03}", ShardCount=1)
    first = await kinesis.ask("ListStreams")
    assert first["StreamNames"] == [f"s{number:03}" for number in range(100)]
    assert first["HasMoreStreams"]
    assert first["StreamSummaries"][0]["StreamStatus"] == "ACTIVE"
    rest = await kinesis.ask("ListStreams", NextToken=first["NextToken"])
    assert rest["StreamNames"] == [f"s{number:03}" for number in range(100, 105)]
    assert not rest["HasMoreStreams"]
    assert "NextToken" not in rest
    page = await kinesis.ask("ListStreams", ExclusiveStartStreamName="s050x", Limit=2)
    assert page["StreamNames"] == ["s051", "s052"]
    with pytest.raises(InvalidArgument):
        await kinesis.ask("ListStreams", NextToken="bogus")
    with pytest.raises(InvalidArgument):
        await kinesis.ask("ListStreams", NextToken=first["NextToken"], ExclusiveStartStreamName="s")
    clock.advance(300.001)
    with pytest.raises(ExpiredNextToken):
        await kinesis.ask("ListStreams", NextToken=first["NextToken"])


async def test_shards_are_described_by_pages(kinesis: Any) -> None:
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=102)
    first = (await kinesis.ask("DescribeStream", StreamName="s"))["StreamDescription"]
    assert len(first["Shards"]) == 100
    assert first["HasMoreShards"]
    rest = await kinesis.ask("DescribeStream", StreamName="s", ExclusiveStartShardId=first["Shards"][-1]["ShardId"])
    shards = rest["StreamDescription"]["Shards"]
    assert [shard["ShardId"] for shard in shards] == ["shardId-000000000100", "shardId-000000000101"]
    assert shards[-1]["HashKeyRange"]["EndingHashKey"] == str(HASH_KEY_MAX)
    limited = await kinesis.ask("DescribeStream", StreamName="s", Limit=1, ExclusiveStartShardId="shardId-000000000100")
    assert not limited["StreamDescription"]["HasMoreShards"]


async def test_hidden_streams_are_out_of_reach(kinesis: Any) -> None:
    await kinesis.client.create_stream("firehose/d", 1)
    assert (await kinesis.ask("ListStreams"))["StreamNames"] == []
    assert await kinesis.client.list_streams() == []
    with pytest.raises(ResourceNotFound):
        await kinesis.ask("DescribeStream", StreamARN="arn:aws:kinesis:us-east-1:000000000000:stream/firehose/d")
    assert (await kinesis.client.describe_stream("firehose/d")).name == "firehose/d"


async def test_what_is_not_built_says_so(kinesis: Any) -> None:
    with pytest.raises(match=r"^Headrace does not offer Levitate yet\.$"):
        await kinesis.service.call("Levitate", None, kinesis.scope)


async def test_everything_survives_a_restart(stream: Any) -> None:
    await stream.put("a", "b")
    before = await stream.ask("DescribeStream", StreamName="s")
    await stream.restart()
    assert await stream.ask("DescribeStream", StreamName="s") == before
    assert await stream.read(await stream.iterator()) == ["a", "b"]


async def test_shards_that_no_stream_owns_are_dropped_at_open(stream: Any) -> None:
    if stream.log.shared:
        pytest.skip("they may be another process's: see test_operations_shared")
    await stream.log.create("streams/zzzzzzzzzzzzzzzzzzzz-zzz/shardId-000000000000")
    await stream.log.create("somebody/else")
    await stream.restart()
    names = await stream.log.shards()
    assert "somebody/else" in names
    assert not any("zzzz" in name for name in names)
