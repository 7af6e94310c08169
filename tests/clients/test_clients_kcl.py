"""The Kinesis Client Library 3, polling and by fan-out, through a split and merges; DynamoDB is moto's server."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import pytest
from clients_support import JAVA, installed
from kcl_support import MODES, STREAM, create, dynamodb, reshard, started

from gateway.testing import TestServer

PROCESSOR = Path(__file__).parent / "kcl_processor.py"


def properties(server: TestServer, leases: str, mode: str) -> str:
    values: dict[str, Any] = {
        "executableName": f"{sys.executable} {PROCESSOR}",
        "streamName": STREAM,
        "applicationName": f"app-{mode.lower()}",
        "AwsCredentialsProvider": "EnvironmentVariableCredentialsProvider",
        "initialPositionInStream": "TRIM_HORIZON",
        "kinesisEndpoint": server.url,
        "dynamoDBEndpoint": leases,
        "regionName": "us-east-1",
        "metricsLevel": "NONE",
        "retrievalMode": mode,
        "failoverTimeMillis": 2000,
        "parentShardPollIntervalMillis": 500,
        "idleTimeBetweenReadsInMillis": 200,
        "shardSyncIntervalMillis": 1000,
    }
    return "".join(f"{name} = {value}\n" for name, value in values.items())


@pytest.mark.timeout(400)
def test_every_record_through_a_split_and_merges(headrace: TestServer, tmp_path: Path) -> None:
    """Two applications at once on one stream, one of each mode."""
    package = installed("kcl")
    kinesis = create(headrace)
    with contextlib.ExitStack() as stack:
        leases = stack.enter_context(dynamodb())
        applications = []
        for mode in MODES:
            folder = tmp_path / mode
            folder.mkdir()
            file = folder / "kcl.properties"
            file.write_text(properties(headrace, leases, mode))
            jars = package / "amazon_kclpy" / "jars" / "*"
            command = [*JAVA, "-cp", str(jars), "software.amazon.kinesis.multilang.MultiLangDaemon"]
            environment = {"KCL_FOLDER": str(package), "KCL_OUTPUT": str(folder / "output.jsonl")}
            command += ["--properties-file", str(file)]
            applications.append(stack.enter_context(started(command, folder, environment)))
        reshard(headrace, kinesis, applications)
    arn = f"arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}"
    consumers = kinesis.list_stream_consumers(StreamARN=arn)["Consumers"]
    assert [consumer["ConsumerName"] for consumer in consumers] == ["app-fanout"]
