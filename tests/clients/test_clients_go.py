"""aws-sdk-go-v2, as it comes: CBOR or JSON as it chooses by itself, SubscribeToShard to the end of a shard."""

from __future__ import annotations

import json
import subprocess

from clients_support import ENVIRONMENT, installed

from gateway.testing import TestServer

RECORDS = [f"r{number}" for number in range(20)]


def test_a_stream_whole(headrace: TestServer) -> None:
    program = installed("go") / "client"
    done = subprocess.run(
        [program, headrace.url],
        env=ENVIRONMENT | {"AWS_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "failed": 0,
        "got": RECORDS,
        "pushed": [*RECORDS, "late"],
        "children": ["shardId-000000000001", "shardId-000000000002"],
        "streams": ["go"],
        "missing": True,
    }
