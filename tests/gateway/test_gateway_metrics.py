"""`/metrics` counts what clients did, as Prometheus reads it, and a reader about to lose records is warned of."""

from __future__ import annotations

import logging
import urllib.request

import pytest
from botocore.config import Config
from prometheus_client.parser import text_string_to_metric_families

from gateway.auth import Auth
from gateway.http import Request
from gateway.testing import TestServer
from streams.core.clock import SystemClock
from streams.core.errors import AccessDenied
from streams.core.settings import Settings


def scrape(server: TestServer) -> dict[tuple[str, str, str], float]:
    """Values by name, stream or operation, and shard or code."""
    with urllib.request.urlopen(server.url + "/metrics") as answer:
        text = answer.read().decode()
    values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            what = labels.get("stream") or labels.get("operation") or ""
            values[sample.name, what, labels.get("shard") or labels.get("code") or labels.get("le") or ""] = (
                sample.value
            )
    return values


def test_what_went_in_and_out(headrace: TestServer) -> None:
    kinesis = headrace.client()
    kinesis.create_stream(StreamName="s", ShardCount=2)
    kinesis.put_records(StreamName="s", Records=[{"PartitionKey": "kk", "Data": b"12345678"}] * 10)
    kinesis.put_record(StreamName="s", PartitionKey="kk", Data=b"12345678")
    kinesis.enable_enhanced_monitoring(StreamName="s", ShardLevelMetrics=["ALL"])
    shard = kinesis.put_record(StreamName="s", PartitionKey="kk", Data=b"")["ShardId"]
    at = {"StreamName": "s", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(**at)["ShardIterator"])
    with pytest.raises(kinesis.exceptions.ResourceNotFoundException):
        kinesis.describe_stream(StreamName="nothing")
    values = scrape(headrace)
    assert values["headrace_incoming_records_total", "s", ""] == 12
    assert values["headrace_incoming_bytes_total", "s", ""] == 11 * 10 + 2
    assert values["headrace_incoming_records_total", "s", shard] == 1
    assert values["headrace_outgoing_records_total", "s", ""] == 12
    assert values["headrace_outgoing_records_total", "s", shard] == 12
    assert values["headrace_open_shards", "s", ""] == 2
    assert values["headrace_requests_total", "PutRecord", "ok"] == 2
    assert values["headrace_requests_total", "DescribeStream", "ResourceNotFoundException"] == 1
    assert values["headrace_request_seconds_bucket", "PutRecords", "+Inf"] == 1
    assert values["process_open_fds", "", ""] > 0
    kinesis.delete_stream(StreamName="s")
    assert ("headrace_incoming_records_total", "s", "") not in scrape(headrace)


@pytest.mark.headrace(limits="aws")
def test_what_was_refused(headrace: TestServer) -> None:
    kinesis = headrace.client(config=Config(retries={"total_max_attempts": 1}))
    kinesis.create_stream(StreamName="s", ShardCount=1)
    records = [{"PartitionKey": "k", "Data": bytes(100 << 10)}] * 15
    failed = kinesis.put_records(StreamName="s", Records=records)["FailedRecordCount"]
    values = scrape(headrace)
    assert failed >= 4
    assert values["headrace_write_throttled_records_total", "s", ""] == failed
    assert values["headrace_failed_records_total", "s", ""] == failed


def test_a_reader_near_the_end_of_the_retention_is_warned_of(
    headrace: TestServer, caplog: pytest.LogCaptureFixture
) -> None:
    kinesis = headrace.client()
    kinesis.create_stream(StreamName="s", ShardCount=1)
    at = {"StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"}
    for number in range(3):
        kinesis.put_record(StreamName="s", PartitionKey="k", Data=str(number).encode())
    headrace.advance(20 * 3600)
    with caplog.at_level(logging.WARNING, "streams.operations.lag"):
        for _ in range(3):
            kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(**at)["ShardIterator"], Limit=1)
    assert len(caplog.messages) == 1
    assert "a reader of stream s, shard shardId-000000000000, is 20.0 h behind" in caplog.text
    assert scrape(headrace)["headrace_iterator_age_milliseconds", "s", ""] == pytest.approx(20 * 3600_000, rel=0.01)


def test_metrics_are_for_this_machine_unless_they_are_opened() -> None:
    def check(peer: str, **settings: object) -> None:
        Auth(Settings(**settings), SystemClock()).check_metrics(Request("GET", "/metrics", {}, b"", peer))  # type: ignore[arg-type]

    secrets = {"credentials": {"k": "s"}}
    check("127.0.0.1", **secrets)
    check("10.0.0.7", **secrets, metrics_open=True)
    check("10.0.0.7")
    with pytest.raises(AccessDenied, match="metrics_open = true"):
        check("10.0.0.7", **secrets)
