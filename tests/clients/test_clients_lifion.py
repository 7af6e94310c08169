"""lifion-kinesis on Node, as it comes: a group of consumers by polling, its leases in a DynamoDB that moto answers for."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from clients_support import ENVIRONMENT, installed
from moto.server import ThreadedMotoServer

from gateway.testing import TestServer


def test_a_group_of_consumers_reads_what_its_producer_puts(headrace: TestServer) -> None:
    folder = installed("lifion")
    shutil.copy(Path(__file__).parent / "lifion" / "client.js", folder)
    dynamo = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    dynamo.start()
    try:
        host, port = dynamo.get_host_and_port()
        done = subprocess.run(
            ["node", "client.js", headrace.url, f"http://{host}:{port}"],
            cwd=folder,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        dynamo.stop()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"got": list(range(20))}
