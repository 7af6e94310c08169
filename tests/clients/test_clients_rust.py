"""aws-sdk-kinesis for Rust, as it comes: HTTP/1.1 on a plain socket, HTTP/2 over TLS; SubscribeToShard to the end of a shard."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from clients_support import ENVIRONMENT, installed

from gateway.testing import TestServer

RECORDS = [f"r{number}" for number in range(20)]


@pytest.mark.parametrize("tls", [pytest.param(name, marks=pytest.mark.headrace(tls=name)) for name in ("off", "auto")])
def test_a_stream_whole(headrace: TestServer, tls: str) -> None:
    program = installed("rust") / "client"
    authority = Path(headrace.settings.data) / "tls" / "ca.pem"
    trusting = {"SSL_CERT_FILE": str(authority)} if tls == "auto" else {}
    done = subprocess.run(
        [program, headrace.url], env=ENVIRONMENT | trusting, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "failed": 0,
        "got": RECORDS,
        "pushed": [*RECORDS, "late"],
        "children": ["shardId-000000000001", "shardId-000000000002"],
        "missing": True,
    }
