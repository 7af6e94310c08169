"""A disk that fills up under load: producers get an error that says "again", nothing acknowledged is lost, and once
there is room the server goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import botocore.exceptions
import pytest

from tests.system.process import ServerProcess

DISK_SIZE = "48m"
RECORD = b"x" * 8192


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs that is soon full. Mounting one needs root."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root; tests/log covers a full disk with a faulty disk parameter")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


@pytest.fixture
def server(small_disk: Path) -> Iterator[ServerProcess]:
    with ServerProcess(small_disk / "data") as server:
        server.log = small_disk.parent / "server.log"
        yield server.start()


def test_a_full_disk_gives_a_retriable_error_and_loses_nothing(small_disk: Path, server: ServerProcess) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (24 << 20))
    client = server.client("kinesis")
    client.create_stream(StreamName="events", ShardCount=1)
    acknowledged: list[str] = []

    def put(number: int) -> dict[str, object]:
        id_ = f"{number:06d}"
        entry = client.put_records(StreamName="events", Records=[{"Data": id_.encode() + RECORD, "PartitionKey": "k"}])[
            "Records"
        ][0]
        if "SequenceNumber" in entry:
            acknowledged.append(id_)
        return entry

    number = 0
    entry: dict[str, object] = {}
    while "ErrorCode" not in entry:
        entry = put(number)
        number += 1
        assert number < 10_000, "the disk never filled up"
    assert entry["ErrorCode"] == "InternalFailure", "what SDKs send again"
    with pytest.raises(botocore.exceptions.ClientError) as single:
        client.put_record(StreamName="events", Data=RECORD, PartitionKey="k")
    assert single.value.response["ResponseMetadata"]["HTTPStatusCode"] in (500, 503), "what SDKs send again"
    assert client.list_streams()["StreamNames"] == ["events"], "the server is up"

    ballast.unlink()
    for later in range(number, number + 20):
        assert "SequenceNumber" in put(later), "there is room again"
    assert _read(client) == acknowledged

    server.kill()
    server.start()
    assert _read(server.client("kinesis")) == acknowledged, "and after a restart"
    assert server.stop() == 0


def test_a_full_disk_delays_delivery_and_loses_nothing(small_disk: Path, server: ServerProcess) -> None:
    """Direct puts are told to come again, entry by entry; what was taken before is delivered once there is room."""
    firehose = server.client("firehose")
    firehose.create_delivery_stream(
        DeliveryStreamName="archive",
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::000000000000:role/firehose",
            "BucketARN": "arn:aws:s3:::archive",
            "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1},
            "ProcessingConfiguration": {
                "Enabled": True,
                "Processors": [{"Type": "AppendDelimiterToRecord", "Parameters": []}],
            },
        },
    )
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (24 << 20))
    taken: list[str] = []

    def put(first: int) -> set[str]:
        """The codes of entries that were not taken."""
        ids = [f"{number:06d}" for number in range(first, first + 20)]
        reply = firehose.put_record_batch(
            DeliveryStreamName="archive", Records=[{"Data": id_.encode() + RECORD} for id_ in ids]
        )
        taken.extend(id_ for id_, one in zip(ids, reply["RequestResponses"], strict=True) if "RecordId" in one)
        return {one["ErrorCode"] for one in reply["RequestResponses"] if "ErrorCode" in one}

    first, codes = 0, set[str]()
    while not codes:
        codes = put(first)
        first += 20
        assert first < 20_000, "the disk never filled up"
    assert codes == {"ServiceUnavailableException"}
    assert firehose.list_delivery_streams()["DeliveryStreamNames"] == ["archive"], "the server is up"
    ballast.unlink()
    while "000000" not in taken or codes:
        codes = put(first)
        first += 20
    found: list[str] = []
    while len(found) < len(taken):
        time.sleep(0.2)  # another process delivers; its files are all that shows of it
        found = [line[:6].decode() for path in _objects(server.data) for line in path.read_bytes().splitlines()]
    assert sorted(found) == taken
    assert server.stop() == 0, server.tail()
    command = [sys.executable, "-m", "gateway.cli", "firehose", "verify", "--data", str(server.data)]
    assert subprocess.run(command, capture_output=True).returncode == 0


def _objects(data: Path) -> list[Path]:
    return [path for path in (data / "buckets" / "archive").rglob("*") if path.is_file()]


def _read(client: object) -> list[str]:
    iterator = client.get_shard_iterator(  # type: ignore[attr-defined]
        StreamName="events", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    found: list[str] = []
    while True:
        reply = client.get_records(ShardIterator=iterator)  # type: ignore[attr-defined]
        found += [record["Data"][:6].decode() for record in reply["Records"]]
        iterator = reply["NextShardIterator"]
        if not reply["Records"] and reply["MillisBehindLatest"] == 0:
            return found
