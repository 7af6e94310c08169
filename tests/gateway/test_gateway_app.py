"""The app as its callers see it: boto3, CBOR by hand, browsers, signatures, and what goes wrong inside."""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from gateway.app import App
from gateway.auth import check_exposed
from streams.core.errors import LogFull, SettingsError
from streams.core.settings import Settings
from streams.service import REFUSED as OPERATIONS_REFUSED
from streams.service import Service
from streams.wire.model import load
from tests.aws import session

JSON = "application/x-amz-json-1.1"
CBOR = "application/x-amz-cbor-1.1"


@pytest.fixture(params=["embedded", "kafka"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    log = request.getfixturevalue("kafka_url") if request.param == "kafka" else ""
    return Settings(data=str(tmp_path), port=0, log_sync="os", log=log)


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[App]:
    async with await App.start(settings) as started:
        yield started


def client(app: App, service: str = "kinesis", *, secret: str = "secret", key: str = "key", region: str = "us-east-1"):
    return session().client(
        service,
        endpoint_url=app.url,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
    )


def send(
    app: App, body: bytes = b"", *, target: str = "", kind: str = JSON, method: str = "POST", path: str = "/", **headers
) -> tuple[int, dict[str, str], bytes]:
    """The status, the headers with lower-case names, and the body."""
    all_headers = {"Content-Type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if target:
        all_headers["X-Amz-Target"] = target
    request = urllib.request.Request(app.url + path, body or None, all_headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()


async def test_every_operation_through_boto3(app: App) -> None:
    called: set[str] = set()

    def use() -> None:
        kinesis = client(app)

        def call(operation: str, **parameters: Any) -> Any:
            called.add(operation)
            return getattr(kinesis, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower())(**parameters)

        call("CreateStream", StreamName="s", ShardCount=1)
        assert call("ListStreams")["StreamNames"] == ["s"]
        description = call("DescribeStream", StreamName="s")["StreamDescription"]
        assert description["StreamARN"] == "arn:aws:kinesis:us-east-1:000000000000:stream/s"
        assert call("DescribeStreamSummary", StreamName="s")["StreamDescriptionSummary"]["OpenShardCount"] == 1
        shard = call("ListShards", StreamName="s")["Shards"][0]["ShardId"]
        call("PutRecord", StreamName="s", Data=b"one", PartitionKey="k")
        answer = call("PutRecords", StreamName="s", Records=[{"Data": b"\0\xff", "PartitionKey": "é"}] * 3)
        assert answer["FailedRecordCount"] == 0
        iterator = call("GetShardIterator", StreamName="s", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        records = call("GetRecords", ShardIterator=iterator["ShardIterator"])["Records"]
        assert [record["Data"] for record in records] == [b"one"] + [b"\0\xff"] * 3
        call("SplitShard", StreamName="s", ShardToSplit=shard, NewStartingHashKey=str(1 << 127))
        children = [one["ShardId"] for one in call("ListShards", StreamName="s")["Shards"]][1:]
        call("MergeShards", StreamName="s", ShardToMerge=children[0], AdjacentShardToMerge=children[1])
        arn = description["StreamARN"]
        call("IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=48)
        call("DecreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=24)
        call("AddTagsToStream", StreamName="s", Tags={"a": "b"})
        assert call("ListTagsForStream", StreamName="s")["Tags"] == [{"Key": "a", "Value": "b"}]
        call("RemoveTagsFromStream", StreamName="s", TagKeys=["a"])
        call("TagResource", ResourceARN=arn, Tags={"c": "d"})
        assert call("ListTagsForResource", ResourceARN=arn)["Tags"] == [{"Key": "c", "Value": "d"}]
        call("UntagResource", ResourceARN=arn, TagKeys=["c"])
        call("PutResourcePolicy", ResourceARN=arn, Policy='{"Version": "2012-10-17", "Statement": []}')
        assert "Statement" in call("GetResourcePolicy", ResourceARN=arn)["Policy"]
        call("DeleteResourcePolicy", ResourceARN=arn)
        consumer = call("RegisterStreamConsumer", StreamARN=arn, ConsumerName="c")["Consumer"]["ConsumerARN"]
        assert call("DescribeStreamConsumer", ConsumerARN=consumer)["ConsumerDescription"]["StreamARN"] == arn
        assert len(call("ListStreamConsumers", StreamARN=arn)["Consumers"]) == 1
        events = call("SubscribeToShard", ConsumerARN=consumer, ShardId=shard, StartingPosition={"Type": "LATEST"})
        assert len(next(iter(events["EventStream"]))["SubscribeToShardEvent"]["ChildShards"]) == 2
        call("DeregisterStreamConsumer", ConsumerARN=consumer)
        scaled = call("UpdateShardCount", StreamName="s", TargetShardCount=2, ScalingType="UNIFORM_SCALING")
        assert scaled["CurrentShardCount"] == 1
        call("StartStreamEncryption", StreamName="s", EncryptionType="KMS", KeyId="alias/aws/kinesis")
        call("StopStreamEncryption", StreamName="s", EncryptionType="KMS", KeyId="alias/aws/kinesis")
        call("EnableEnhancedMonitoring", StreamName="s", ShardLevelMetrics=["ALL"])
        call("DisableEnhancedMonitoring", StreamName="s", ShardLevelMetrics=["ALL"])
        call("UpdateMaxRecordSize", StreamARN=arn, MaxRecordSizeInKiB=2048)
        call("UpdateStreamMode", StreamARN=arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})
        call("UpdateStreamRecordDistributionStrategy", StreamARN=arn, RecordDistributionStrategy="AUTO")
        commitment = {"MinimumThroughputBillingCommitment": {"Status": "ENABLED"}}
        call("UpdateAccountSettings", **commitment)
        settings = call("DescribeAccountSettings")["MinimumThroughputBillingCommitment"]
        assert settings["Status"] == "ENABLED"
        warm = call("UpdateStreamWarmThroughput", StreamARN=arn, WarmThroughputMiBps=5)
        assert warm["WarmThroughput"] == {"TargetMiBps": 5, "CurrentMiBps": 5}
        assert call("DescribeLimits")["OnDemandStreamCount"] == 1
        configuration = [{"StreamARN": arn, "StartingPosition": {"Type": "TRIM_HORIZON"}}]
        queue = call("CreateQueue", QueueName="q", StreamConfigurationList=configuration)
        queue_arn = queue["QueueDescription"]["QueueARN"]
        attributes = {"DeadLetterConfiguration": {"TargetType": "BUILT_IN", "MaxReceiveCount": 1}}
        call("UpdateQueue", QueueARN=queue_arn, QueueAttributes=attributes)
        assert call("DescribeQueue", QueueARN=queue_arn)["QueueDescription"]["QueueStatus"] == "ACTIVE"
        assert [one["QueueARN"] for one in call("ListQueues")["QueueSummaries"]] == [queue_arn]

        def take(operation: str, **parameters: Any) -> list[dict[str, Any]]:
            found = call(operation, QueueARN=queue_arn, **parameters)["QueueRecords"]
            return [{"ReceiptHandle": one["ReceiptHandle"]} for one in found]

        def change(operation: str, entries: list[dict[str, Any]]) -> None:
            reply = call(operation, QueueARN=queue_arn, Entries=entries)
            assert reply["Failed"] == []
            assert len(reply["Successful"]) == len(entries) > 0

        received = take("ReceiveQueueRecords")
        assert len(received) == 4
        change("AcknowledgeQueueRecords", received[:1])
        now = {"VisibilityTimeoutSeconds": 0}
        change("UpdateQueueRecordsVisibility", [one | now for one in received[1:]])
        dead = take("ReceiveDeadLetterQueueRecords", WaitTimeSeconds=20, VisibilityTimeoutSeconds=60)
        assert len(dead) == 3
        change("AcknowledgeDeadLetterQueueRecords", dead[:1])
        change("RestoreDeadLetterQueueRecords", dead[1:2])
        change("UpdateDeadLetterQueueRecordsVisibility", [one | now for one in dead[2:]])
        assert len(take("ReceiveQueueRecords")) == 1
        assert len(take("ReceiveDeadLetterQueueRecords")) == 1
        call("DeleteQueue", QueueARN=queue_arn)
        call("DeleteStream", StreamName="s")
        assert call("ListStreams")["StreamNames"] == []

    await asyncio.to_thread(use)
    known = set(load("kinesis").operations)
    print(f"known {len(known)}, implemented {len(Service.implemented)}, refused {len(OPERATIONS_REFUSED)}")
    assert known >= Service.implemented | OPERATIONS_REFUSED
    assert called == Service.implemented, "an operation is implemented and not called here"


async def test_firehose_and_glue_answer_on_the_same_port(app: App) -> None:
    def use() -> None:
        firehose, glue = client(app, "firehose"), client(app, "glue")
        firehose.create_delivery_stream(
            DeliveryStreamName="d",
            S3DestinationConfiguration={"RoleARN": "arn:aws:iam::000000000000:role/r", "BucketARN": "arn:aws:s3:::b"},
        )
        assert firehose.list_delivery_streams()["DeliveryStreamNames"] == ["d"]
        firehose.put_record(DeliveryStreamName="d", Record={"Data": b"x"})
        glue.create_database(DatabaseInput={"Name": "db"})
        assert [one["Name"] for one in glue.get_databases()["DatabaseList"]] == ["db"]

    await asyncio.to_thread(use)


async def test_regions_are_kept_apart(app: App) -> None:
    def use() -> None:
        client(app, region="eu-west-1").create_stream(StreamName="s", ShardCount=1)
        assert client(app, region="eu-west-1").list_streams()["StreamNames"] == ["s"]
        assert client(app).list_streams()["StreamNames"] == []

    await asyncio.to_thread(use)


async def test_cbor_by_hand(app: App) -> None:
    def in_seconds(value: int, _immutable: bool = False) -> float:
        """AWS writes milliseconds where the tag says seconds."""
        return value / 1000

    def call(operation: str, **members: Any) -> Any:
        status, headers, body = send(app, cbor2.dumps(members), target=f"Kinesis_20131202.{operation}", kind=CBOR)
        assert headers["content-type"] == CBOR
        return status, cbor2.loads(body, semantic_decoders={1: in_seconds}) if body else None

    def use() -> None:
        assert call("CreateStream", StreamName="s", ShardCount=1) == (200, None)
        status, answer = call("PutRecord", StreamName="s", Data=b"\0\1", PartitionKey="k")
        assert (status, answer["ShardId"]) == (200, "shardId-000000000000")
        shard = {"StreamName": "s", "ShardId": answer["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        _, iterator = call("GetShardIterator", **shard)
        _, answer = call("GetRecords", ShardIterator=iterator["ShardIterator"])
        assert answer["Records"][0]["Data"] == b"\0\1"
        assert abs(answer["Records"][0]["ApproximateArrivalTimestamp"] - time.time()) < 60
        status, answer = call("DescribeStream", StreamName="none")
        assert (status, answer["__type"]) == (400, "ResourceNotFoundException")

    await asyncio.to_thread(use)


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no target": ({"body": b"{}"}, 400, "UnknownOperationException"),
    "an unknown target": ({"body": b"{}", "target": "Kinesis_20131202.Nothing"}, 400, "UnknownOperationException"),
    "an unknown service": ({"body": b"{}", "target": "Nothing.ListStreams"}, 400, "UnknownOperationException"),
    "no JSON": ({"body": b"{", "target": "Kinesis_20131202.ListStreams"}, 400, "SerializationException"),
    "an unknown type": ({"body": b"{}", "target": "Kinesis_20131202.ListStreams", "kind": "text/x"}, 404, "Unknown"),
    "a channel": ({"body": b"{}", "target": "Kinesis_20131202.ListChannels"}, 400, "does not offer channels"),
    "GET": ({"method": "GET"}, 403, "AccessDeniedException"),
    "another path": ({"method": "GET", "path": "/nothing"}, 403, "AccessDeniedException"),
    "no native resource": ({"method": "GET", "path": "/native/v1/nothing"}, 400, ""),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused(app: App, name: str) -> None:
    sent, expected, told = REFUSED[name]
    status, headers, body = await asyncio.to_thread(send, app, **sent)
    assert status == expected
    assert told in body.decode()
    assert uuid.UUID(headers["x-amzn-requestid"]).version == 4


async def test_request_ids_differ(app: App) -> None:
    def use() -> list[str]:
        return [send(app, method="GET", path="/healthz")[1]["x-amzn-requestid"] for _ in range(3)]

    assert len(set(await asyncio.to_thread(use))) == 3


async def test_health_and_browsers(app: App) -> None:
    def use() -> None:
        assert send(app, method="GET", path="/healthz")[0] == 200
        asked = {
            "Access_Control_Request_Headers": "x-amz-target",
            "Access_Control_Request_Method": "POST",
            "Origin": "http://page",
        }
        status, headers, body = send(app, method="OPTIONS", **asked)
        assert (status, body) == (200, b"")
        assert headers["access-control-allow-headers"] == "x-amz-target"
        assert headers["access-control-allow-methods"] == "POST"
        assert headers["access-control-max-age"] == "172800"
        assert "x-amz-id-2" not in headers
        _, headers, _ = send(app, b"{}", target="Kinesis_20131202.ListStreams", Origin="http://page")
        assert headers["access-control-allow-origin"] == "*"
        assert "x-amzn-RequestId" in headers["access-control-expose-headers"]

    await asyncio.to_thread(use)


async def test_a_body_too_large(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), port=0, body_size_max=1 << 20)
    async with await App.start(settings) as app:
        records = [{"Data": b"x" * 1_000_000, "PartitionKey": "k"}] * 2
        with pytest.raises(ClientError, match="exceeds 1048576 bytes") as caught:
            await asyncio.to_thread(client(app).put_records, StreamName="s", Records=records)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


async def test_what_goes_wrong_inside_stays_inside(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("a secret path /etc/x")

    monkeypatch.setattr(Service, "call", fail)
    status, headers, body = await asyncio.to_thread(send, app, b"{}", target="Kinesis_20131202.ListStreams")
    assert status == 500
    assert json.loads(body)["__type"] == "InternalFailure"
    assert b"secret" not in body
    assert headers["x-amzn-requestid"] in caplog.text
    assert "a secret path" in caplog.text

    async def full(*_: Any) -> None:
        raise LogFull("no space")

    monkeypatch.setattr(Service, "call", full)
    status, _, body = await asyncio.to_thread(send, app, b"{}", target="Kinesis_20131202.ListStreams")
    assert (status, json.loads(body)["__type"]) == (500, "InternalFailure")


async def test_signatures_are_checked_where_there_are_credentials(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), port=0, host="0.0.0.0", credentials={"key": "secret"})
    async with await App.start(settings) as app:

        def use() -> None:
            assert client(app).list_streams()["StreamNames"] == []
            with pytest.raises(ClientError, match="InvalidSignatureException"):
                client(app, secret="wrong").list_streams()
            with pytest.raises(ClientError, match="UnrecognizedClientException"):
                client(app, key="nobody").list_streams()
            unsigned = send(app, b"{}", target="Kinesis_20131202.ListStreams")
            assert b"MissingAuthenticationTokenException" in unsigned[2]
            # A body that does not parse is told first, as at AWS.
            assert b"SerializationException" in send(app, b"{", target="Kinesis_20131202.ListStreams")[2]
            assert send(app, method="GET", path="/native/v1/streams")[0] == 400
            assert send(app, method="GET", path="/healthz")[0] == 200

        await asyncio.to_thread(use)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_other_machines_need_credentials(host: str) -> None:
    with pytest.raises(SettingsError, match="Set credentials"):
        check_exposed(Settings(host=host))
    check_exposed(Settings(host=host, credentials={"key": "secret"}))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_this_machine_needs_none(host: str) -> None:
    check_exposed(Settings(host=host))


async def test_records_survive_a_restart_and_a_port_in_use_leaves_nothing_open(
    app: App, settings: Settings, tmp_path: Path
) -> None:
    await asyncio.to_thread(client(app).create_stream, StreamName="s", ShardCount=1)
    other = Settings(data=str(tmp_path / "other"), port=int(app.url.rpartition(":")[2]))
    with pytest.raises(OSError, match="in use"):
        await App.start(other)
    async with await App.start(Settings(data=other.data, port=0)):
        pass
    await app.stop()
    async with await App.start(settings) as again:
        assert (await asyncio.to_thread(client(again).list_streams))["StreamNames"] == ["s"]
