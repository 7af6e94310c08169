"""Retention, sizes, modes, distribution, encryption, monitoring, scaling and account settings."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from streams.control.changes import METRICS
from streams.core.errors import InvalidArgument, ResourceInUse, ResourceNotFound, ValidationError

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
HOUR = 3600


async def summary(kinesis: Any) -> dict[str, Any]:
    return (await kinesis.ask("DescribeStreamSummary", StreamName="s"))["StreamDescriptionSummary"]


async def test_retention_grows_and_shrinks(stream: Any) -> None:
    await stream.ask("IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=8760)
    await stream.restart()
    assert (await summary(stream))["RetentionPeriodHours"] == 8760
    await stream.ask("DecreaseStreamRetentionPeriod", StreamARN=ARN, RetentionPeriodHours=24)
    await stream.ask("DecreaseStreamRetentionPeriod", StreamARN=ARN, RetentionPeriodHours=24)
    assert (await summary(stream))["RetentionPeriodHours"] == 24


@pytest.mark.parametrize(
    ("operation", "hours", "text"),
    [
        (
            "Increase",
            23,
            r"Minimum allowed retention period is 24 hours. Requested retention period \(23 hours\) is too short.",
        ),
        ("Decrease", -1, r"Requested retention period \(-1 hours\) is too short."),
        (
            "Increase",
            8761,
            r"Maximum allowed retention period is 8760 hours. Requested retention period \(8761 hours\) is too long.",
        ),
        (
            "Increase",
            47,
            r"\(47 hours\) for stream s can not be shorter than existing retention period \(48 hours\). Use Decrease",
        ),
        (
            "Decrease",
            49,
            r"\(49 hours\) for stream s can not be longer than existing retention period \(48 hours\). Use Increase",
        ),
    ],
)
async def test_retention_that_cannot_be(stream: Any, operation: str, hours: int, text: str) -> None:
    await stream.ask("IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=48)
    with pytest.raises(InvalidArgument, match=text):
        await stream.ask(f"{operation}StreamRetentionPeriod", StreamName="s", RetentionPeriodHours=hours)


async def test_less_retention_hides_at_once_and_more_brings_nothing_back(stream: Any, clock: Any) -> None:
    await stream.ask("IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=48)
    await stream.put("old")
    clock.advance(30 * HOUR)
    await stream.put("new")
    assert await stream.read(await stream.iterator()) == ["old", "new"]
    await stream.ask("DecreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=24)
    assert await stream.read(await stream.iterator()) == ["new"]
    await stream.ask("IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=48)
    assert await stream.read(await stream.iterator()) == ["new"]
    clock.advance(47 * HOUR)
    assert await stream.read(await stream.iterator()) == ["new"]


async def test_a_change_waits_for_the_one_before_it(opened: Any, clock: Any) -> None:
    kinesis = await opened(update_ms=1000)
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    await kinesis.ask("UpdateMaxRecordSize", StreamARN=ARN, MaxRecordSizeInKiB=2048)
    assert (await summary(kinesis))["StreamStatus"] == "UPDATING"
    for operation, members in (
        ("IncreaseStreamRetentionPeriod", {"RetentionPeriodHours": 48}),
        ("UpdateShardCount", {"TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"}),
        ("StartStreamEncryption", {"EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}),
    ):
        with pytest.raises(
            ResourceInUse, match="Stream s under account 000000000000 not ACTIVE, instead in state UPDATING"
        ):
            await kinesis.ask(operation, StreamName="s", **members)
    await kinesis.put("works meanwhile")
    clock.advance(1)
    assert (await summary(kinesis))["StreamStatus"] == "ACTIVE"


async def test_records_may_be_as_long_as_the_stream_says(stream: Any) -> None:
    big = "A" * ((2 << 20) * 4 // 3 // 4 * 4)
    with pytest.raises(ValidationError, match="less than or equal to 1048576"):
        await stream.ask("PutRecord", StreamName="s", PartitionKey="k", Data=big)
    await stream.ask("UpdateMaxRecordSize", StreamARN=ARN, MaxRecordSizeInKiB=10240)
    await stream.ask("PutRecord", StreamName="s", PartitionKey="k", Data=big)
    assert (await summary(stream))["MaxRecordSizeInKiB"] == 10240
    assert await stream.read(await stream.iterator()) == ["k"]


async def test_modes_and_what_only_one_of_them_can(stream: Any) -> None:
    on_demand = {"StreamMode": "ON_DEMAND"}
    strategy = {"StreamARN": ARN, "RecordDistributionStrategy": "AUTO"}
    with pytest.raises(InvalidArgument, match="On-Demand"):
        await stream.ask("UpdateStreamRecordDistributionStrategy", **strategy)
    with pytest.raises(ValidationError, match="On-Demand"):
        await stream.ask("UpdateStreamWarmThroughput", StreamName="s", WarmThroughputMiBps=5)
    await stream.ask("UpdateStreamMode", StreamARN=ARN, StreamModeDetails=on_demand)
    assert (await summary(stream))["StreamModeDetails"] == on_demand
    assert (await stream.ask("DescribeLimits"))["OnDemandStreamCount"] == 1
    await stream.ask("UpdateStreamRecordDistributionStrategy", **strategy)
    assert (await summary(stream))["RecordDistributionStrategy"] == "AUTO"
    for operation, members in (
        ("SplitShard", {"ShardToSplit": "0", "NewStartingHashKey": "5"}),
        ("MergeShards", {"ShardToMerge": "0", "AdjacentShardToMerge": "1"}),
        ("UpdateShardCount", {"TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"}),
    ):
        with pytest.raises(
            ValidationError, match=r"Request is invalid. Stream s under account 000000000000 is in On-Demand mode."
        ):
            await stream.ask(operation, StreamName="s", **members)
    await stream.ask("UpdateStreamMode", StreamARN=ARN, StreamModeDetails={"StreamMode": "PROVISIONED"})
    described = await summary(stream)
    assert described["StreamModeDetails"] == {"StreamMode": "PROVISIONED"}
    assert "RecordDistributionStrategy" not in described
    with pytest.raises(ValidationError, match="partitionKey"):
        await stream.ask("PutRecord", StreamName="s", Data="")


async def test_auto_spreads_records_whatever_their_keys(kinesis: Any) -> None:
    await kinesis.ask(
        "CreateStream",
        StreamName="s",
        StreamModeDetails={"StreamMode": "ON_DEMAND"},
        RecordDistributionStrategy="AUTO",
    )
    records = [{"PartitionKey": "same", "Data": ""}, {"Data": ""}, {"Data": "", "ExplicitHashKey": "0"}] * 4
    reply = await kinesis.ask("PutRecords", StreamName="s", Records=records)
    assert Counter(Counter(record["ShardId"] for record in reply["Records"]).values()) == {3: 4}
    shards = {(await kinesis.ask("PutRecord", StreamName="s", Data=""))["ShardId"] for _ in range(4)}
    assert len(shards) == 4
    found = await kinesis.ask("GetRecords", ShardIterator=await kinesis.iterator())
    assert sorted(record["PartitionKey"] for record in found["Records"]) == ["", "", "", "same"]


async def test_encryption_is_said_of_what_came_while_it_was_on(stream: Any, clock: Any) -> None:
    await stream.put("a")
    clock.advance(1)
    await stream.ask("StartStreamEncryption", StreamName="s", EncryptionType="KMS", KeyId="alias/aws/kinesis")
    described = await summary(stream)
    assert (described["EncryptionType"], described["KeyId"]) == ("KMS", "alias/aws/kinesis")
    assert (await stream.ask("PutRecord", StreamName="s", PartitionKey="b", Data=""))["EncryptionType"] == "KMS"
    reply = await stream.ask("PutRecords", StreamName="s", Records=[{"PartitionKey": "c", "Data": ""}])
    assert reply["EncryptionType"] == "KMS"
    clock.advance(1)
    await stream.ask("StopStreamEncryption", StreamName="s", EncryptionType="KMS", KeyId="alias/aws/kinesis")
    await stream.restart()
    assert "EncryptionType" not in await stream.ask("PutRecord", StreamName="s", PartitionKey="d", Data="")
    described = await summary(stream)
    assert described["EncryptionType"] == "NONE"
    assert "KeyId" not in described
    records = (await stream.ask("GetRecords", ShardIterator=await stream.iterator()))["Records"]
    assert [(one["PartitionKey"], one.get("EncryptionType")) for one in records] == [
        ("a", None),
        ("b", "KMS"),
        ("c", "KMS"),
        ("d", None),
    ]


async def test_enhanced_monitoring_says_what_was_and_what_is(stream: Any) -> None:
    ask = {"StreamName": "s", "ShardLevelMetrics": ["IncomingBytes"]}
    reply = await stream.ask("EnableEnhancedMonitoring", **ask)
    assert reply == {
        "StreamName": "s",
        "StreamARN": ARN,
        "CurrentShardLevelMetrics": [],
        "DesiredShardLevelMetrics": ["IncomingBytes"],
    }
    reply = await stream.ask("EnableEnhancedMonitoring", StreamARN=ARN, ShardLevelMetrics=["ALL"])
    assert reply["CurrentShardLevelMetrics"] == ["IncomingBytes"]
    assert reply["DesiredShardLevelMetrics"] == sorted(METRICS)
    await stream.ask("DisableEnhancedMonitoring", **ask)
    assert (await summary(stream))["EnhancedMonitoring"] == [{"ShardLevelMetrics": sorted(METRICS)[1:]}]
    await stream.ask("DisableEnhancedMonitoring", StreamName="s", ShardLevelMetrics=["ALL"])
    assert (await summary(stream))["EnhancedMonitoring"] == [{"ShardLevelMetrics": []}]


async def test_scaling_keeps_every_record_and_its_order(stream: Any) -> None:
    keys = [f"k{number}" for number in range(40)]
    target = 1
    for target in (2, 4, 3, 6, 3, 2, 1):
        await stream.put(*keys)
        reply = await stream.ask(
            "UpdateShardCount", StreamName="s", TargetShardCount=target, ScalingType="UNIFORM_SCALING"
        )
        assert (reply["TargetShardCount"], reply["StreamARN"]) == (target, ARN)
        assert (await summary(stream))["OpenShardCount"] == target
    await stream.restart()
    shards = (await stream.ask("ListShards", StreamName="s"))["Shards"]
    seen: Counter[str] = Counter()
    for shard in shards:
        iterator = await stream.iterator(shard=shard["ShardId"])
        while iterator is not None:
            reply = await stream.ask("GetRecords", ShardIterator=iterator)
            seen.update(record["PartitionKey"] for record in reply["Records"])
            iterator = reply.get("NextShardIterator") if reply["Records"] else None
    assert seen == dict.fromkeys(keys, 7)


async def test_a_commitment_lasts_a_day_at_least(kinesis: Any, clock: Any) -> None:
    async def ask(operation: str, **members: Any) -> Any:
        return (await kinesis.ask(operation, **members))["MinimumThroughputBillingCommitment"]

    assert await ask("DescribeAccountSettings") == {"Status": "DISABLED"}
    on = await ask("UpdateAccountSettings", MinimumThroughputBillingCommitment={"Status": "ENABLED"})
    assert on["Status"] == "ENABLED"
    assert on["EarliestAllowedEndAt"] - on["StartedAt"] == 24 * HOUR
    off = await ask("UpdateAccountSettings", MinimumThroughputBillingCommitment={"Status": "DISABLED"})
    assert off["Status"] == "ENABLED_UNTIL_EARLIEST_ALLOWED_END"
    assert off["EndedAt"] == off["EarliestAllowedEndAt"]
    clock.advance(24 * HOUR)
    await kinesis.restart()
    assert (await ask("DescribeAccountSettings"))["Status"] == "DISABLED"


async def test_a_stream_is_found_by_its_id_where_nothing_else_is_said(stream: Any) -> None:
    stream_id = (await summary(stream))["StreamId"]
    described = await stream.ask("DescribeStreamSummary", StreamId=stream_id)
    assert described["StreamDescriptionSummary"]["StreamName"] == "s"
    with pytest.raises(ResourceNotFound):
        await stream.ask("DescribeStream", StreamId="0" * 20 + "-abc")
    with pytest.raises(InvalidArgument, match="Either StreamName or StreamARN must be provided"):
        await stream.ask("DescribeStream")


@pytest.mark.parametrize(
    "operation", ["CreateChannel", "DescribeChannel", "UpdateChannel", "DeleteChannel", "ListChannels"]
)
async def test_channels_are_refused_with_a_sentence(kinesis: Any, operation: str) -> None:
    with pytest.raises(ValidationError, match="does not offer channels"):
        await kinesis.service.call(operation, None, kinesis.scope)
