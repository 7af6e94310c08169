"""Create, describe, list, delete and put, and AWS's words for what is wrong."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from streams.core.errors import (
    InternalFailure,
    InvalidArgument,
    RequestError,
    ResourceInUse,
    ResourceNotFound,
    ServiceUnavailable,
    UnsupportedOperation,
)
from tests.firehose.harness import NEWLINES, SCOPE, House, function, processing, s3, step
from tests.firehose.test_firehose_conversion import conversion, partitioned, query, register

KINESIS = {"KinesisStreamARN": SCOPE.stream_arn("air"), "RoleARN": "arn:aws:iam::000000000000:role/firehose"}


async def test_the_life_of_a_delivery_stream(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        answer = await house.call(
            "CreateDeliveryStream", DeliveryStreamName="a", S3DestinationConfiguration=s3(size=None)
        )
        arn = "arn:aws:firehose:us-east-1:000000000000:deliverystream/a"
        assert answer == {"DeliveryStreamARN": arn}
        description = (await house.call("DescribeDeliveryStream", DeliveryStreamName="a"))["DeliveryStreamDescription"]
        s3_description = {
            "RoleARN": "arn:aws:iam::000000000000:role/firehose",
            "BucketARN": "arn:aws:s3:::lake",
            "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 300},
            "CompressionFormat": "UNCOMPRESSED",
            "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
            "CloudWatchLoggingOptions": {"Enabled": False},
        }
        assert description == {
            "DeliveryStreamName": "a",
            "DeliveryStreamARN": arn,
            "DeliveryStreamStatus": "ACTIVE",
            "DeliveryStreamType": "DirectPut",
            "VersionId": "1",
            "CreateTimestamp": 1_700_000_000.0,
            "HasMoreDestinations": False,
            "DeliveryStreamEncryptionConfiguration": {"Status": "DISABLED"},
            "Destinations": [
                {
                    "DestinationId": "destinationId-000000000001",
                    "S3DestinationDescription": s3_description,
                    "ExtendedS3DestinationDescription": {
                        **s3_description,
                        "S3BackupMode": "Disabled",
                        "ProcessingConfiguration": {"Enabled": False},
                    },
                }
            ],
        }
        assert await house.call("DeleteDeliveryStream", DeliveryStreamName="a") == {}
        with pytest.raises(ResourceNotFound, match=r"Firehose a under account 000000000000 not found\."):
            await house.call("DescribeDeliveryStream", DeliveryStreamName="a")


async def test_a_kinesis_source_and_a_function_in_the_description(tmp_path: Path) -> None:
    async with House(tmp_path, functions={"f": "a:b"}) as house:
        await house.client.create_stream("air")
        await house.create("a", kinesis="air", **processing(function("f", NumberOfRetries=1, RoleArn="arn:r")))
        description = (await house.call("DescribeDeliveryStream", DeliveryStreamName="a"))["DeliveryStreamDescription"]
        assert "DeliveryStreamEncryptionConfiguration" not in description
        assert description["Source"] == {
            "KinesisStreamSourceDescription": {**KINESIS, "DeliveryStartTimestamp": 1_700_000_000.0}
        }
        extended = description["Destinations"][0]["ExtendedS3DestinationDescription"]
        (processor,) = extended["ProcessingConfiguration"]["Processors"]
        assert [(p["ParameterName"], p["ParameterValue"]) for p in processor["Parameters"]] == [
            ("LambdaArn", "arn:aws:lambda:us-east-1:000000000000:function:f"),
            ("NumberOfRetries", "1"),
            ("RoleArn", "arn:r"),
            ("BufferSizeInMBs", "1"),
            ("BufferIntervalInSeconds", "60"),
        ]


async def test_the_list_is_sorted_and_comes_in_pages(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.client.create_stream("air")
        for name in [f"s{n:02d}" for n in range(11, -1, -1)]:
            await house.create(name)
        await house.create("k", kinesis="air")
        first = await house.call("ListDeliveryStreams")
        assert first == {
            "DeliveryStreamNames": ["k", *(f"s{n:02d}" for n in range(9))],
            "HasMoreDeliveryStreams": True,
        }
        rest = await house.call("ListDeliveryStreams", ExclusiveStartDeliveryStreamName="s08", Limit=100)
        assert rest == {"DeliveryStreamNames": ["s09", "s10", "s11"], "HasMoreDeliveryStreams": False}
        kinesis = await house.call("ListDeliveryStreams", DeliveryStreamType="KinesisStreamAsSource")
        assert kinesis["DeliveryStreamNames"] == ["k"]


async def test_puts_are_refused_where_they_do_not_belong(tmp_path: Path) -> None:
    async with House(tmp_path, create_ms=1000) as house:
        await house.client.create_stream("air")
        await house.create("k", kinesis="air")
        with pytest.raises(ResourceNotFound, match=r"Firehose k is not active in 000000000000 account\."):
            await house.call("PutRecord", DeliveryStreamName="k", Record={"Data": "YQ=="})
        with pytest.raises(ResourceInUse):
            await house.call("DeleteDeliveryStream", DeliveryStreamName="k")
        house.clock.advance(1)
        with pytest.raises(InvalidArgument, match="not permitted on KinesisStreamAsSource delivery stream type"):
            await house.call("PutRecord", DeliveryStreamName="k", Record={"Data": "YQ=="})
        await house.create("d")
        house.clock.advance(1)
        data = "A" * 1_200_000
        with pytest.raises(InvalidArgument, match="4 MB"):
            await house.call("PutRecordBatch", DeliveryStreamName="d", Records=[{"Data": data}] * 5)
        answer = await house.call("PutRecordBatch", DeliveryStreamName="d", Records=[{"Data": "YQ=="}] * 3)
        assert answer["FailedPutCount"] == 0
        assert len({one["RecordId"] for one in answer["RequestResponses"]}) == 3


async def test_a_log_that_takes_nothing_fails_each_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with House(tmp_path) as house:
        await house.create("d")

        async def full(*_: Any) -> None:
            raise InternalFailure("no space left")

        monkeypatch.setattr(house.service, "put", full)
        answer = await house.call("PutRecordBatch", DeliveryStreamName="d", Records=[{"Data": "YQ=="}] * 2)
        entry = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
        assert answer == {"FailedPutCount": 2, "Encrypted": False, "RequestResponses": [entry, entry]}
        with pytest.raises(ServiceUnavailable):
            await house.call("PutRecord", DeliveryStreamName="d", Record={"Data": "YQ=="})


async def test_puts_that_the_disk_does_not_keep_up_with_are_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory holds 64 MiB of them, whoever sends how many requests at once; once there is room they are taken again."""
    data = base64.b64encode(b"x" * 1_000_000).decode()
    async with House(tmp_path) as house:
        await house.create("d")
        put, go_on = house.service.put, asyncio.Event()
        waiting = 0

        async def slow(*arguments: Any, **options: Any) -> Any:
            nonlocal waiting
            waiting += 1
            await go_on.wait()
            return await put(*arguments, **options)

        monkeypatch.setattr(house.service, "put", slow)
        batch = {"DeliveryStreamName": "d", "Records": [{"Data": data}] * 4}
        sent = [asyncio.create_task(house.call("PutRecordBatch", **batch)) for _ in range(40)]
        await house.until(lambda: sum(one.done() for one in sent) == 24)
        assert waiting == 16
        single = {"DeliveryStreamName": "d", "Record": {"Data": data}}
        singles = [asyncio.create_task(house.call("PutRecord", **single)) for _ in range(5)]
        await house.until(lambda: sum(one.done() for one in singles) == 2)
        go_on.set()
        answers = await asyncio.gather(*sent)
        assert sorted(answer["FailedPutCount"] for answer in answers) == [0] * 16 + [4] * 24
        outcomes = await asyncio.gather(*singles, return_exceptions=True)
        assert sum(isinstance(outcome, ServiceUnavailable) for outcome in outcomes) == 2
        assert sum(isinstance(outcome, dict) for outcome in outcomes) == 3
        assert (await house.call("PutRecordBatch", **batch))["FailedPutCount"] == 0


