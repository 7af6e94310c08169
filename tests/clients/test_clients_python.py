"""Python clients: AWS CLI v1, the newest boto3, async-kinesis, aiokpl; and every paginator and waiter of boto3's model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from clients_support import ENVIRONMENT, installed

from gateway.testing import TestServer

RECORDS = sorted(f"r{number}" for number in range(50))


def test_async_kinesis_and_aiokpl(headrace: TestServer) -> None:
    python = installed("aio") / "bin" / "python"
    script = Path(__file__).parent / "aio_client.py"
    done = subprocess.run(
        [str(python), str(script), headrace.url], env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["async-kinesis"] == RECORDS
    assert told["aiokpl"] == RECORDS
    assert told["shards"] == ["shardId-000000000000", "shardId-000000000001"]


def test_aws_cli(headrace: TestServer) -> None:
    folder = installed("current")

    def aws(*arguments: str) -> Any:
        command = [str(folder / "bin" / "python"), str(folder / "bin" / "aws"), "kinesis", *arguments]
        options = ["--endpoint-url", headrace.url, "--output", "json"]
        done = subprocess.run([*command, *options], env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    aws("create-stream", "--stream-name", "s", "--shard-count", "1")
    aws("wait", "stream-exists", "--stream-name", "s")
    aws("put-record", "--stream-name", "s", "--partition-key", "k", "--data", "hello")
    at = ["--shard-id", "shardId-000000000000", "--shard-iterator-type", "TRIM_HORIZON"]
    iterator = aws("get-shard-iterator", "--stream-name", "s", *at)["ShardIterator"]
    assert [one["Data"] for one in aws("get-records", "--shard-iterator", iterator)["Records"]] == ["aGVsbG8="]
    assert aws("list-streams")["StreamNames"] == ["s"]
    aws("delete-stream", "--stream-name", "s")
    aws("wait", "stream-not-exists", "--stream-name", "s")


CURRENT = """
import boto3, json, sys
kinesis = boto3.client("kinesis", endpoint_url=sys.argv[1])
kinesis.create_stream(StreamName="s", ShardCount=1)
arn = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]["ConsumerARN"]
kinesis.put_record(StreamARN=arn, PartitionKey="k", Data=b"hello")
events = kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId="0", StartingPosition={"Type": "TRIM_HORIZON"})
event = next(iter(events["EventStream"]))["SubscribeToShardEvent"]
print(json.dumps([record["Data"].decode() for record in event["Records"]]))
"""


def test_the_newest_boto3(headrace: TestServer) -> None:
    python = installed("current") / "bin" / "python"
    command = [str(python), "-c", CURRENT, headrace.url]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["hello"]


def test_every_paginator_and_waiter_of_the_model(headrace: TestServer) -> None:
    kinesis = headrace.client()
    for number in range(3):
        kinesis.create_stream(StreamName=f"s{number}", ShardCount=3)
    arn = kinesis.describe_stream_summary(StreamName="s0")["StreamDescriptionSummary"]["StreamARN"]
    for number in range(3):
        kinesis.register_stream_consumer(StreamARN=arn, ConsumerName=f"c{number}")
    asked: dict[str, tuple[dict[str, Any], str, int]] = {
        "describe_stream": ({"StreamName": "s0"}, "StreamDescription.Shards", 3),
        "list_shards": ({"StreamName": "s0"}, "Shards", 3),
        "list_stream_consumers": ({"StreamARN": arn}, "Consumers", 3),
        "list_streams": ({}, "StreamNames", 3),
    }
    for operation, (members, path, count) in asked.items():
        # At AWS, too, the second page of list_shards fails: botocore says StreamName beside NextToken.
        size = {} if operation == "list_shards" else {"PageSize": 1}
        pages = kinesis.get_paginator(operation).paginate(**members, PaginationConfig=size)
        assert len(list(pages.search(f"{path}[]"))) == count, operation
    waiters = {name for name in kinesis.waiter_names if not name.startswith("channel_")}
    assert waiters == {"stream_exists", "stream_not_exists"}
    kinesis.get_waiter("stream_exists").wait(StreamName="s0")
    kinesis.delete_stream(StreamName="s0", EnforceConsumerDeletion=True)
    kinesis.get_waiter("stream_not_exists").wait(StreamName="s0")
    paginators = {name for name in kinesis.meta.method_to_api_mapping if kinesis.can_paginate(name)}
    assert paginators - {"list_channels", "list_queues"} == set(asked)
