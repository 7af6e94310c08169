"""The operations as boto3 does them, over a socket, and AWS's words for what its model refuses."""

from __future__ import annotations

from typing import Any

import botocore.exceptions
import pytest

from gateway.testing import TestServer
from tests.firehose.harness import s3

ENUM = (
    "at 'extendedS3DestinationConfiguration.compressionFormat' failed to satisfy constraint: Member must satisfy enum "
    "value set: [ZIP, HADOOP_SNAPPY, Snappy, GZIP, UNCOMPRESSED]"
)


def refused(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        call(**request)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


def test_all_twelve_operations(headrace: TestServer) -> None:
    firehose = headrace.client("firehose")
    name = {"DeliveryStreamName": "clicks"}
    arn = firehose.create_delivery_stream(**name, ExtendedS3DestinationConfiguration=s3(), Tags=[{"Key": "a"}])
    assert arn["DeliveryStreamARN"].endswith(":deliverystream/clicks")
    assert firehose.put_record(**name, Record={"Data": b"1"})["RecordId"]
    assert firehose.put_record_batch(**name, Records=[{"Data": b""}, {"Data": b"2"}])["FailedPutCount"] == 0
    firehose.update_destination(
        **name,
        CurrentDeliveryStreamVersionId="1",
        DestinationId="destinationId-000000000001",
        S3DestinationUpdate={"Prefix": "new/"},
    )
    firehose.tag_delivery_stream(**name, Tags=[{"Key": "b", "Value": "c"}])
    firehose.untag_delivery_stream(**name, TagKeys=["a"])
    assert firehose.list_tags_for_delivery_stream(**name)["Tags"] == [{"Key": "b", "Value": "c"}]
    firehose.start_delivery_stream_encryption(**name)
    found = firehose.describe_delivery_stream(**name)["DeliveryStreamDescription"]
    assert found["VersionId"] == "2"
    assert found["LastUpdateTimestamp"] >= found["CreateTimestamp"]
    assert found["DeliveryStreamEncryptionConfiguration"] == {"Status": "ENABLED", "KeyType": "AWS_OWNED_CMK"}
    assert found["Destinations"][0]["S3DestinationDescription"]["Prefix"] == "new/"
    firehose.stop_delivery_stream_encryption(**name)
    assert firehose.list_delivery_streams()["DeliveryStreamNames"] == ["clicks"]
    firehose.delete_delivery_stream(**name, AllowForceDelete=True)
    assert firehose.list_delivery_streams()["DeliveryStreamNames"] == []


def test_what_the_model_refuses(headrace: TestServer) -> None:
    firehose = headrace.client("firehose")
    firehose.create_delivery_stream(DeliveryStreamName="a", ExtendedS3DestinationConfiguration=s3())
    code, message = refused(
        firehose.create_delivery_stream,
        DeliveryStreamName="b",
        ExtendedS3DestinationConfiguration=s3(CompressionFormat="LZ4"),
    )
    assert code == "ValidationException"
    assert message.startswith("1 validation error detected: Value ")
    assert message.endswith(ENUM)
    code, message = refused(firehose.put_record_batch, DeliveryStreamName="a", Records=[{"Data": b"1"}] * 501)
    assert (code, "less than or equal to 500" in message) == ("ValidationException", True)
    code, message = refused(firehose.put_record, DeliveryStreamName="a", Record={"Data": b"x" * 1_024_001})
    assert (code, "less than or equal to 1024000" in message) == ("ValidationException", True)
    assert firehose.put_record(DeliveryStreamName="a", Record={"Data": b"x" * 1_024_000})["RecordId"]
    code, _ = refused(firehose.tag_delivery_stream, DeliveryStreamName="a", Tags=[{"Key": "aws:a"}])
    assert code == "ValidationException"
    code, message = refused(firehose.describe_delivery_stream, DeliveryStreamName="none")
    assert (code, message) == ("ResourceNotFoundException", "Firehose none under account 000000000000 not found.")
