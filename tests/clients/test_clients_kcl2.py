"""The Kinesis Client Library 2 in Java, polling and by fan-out, through a split and merges; DynamoDB is moto's server."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from clients_support import JAVA, installed
from kcl_support import MODES, STREAM, create, dynamodb, reshard, started

from gateway.testing import TestServer


@pytest.mark.timeout(400)
def test_every_record_through_a_split_and_merges(headrace: TestServer, tmp_path: Path) -> None:
    """Two applications at once on one stream, one of each mode."""
    package = installed("kcl2")
    kinesis = create(headrace)
    with contextlib.ExitStack() as stack:
        leases = stack.enter_context(dynamodb())
        applications = []
        for mode in MODES:
            folder = tmp_path / mode
            folder.mkdir()
            classes = f"{package / 'classes'}:{package / 'jars' / '*'}"
            command = [*JAVA, "-cp", classes, "Worker", headrace.url, leases, mode, str(folder / "output.jsonl")]
            applications.append(stack.enter_context(started(command, folder, {})))
        reshard(headrace, kinesis, applications)
    arn = f"arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}"
    consumers = kinesis.list_stream_consumers(StreamARN=arn)["Consumers"]
    assert [consumer["ConsumerName"] for consumer in consumers] == ["app-fanout"]
