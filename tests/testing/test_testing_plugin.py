"""The pytest plugin, as a project that installs Headrace sees it."""

from __future__ import annotations

import threading
from typing import Any

import boto3
import pytest

from gateway.testing import TestServer
from streams.core.errors import SettingsError
from streams.core.settings import Fault
from streams.sdk.http import HttpClient


def test_a_client_made_by_unmodified_code_talks_to_the_fixture(headrace: TestServer) -> None:
    kinesis = boto3.client("kinesis")
    kinesis.create_stream(StreamName="s", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName="s")
    number = kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"hello")["SequenceNumber"]
    iterator = headrace.client().get_shard_iterator(StreamName="s", ShardId="0", ShardIteratorType="TRIM_HORIZON")
    records = kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    assert [(record["SequenceNumber"], record["Data"]) for record in records] == [(number, b"hello")]


def test_each_test_has_a_server_of_its_own(headrace: TestServer) -> None:
    assert headrace.client().list_streams()["StreamNames"] == []


def test_time_is_in_the_hands_of_the_test(headrace: TestServer) -> None:
    kinesis = headrace.client()
    kinesis.create_stream(StreamName="s", ShardCount=1)
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"")
    at = {"StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(**at)["ShardIterator"]
    headrace.advance(301)
    with pytest.raises(kinesis.exceptions.ExpiredIteratorException):
        kinesis.get_records(ShardIterator=iterator)
    headrace.advance(24 * 3600)
    iterator = kinesis.get_shard_iterator(**at)["ShardIterator"]
    assert kinesis.get_records(ShardIterator=iterator)["Records"] == []


@pytest.mark.headrace(faults=(Fault(operation="ListStreams", error="LimitExceededException"),), create_ms=5000)
def test_settings_come_from_the_marker(headrace: TestServer) -> None:
    kinesis = headrace.client(config=boto3.session.Config(retries={"max_attempts": 0}))
    with pytest.raises(kinesis.exceptions.LimitExceededException, match="Injected fault"):
        kinesis.list_streams()
    kinesis.create_stream(StreamName="s", ShardCount=1)
    assert status(kinesis) == "CREATING"
    headrace.advance(5)
    assert status(kinesis) == "ACTIVE"


def status(kinesis: Any) -> str:
    return kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamStatus"]


def test_a_delivery_is_waited_for_by_the_clock(headrace: TestServer) -> None:
    firehose = headrace.client("firehose")
    assert firehose.list_delivery_streams()["DeliveryStreamNames"] == []


async def test_a_coroutine_uses_it_as_well(headrace: TestServer) -> None:
    client = HttpClient(headrace.url)
    await client.create_stream("s")
    assert await client.list_streams() == ["s"]
    await client.close()


def test_stopping_leaves_nothing_behind() -> None:
    before = threading.active_count()
    server = TestServer()
    server.stop()
    server.stop()
    assert threading.active_count() == before


def test_settings_that_are_wrong_are_said_and_nothing_is_left_running(tmp_path: Any) -> None:
    before = threading.active_count()
    with pytest.raises(SettingsError, match="no credentials"):
        TestServer(host="0.0.0.0", data=str(tmp_path))
    with pytest.raises(SettingsError, match="unknown setting 'retention'"):
        TestServer(retention=24)
    assert threading.active_count() == before
