"""A server whose cold records lie elsewhere: killed while they move, and asked for them while that place is gone."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.system.process import ServerProcess

ROUNDS = 4


def put(kinesis: Any, count: int, expected: list[bytes], randomness: random.Random) -> None:
    for _ in range(count):
        data = [randomness.randbytes(2000) for _ in range(50)]
        reply = kinesis.put_records(StreamName="s", Records=[{"PartitionKey": "k", "Data": one} for one in data])
        assert reply["FailedRecordCount"] == 0
        expected += data


def read(kinesis: Any) -> list[bytes]:
    iterator = kinesis.get_shard_iterator(
        StreamName="s", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    found: list[bytes] = []
    while True:
        reply = kinesis.get_records(ShardIterator=iterator)
        found += [record["Data"] for record in reply["Records"]]
        if reply["MillisBehindLatest"] == 0:
            return found
        iterator = reply["NextShardIterator"]


def verify(data: Path, tier: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", "stream", "verify", "s", "--data", str(data)],
        env={"HEADRACE_LOG_TIER_URL": str(tier)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_cold_records_are_read_through_kills_and_outages(tmp_path: Path, seed: int) -> None:
    randomness, expected, tier = random.Random(seed), list[bytes](), tmp_path / "tier"
    server = ServerProcess(
        tmp_path / "data",
        environment={
            "HEADRACE_LOG_TIER_URL": f"file://{tier}",
            "HEADRACE_LOG_TIER_AFTER_H": "0",
            "HEADRACE_LOG_SEGMENT_SIZE_MAX": str(200_000),
        },
    )
    for number in range(ROUNDS):
        kinesis = server.start().client("kinesis")
        if number == 0:
            kinesis.create_stream(StreamName="s", ShardCount=1)
        put(kinesis, randomness.randrange(5, 15), expected, randomness)
        server.kill()
    kinesis = server.start().client("kinesis")
    assert read(kinesis) == expected
    server.stop()
    moved = [path for path in tier.rglob("*") if path.is_file()]
    assert len(moved) > ROUNDS
    whole = verify(tmp_path / "data", tier)
    assert (whole.returncode, f"records 0 to {len(expected) - 1} ({len(expected)})" in whole.stdout) == (0, True), whole
    tier.rename(tmp_path / "away")
    kinesis = server.start().client("kinesis")
    put(kinesis, 1, expected, randomness)
    with pytest.raises(ClientError, match=f"{tier} does not answer: .*No such file or directory") as told:
        read(kinesis)
    assert told.value.response["Error"]["Code"] == "InternalFailure"
    (tmp_path / "away").rename(tier)
    assert read(kinesis) == expected
    moved[0].unlink()
    server.stop()
    damaged = verify(tmp_path / "data", tier)
    assert damaged.returncode == 1
    assert f"its object {moved[0]} of" in damaged.stdout
