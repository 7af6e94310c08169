"""@aws-sdk/client-kinesis on Node, as it comes: HTTP/2, SubscribeToShard to the end of a shard."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from clients_support import ENVIRONMENT, installed

from gateway.testing import TestServer

RECORDS = [f"r{number}" for number in range(20)]


def test_a_stream_whole(headrace: TestServer) -> None:
    folder = installed("node")
    shutil.copy(Path(__file__).parent / "node" / "client.mjs", folder)
    done = subprocess.run(
        ["node", "client.mjs", headrace.url], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "failed": 0,
        "got": RECORDS,
        "pushed": [*RECORDS, "late"],
        "children": ["shardId-000000000001", "shardId-000000000002"],
        "missing": "ResourceNotFoundException",
        "arrived": True,
    }