async def test_deleted_records_are_not_delivered_and_a_new_stream_starts_empty(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create("d", **processing(NEWLINES))
        await house.put("firehose/d", [b"old"])
        await house.settle()
        await house.call("DeleteDeliveryStream", DeliveryStreamName="d")
        await house.create("d", **processing(NEWLINES))
        await house.put("firehose/d", [b"new"])
        await house.until(house.delivered, step_s=10)
        assert list(house.objects().values()) == [b"new\n"]


async def test_a_deletion_that_was_interrupted_is_finished_at_the_start(tmp_path: Path) -> None:
    from firehose.events import Deleting

    house = House(tmp_path)
    async with house:
        await house.create("d")
        await house.firehose._book.commit(Deleting(1, 0))
        assert (await house.call("DeleteDeliveryStream", DeliveryStreamName="d")) == {}
    async with house:
        assert (await house.call("ListDeliveryStreams"))["DeliveryStreamNames"] == []
        await house.create("d")


async def test_a_snapshot_keeps_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firehose.book.SNAPSHOT_EVENTS", 2)
    house = House(tmp_path)
    async with house:
        await register(house)
        await house.create("d", **processing(NEWLINES))
        await house.put("firehose/d", [b"1"])
        await house.until(house.delivered, step_s=10)
        before = house.streams()[0].main.positions()
    async with house:
        assert house.streams()[0].main.positions() == before
        assert (await house.glue("GetTables", DatabaseName="air"))["TableList"][0]["Name"] == "flights"
        await house.pass_time(1000)
        assert list(house.objects().values()) == [b"1\n"]


async def test_other_operations_and_glue(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        with pytest.raises(UnsupportedOperation, match="GetCrawlers"):
            await house.firehose.glue.call("GetCrawlers", None, SCOPE)
        await register(house)
        for operation, request in (
            ("CreateDatabase", {"DatabaseInput": {"Name": "AIR"}}),
            ("CreateTable", {"DatabaseName": "air", "TableInput": {"Name": "flights"}}),
        ):
            with pytest.raises(RequestError) as raised:
                await house.glue(operation, **request)
            assert raised.value.code == "AlreadyExistsException"
        with pytest.raises(RequestError) as raised:
            await house.glue("GetTable", DatabaseName="air", Name="none")
        assert raised.value.code == "EntityNotFoundException"
        assert (await house.glue("GetDatabase", Name="air"))["Database"]["Name"] == "air"
        assert [one["Name"] for one in (await house.glue("GetDatabases"))["DatabaseList"]] == ["air"]
        table = (await house.glue("GetTable", DatabaseName="air", Name="flights"))["Table"]
        assert table["StorageDescriptor"]["Columns"][0] == {"Name": "month", "Type": "int"}


FUNCTION = processing(function("f"))
BAD_DESTINATIONS: list[tuple[dict[str, Any], str]] = [
    (s3(S3BackupMode="Enabled"), "S3BackupConfiguration is required when S3BackupMode is Enabled"),
    (
        s3(S3BackupMode="Enabled", S3BackupConfiguration=s3(interval=59)),
        "IntervalInSeconds must be at least 60 seconds for S3 backup",
    ),
    (
        s3(
            S3BackupMode="Enabled", S3BackupConfiguration=s3(Prefix="!{partitionKeyFromQuery:k}", ErrorOutputPrefix="e")
        ),
        "Prefix of an S3 backup cannot contain partition key expressions",
    ),
    (
        s3(
            EncryptionConfiguration={
                "KMSEncryptionConfig": {"AWSKMSKeyARN": "arn:aws:kms:us-east-1:000000000000:key/k"}
            }
        ),
        "KMSEncryptionConfig",
    ),
    ({**s3(), "BucketARN": "arn:aws:s3:::.."}, "is not the ARN of an S3 bucket"),
    ({**s3(), "BufferingHints": {"SizeInMBs": 5}}, "needs both SizeInMBs and IntervalInSeconds"),
    (s3(CustomTimeZone="Mars/Base"), "CustomTimeZone Mars/Base is not a known time zone"),
    (s3(Prefix="!{timestamp:yyyy}"), "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions"),
    (s3(Prefix="!{time:yyyy}", ErrorOutputPrefix="e"), "Invalid prefix expression namespace 'time'"),
    (s3(Prefix="!{timestamp:yyyyb}", ErrorOutputPrefix="e"), "Unknown pattern letter: b"),
    (s3(Prefix="!{timestamp:'open}", ErrorOutputPrefix="e"), "incomplete string literal"),
    (s3(Prefix="!{oops", ErrorOutputPrefix="e"), "may only begin an expression"),
    (s3(Prefix="!{firehose:error-output-type}", ErrorOutputPrefix="e"), "Prefix cannot contain"),
    (s3(ErrorOutputPrefix="!{timestamp:yyyy}/"), "ErrorOutputPrefix needs !"),
    (
        s3(Prefix="!{partitionKeyFromLambda:k}/", ErrorOutputPrefix="e"),
        "Dynamic Partitioning Namespaces can only be part of a prefix expression when",
    ),
    (s3(size=64, **partitioned("plain/"), **FUNCTION), "must contain partition key expressions"),
    (s3(size=64, **partitioned()), "needs a Lambda processor"),
    (s3(size=64, **partitioned("!{partitionKeyFromQuery:k}/"), **FUNCTION), "needs a MetadataExtraction processor"),
    (
        s3(size=64, interval=59, **partitioned(), **FUNCTION),
        r"BufferingHints\.IntervalInSeconds must be at least 60 seconds when Dynamic Partitioning is enabled\.",
    ),
    (
        s3(size=63, **partitioned(), **FUNCTION),
        r"BufferingHints\.SizeInMBs must be at least 64 when Dynamic Partitioning is enabled\.",
    ),
    (
        s3(
            size=64,
            **partitioned("!{partitionKeyFromQuery:k}/"),
            **processing(query("{k: ")),
        ),
        "is not a jq program",
    ),
    (s3(**conversion()), "SizeInMBs must be at least 64 when data format conversion"),
    (s3(size=64, CompressionFormat="GZIP", **conversion()), "CompressionFormat must be UNCOMPRESSED"),
    (s3(size=64, **conversion()), r"Table air\.flights was not found in the data catalog"),
    (s3(**processing(function("g"))), "Function g does not exist"),
    (s3(**processing(function("f", NumberOfRetries=301))), "NumberOfRetries must be between 0 and 300, not 301"),
    (s3(**processing(function("f"), function("f"))), "Cannot have more than 1 Lambda processor"),
    (s3(**processing()), "A maximum of 5 and a minimum of 1 processor needs to be supplied"),
    (s3(**processing(query("{}"))), "needs Dynamic Partitioning to be enabled"),
    (
        s3(**processing({"Type": "Decompression", "Parameters": []})),
        "Decompression needs the parameter CompressionFormat",
    ),
    (
        s3(**processing(step("CloudWatchLogProcessing", DataMessageExtraction="true"))),
        "needs the processor Decompression",
    ),
    (
        s3(**processing(step("RecordDeAggregation", SubRecordType="XML"))),
        "SubRecordType, one of JSON, DELIMITED, not XML",
    ),
    (s3(**processing(step("RecordDeAggregation", SubRecordType="DELIMITED"))), "needs the parameter Delimiter"),
    (
        s3(**processing(step("RecordDeAggregation", SubRecordType="DELIMITED", Delimiter="%"))),
        "Delimiter % is not base64",
    ),
]


@pytest.mark.parametrize(("destination", "words"), BAD_DESTINATIONS, ids=[words[:40] for _, words in BAD_DESTINATIONS])
async def test_a_destination_that_cannot_be(tmp_path: Path, destination: dict[str, Any], words: str) -> None:
    async with House(tmp_path, functions={"f": "a:b"}) as house:
        with pytest.raises(InvalidArgument, match=words):
            await house.call(
                "CreateDeliveryStream", DeliveryStreamName="a", ExtendedS3DestinationConfiguration=destination
            )
        assert (await house.call("ListDeliveryStreams"))["DeliveryStreamNames"] == []


ROLE = "arn:aws:iam::000000000000:role/firehose"
EXTENDED = {"ExtendedS3DestinationConfiguration": s3()}
SPLUNK = {
    "SplunkDestinationConfiguration": {
        "HECEndpoint": "https://splunk:8088",
        "HECEndpointType": "Raw",
        "S3Configuration": s3(),
    }
}
TOPIC = {
    "MSKClusterARN": "arn:aws:kafka:us-east-1:000000000000:cluster/c/1",
    "TopicName": "t",
    "AuthenticationConfiguration": {"RoleARN": ROLE, "Connectivity": "PRIVATE"},
}

BAD_REQUESTS: list[tuple[dict[str, Any], str]] = [
    ({}, "Exactly one destination configuration is supported for a Firehose"),
    ({**EXTENDED, "S3DestinationConfiguration": s3()}, "Exactly one destination"),
    ({**EXTENDED, **SPLUNK}, "Exactly one destination"),
    (SPLUNK, "Destination Splunk is not supported by this server yet"),
    (
        {**EXTENDED, "KinesisStreamSourceConfiguration": KINESIS},
        "KinesisSourceStreamConfig is only applicable for KinesisStreamAsSource stream type",
    ),
    ({**EXTENDED, "DeliveryStreamType": "KinesisStreamAsSource"}, "KinesisStreamSourceConfiguration is needed"),
    (
        {**EXTENDED, "DeliveryStreamType": "KinesisStreamAsSource", "KinesisStreamSourceConfiguration": KINESIS},
        "Kinesis stream arn:aws:kinesis:us-east-1:000000000000:stream/air was not found",
    ),
    ({**EXTENDED, "DeliveryStreamType": "MSKAsSource"}, "MSKSourceConfiguration is needed for MSKAsSource stream type"),
    (
        {**EXTENDED, "MSKSourceConfiguration": TOPIC},
        "MSKSourceConfig is only applicable for MSKAsSource stream type",
    ),
    (
        {
            **EXTENDED,
            "DeliveryStreamType": "MSKAsSource",
            "MSKSourceConfiguration": TOPIC,
            "DirectPutSourceConfiguration": {"ThroughputHintInMBs": 1},
        },
        "DirectPutSourceConfig is only applicable for DirectPut stream type",
    ),
    (
        {**EXTENDED, "DeliveryStreamType": "MSKAsSource", "MSKSourceConfiguration": TOPIC},
        "MSK cluster arn:aws:kafka:us-east-1:000000000000:cluster/c/1 is not known here: the setting kafka_clusters",
    ),
    (
        {**EXTENDED, "DeliveryStreamEncryptionConfigurationInput": {"KeyType": "CUSTOMER_MANAGED_CMK"}},
        "KeyARN is required when KeyType is CUSTOMER_MANAGED_CMK",
    ),
    ({**EXTENDED, "Tags": [{"Key": "a"}, {"Key": "a"}]}, "Duplicate tag keys found: a"),
]


@pytest.mark.parametrize(("request_", "words"), BAD_REQUESTS, ids=[words[:40] for _, words in BAD_REQUESTS])
async def test_a_request_that_cannot_be(tmp_path: Path, request_: dict[str, Any], words: str) -> None:
    async with House(tmp_path) as house:
        with pytest.raises(InvalidArgument, match=words):
            await house.call("CreateDeliveryStream", DeliveryStreamName="a", **request_)


async def test_a_name_that_is_taken(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create("a")
        with pytest.raises(ResourceInUse, match="Firehose a under accountId 000000000000 already exists"):
            await house.create("a")
