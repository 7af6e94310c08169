"""UpdateDestination, tags and encryption: AWS's rules and words, and what an update does to records that wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams.core.errors import (
    ConcurrentModification,
    InvalidArgument,
    LimitExceeded,
    RequestError,
    ResourceInUse,
)
from tests.firehose.harness import NEWLINES, SCOPE, House, function, processing, s3
from tests.firehose.test_firehose_conversion import conversion, partitioned, query, register

DESTINATION = "destinationId-000000000001"
KEY = "arn:aws:kms:us-east-1:000000000000:key/k"


async def update(house: House, version: str = "1", name: str = "flights", **members: Any) -> None:
    await house.call(
        "UpdateDestination",
        DeliveryStreamName=name,
        CurrentDeliveryStreamVersionId=version,
        DestinationId=DESTINATION,
        ExtendedS3DestinationUpdate=members,
    )


async def description(house: House, name: str = "flights") -> dict[str, Any]:
    answer = await house.call("DescribeDeliveryStream", DeliveryStreamName=name)
    found: dict[str, Any] = answer["DeliveryStreamDescription"]
    return found


async def extended(house: House) -> dict[str, Any]:
    found: dict[str, Any] = (await description(house))["Destinations"][0]["ExtendedS3DestinationDescription"]
    return found


async def test_members_that_are_not_named_keep_their_values(tmp_path: Path) -> None:
    async with House(tmp_path, functions={"f": "a:b"}) as house:
        await house.create(Prefix="a/", CompressionFormat="GZIP", **processing(function("f"), NEWLINES))
        before = await extended(house)
        house.clock.advance(5)
        await update(house, Prefix="b/", BufferingHints={"SizeInMBs": 7, "IntervalInSeconds": 70})
        assert await extended(house) == {
            **before,
            "Prefix": "b/",
            "BufferingHints": {"SizeInMBs": 7, "IntervalInSeconds": 70},
        }
        found = await description(house)
        assert (found["VersionId"], found["LastUpdateTimestamp"]) == ("2", 1_700_000_005.0)
        # Processing is swapped whole; what Enabled is not said to be stays.
        await update(house, "2", ProcessingConfiguration={"Processors": [NEWLINES]})
        assert (await extended(house))["ProcessingConfiguration"] == {"Enabled": True, "Processors": [NEWLINES]}
        await update(house, "3", ProcessingConfiguration={"Enabled": False})
        assert (await extended(house))["ProcessingConfiguration"] == {"Enabled": False}


@pytest.mark.parametrize(
    "members", [{}, {"Prefix": "a/"}, {"BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60}}]
)
async def test_an_update_without_a_change_is_none(tmp_path: Path, members: dict[str, Any]) -> None:
    async with House(tmp_path) as house:
        await house.create(Prefix="a/")
        before = await description(house)
        house.clock.advance(5)
        await update(house, **members)
        assert await description(house) == before


async def test_conversion_merges_member_by_member(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await register(house)
        await house.create(size=64, **conversion())
        gzip = {"OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {"Compression": "GZIP"}}}}
        await update(house, DataFormatConversionConfiguration=gzip)
        found = (await extended(house))["DataFormatConversionConfiguration"]
        assert found["OutputFormatConfiguration"] == gzip["OutputFormatConfiguration"]
        assert found["SchemaConfiguration"]["TableName"] == "flights"
        await update(house, "2", DataFormatConversionConfiguration={"Enabled": False})
        assert (await extended(house))["DataFormatConversionConfiguration"]["Enabled"] is False
        await update(house, "3", DataFormatConversionConfiguration={})
        assert (await extended(house))["DataFormatConversionConfiguration"]["Enabled"] is True


async def test_what_waits_is_delivered_under_the_new_version_once(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with house:
        await house.create(Prefix="old/", **processing(NEWLINES))
        await house.put("firehose/flights", [b"1", b"2"])
        await house.settle()
        await update(
            house,
            Prefix="new/",
            CompressionFormat="UNCOMPRESSED",
            BufferingHints={"SizeInMBs": 1, "IntervalInSeconds": 900},
        )
        await house.put("firehose/flights", [b"3"])
        await house.until(house.delivered, step_s=100)
        ((name, content),) = house.objects().items()
        assert name.startswith("new/2023/11/14/22/flights-2-")
        assert sorted(content.splitlines()) == [b"1", b"2", b"3"]
    async with house:
        assert (await description(house))["VersionId"] == "2"
        await house.pass_time(1000)
        assert len(house.objects()) == 1


async def test_updates_survive_a_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firehose.book.SNAPSHOT_EVENTS", 1)
    house = House(tmp_path)
    async with house:
        await house.create()
        await update(house, Prefix="new/")
        await house.call("TagDeliveryStream", DeliveryStreamName="flights", Tags=[{"Key": "a", "Value": "b"}])
        await house.call("StartDeliveryStreamEncryption", DeliveryStreamName="flights")
        before = await description(house)
    async with house:
        assert await description(house) == before
        tags = await house.call("ListTagsForDeliveryStream", DeliveryStreamName="flights")
        assert tags["Tags"] == [{"Key": "a", "Value": "b"}]


REFUSED: list[tuple[dict[str, Any], type[RequestError], str]] = [
    (
        {"CurrentDeliveryStreamVersionId": "9"},
        ConcurrentModification,
        "Cannot update firehose: flights since the current version id: 1 and specified version id: 9 do not match",
    ),
    ({"DestinationId": "destinationId-9"}, InvalidArgument, "Destination Id destinationId-9 not found"),
    (
        {"ExtendedS3DestinationUpdate": None},
        InvalidArgument,
        "At least one destination or source configuration update must be provided",
    ),
    ({"S3DestinationUpdate": {}}, InvalidArgument, "Exactly one destination configuration"),
    (
        {"ExtendedS3DestinationUpdate": None, "SplunkDestinationUpdate": {}},
        InvalidArgument,
        "Destination Splunk is not supported by this server yet",
    ),
    (
        {"ExtendedS3DestinationUpdate": {"BufferingHints": {"SizeInMBs": 1}}},
        InvalidArgument,
        "needs both SizeInMBs and IntervalInSeconds",
    ),
    (
        {"ExtendedS3DestinationUpdate": partitioned("!{partitionKeyFromQuery:k}/")},
        InvalidArgument,
        "can only be enabled when the Firehose is created",
    ),
    ({"ExtendedS3DestinationUpdate": processing(function("no"))}, InvalidArgument, "Function no does not exist"),
]


@pytest.mark.parametrize(("members", "kind", "words"), REFUSED, ids=[words[:40] for _, _, words in REFUSED])
async def test_an_update_that_cannot_be(
    tmp_path: Path, members: dict[str, Any], kind: type[RequestError], words: str
) -> None:
    async with House(tmp_path) as house:
        await house.create()
        before = await description(house)
        request = {
            "DeliveryStreamName": "flights",
            "CurrentDeliveryStreamVersionId": "1",
            "DestinationId": DESTINATION,
            "ExtendedS3DestinationUpdate": {"Prefix": "b/"},
            **members,
        }
        with pytest.raises(kind, match=words):
            await house.call("UpdateDestination", **{key: value for key, value in request.items() if value is not None})
        assert await description(house) == before


async def test_partitioning_stays_on_and_its_retries_may_change(tmp_path: Path) -> None:
    async with House(tmp_path, firehose_compat="emulator") as house:
        await house.create(**partitioned("!{partitionKeyFromQuery:k}/"), **processing(query("{k: .k}")))
        with pytest.raises(InvalidArgument, match="cannot be disabled afterwards"):
            await update(house, DynamicPartitioningConfiguration={"Enabled": False})
        await update(house, DynamicPartitioningConfiguration={"RetryOptions": {"DurationInSeconds": 7}})
        assert (await extended(house))["DynamicPartitioningConfiguration"] == {
            "Enabled": True,
            "RetryOptions": {"DurationInSeconds": 7},
        }


async def test_nothing_is_changed_while_a_stream_is_being_created(tmp_path: Path) -> None:
    async with House(tmp_path, create_ms=1000) as house:
        await house.create()
        with pytest.raises(ResourceInUse):
            await update(house, Prefix="b/")
        with pytest.raises(ResourceInUse):
            await house.call("StartDeliveryStreamEncryption", DeliveryStreamName="flights")


async def test_tags(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.call(
            "CreateDeliveryStream",
            DeliveryStreamName="flights",
            ExtendedS3DestinationConfiguration=s3(),
            Tags=[{"Key": "team", "Value": "air"}, {"Key": "bare"}],
        )
        name = {"DeliveryStreamName": "flights"}
        tags = [{"Key": f"k{n:02d}", "Value": str(n)} for n in range(48)]
        assert await house.call("TagDeliveryStream", **name, Tags=tags) == {}
        first = await house.call("ListTagsForDeliveryStream", **name, Limit=3)
        assert first == {
            "Tags": [{"Key": "bare", "Value": ""}, {"Key": "k00", "Value": "0"}, {"Key": "k01", "Value": "1"}],
            "HasMoreTags": True,
        }
        rest = await house.call("ListTagsForDeliveryStream", **name, ExclusiveStartTagKey="k46")
        assert [tag["Key"] for tag in rest["Tags"]] == ["k47", "team"]
        assert rest["HasMoreTags"] is False
        with pytest.raises(LimitExceeded, match="more than 50 tags"):
            await house.call("TagDeliveryStream", **name, Tags=[{"Key": "one more"}])
        with pytest.raises(InvalidArgument, match="Duplicate tag keys found: a"):
            await house.call("TagDeliveryStream", **name, Tags=[{"Key": "a"}, {"Key": "a"}])
        await house.call("UntagDeliveryStream", **name, TagKeys=["team", "nothing"])
        await house.call("TagDeliveryStream", **name, Tags=[{"Key": "k00", "Value": "new"}, {"Key": "one more"}])
        found = (await house.call("ListTagsForDeliveryStream", **name))["Tags"]
        assert {tag["Key"]: tag["Value"] for tag in found}["k00"] == "new"


async def test_the_life_of_encryption(tmp_path: Path) -> None:
    async with House(tmp_path, create_ms=1000) as house:
        await house.client.create_stream("air")
        house.clock.advance(2)
        await house.create("k", kinesis="air")
        await house.create()
        house.clock.advance(2)
        name = {"DeliveryStreamName": "flights"}
        customer = {"KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": KEY}
        await house.call("StartDeliveryStreamEncryption", **name, DeliveryStreamEncryptionConfigurationInput=customer)
        with pytest.raises(ResourceInUse, match="ENABLING"):
            await house.call("StopDeliveryStreamEncryption", **name)
        assert (await house.call("PutRecord", **name, Record={"Data": "YQ=="}))["Encrypted"] is False
        house.clock.advance(2)
        found = (await description(house))["DeliveryStreamEncryptionConfiguration"]
        assert found == {"Status": "ENABLED", **customer}
        assert (await house.call("PutRecord", **name, Record={"Data": "YQ=="}))["Encrypted"] is True
        batch = await house.call("PutRecordBatch", **name, Records=[{"Data": "YQ=="}])
        assert batch["Encrypted"] is True
        await house.call("StopDeliveryStreamEncryption", **name)
        assert (await description(house))["DeliveryStreamEncryptionConfiguration"]["Status"] == "DISABLING"
        house.clock.advance(2)
        await house.call("StopDeliveryStreamEncryption", **name)
        assert (await description(house))["DeliveryStreamEncryptionConfiguration"]["Status"] == "DISABLED"
        with pytest.raises(InvalidArgument, match="not permitted on KinesisStreamAsSource delivery stream type"):
            await house.call("StartDeliveryStreamEncryption", DeliveryStreamName="k")
        with pytest.raises(InvalidArgument, match="must not be provided when KeyType is AWS_OWNED_CMK"):
            await house.call(
                "StartDeliveryStreamEncryption",
                **name,
                DeliveryStreamEncryptionConfigurationInput={"KeyType": "AWS_OWNED_CMK", "KeyARN": KEY},
            )


async def test_encryption_changes_25_times_a_day(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create()
        operations = ["StartDeliveryStreamEncryption", "StopDeliveryStreamEncryption"]
        for turn in range(25):
            await house.call(operations[turn % 2], DeliveryStreamName="flights")
        with pytest.raises(LimitExceeded, match="25 times in the last 24 hours"):
            await house.call("StopDeliveryStreamEncryption", DeliveryStreamName="flights")
        house.clock.advance(24 * 3600 + 1)
        await house.call("StopDeliveryStreamEncryption", DeliveryStreamName="flights")
        assert (await description(house))["DeliveryStreamEncryptionConfiguration"]["Status"] == "DISABLED"


async def test_a_kinesis_stream_keeps_its_place_through_updates(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.client.create_stream("air", 2)
        await house.create(kinesis="air", **processing(NEWLINES))
        sent = [b"%d" % n for n in range(60)]
        for turn in range(6):
            await house.put("air", sent[turn * 10 : turn * 10 + 10])
            await house.pass_time(0 if turn % 2 else 61)
            await update(house, str(turn + 1), Prefix=f"v{turn}/")
        await house.until(lambda: sum(c.count(b"\n") for c in house.objects().values()) >= 60, step_s=10)
        await house.pass_time(1000)
        assert sorted(b"".join(house.objects().values()).splitlines()) == sorted(sent)
        assert SCOPE.stream_arn("air") in str(await description(house))
