"""The Kinesis Client Library 3, polling and by fan-out, through a split and merges; DynamoDB is moto's server."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients_support import ENVIRONMENT, installed

from gateway.testing import TestServer

PATIENCE_S = 120.0
PROCESSOR = Path(__file__).parent / "kcl_processor.py"
LEADS = 17  # keys, so that each shard has some


class Run:
    """A stream, the daemon at it, and what its processors have written down."""

    def __init__(self, server: TestServer, output: Path) -> None:
        self.kinesis = server.client()
        self.kinesis.create_stream(StreamName="s", ShardCount=2)
        self.output = output
        self.sent = 0

    def put(self, count: int) -> None:
        for _ in range(count):
            self.kinesis.put_record(StreamName="s", PartitionKey=f"k{self.sent % LEADS}", Data=str(self.sent).encode())
            self.sent += 1

    def written(self) -> list[dict[str, str]]:
        if not self.output.exists():
            return []
        return [json.loads(line) for line in self.output.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def seen(self) -> set[int]:
        return {int(line["data"]) for line in self.written() if "data" in line}

    def wait(self, daemon: subprocess.Popen[bytes], log: Path) -> None:
        """Until everything that was put has been seen: the daemon is another process, and can only be asked."""
        end = time.monotonic() + PATIENCE_S
        while len(self.seen()) < self.sent:
            assert daemon.poll() is None, log.read_text()[-5000:]
            assert time.monotonic() < end, f"{len(self.seen())} of {self.sent} records\n{log.read_text()[-5000:]}"
            time.sleep(0.2)


@contextlib.contextmanager
def dynamodb() -> Iterator[int]:
    """moto's server on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "moto_server"), "-p", str(port)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def daemon(properties: Path, log: Path, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    folder = installed("kcl")
    jars = folder / "amazon_kclpy" / "jars" / "*"
    command = ["java", "-cp", str(jars), "software.amazon.kinesis.multilang.MultiLangDaemon"]
    environment = ENVIRONMENT | {"KCL_FOLDER": str(folder), "KCL_OUTPUT": str(output)}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--properties-file", str(properties)], env=environment, stdout=file, stderr=file
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("mode", ["POLLING", "FANOUT"])
@pytest.mark.timeout(400)
def test_every_record_through_a_split_and_merges(headrace: TestServer, tmp_path: Path, mode: str) -> None:
    installed("kcl")
    run = Run(headrace, tmp_path / "output.jsonl")
    log = tmp_path / "daemon.log"
    with dynamodb() as port:
        properties: dict[str, Any] = {
            "executableName": f"{sys.executable} {PROCESSOR}",
            "streamName": "s",
            "applicationName": f"app-{mode.lower()}",
            "AwsCredentialsProvider": "EnvironmentVariableCredentialsProvider",
            "initialPositionInStream": "TRIM_HORIZON",
            "kinesisEndpoint": headrace.url,
            "dynamoDBEndpoint": f"http://127.0.0.1:{port}",
            "regionName": "us-east-1",
            "metricsLevel": "NONE",
            "retrievalMode": mode,
            "failoverTimeMillis": 2000,
            "parentShardPollIntervalMillis": 500,
            "idleTimeBetweenReadsInMillis": 200,
            "shardSyncIntervalMillis": 1000,
        }
        file = tmp_path / "kcl.properties"
        file.write_text("".join(f"{name} = {value}\n" for name, value in properties.items()))
        with daemon(file, log, run.output) as process:
            run.put(100)
            run.wait(process, log)
            shard = run.kinesis.list_shards(StreamName="s")["Shards"][0]["ShardId"]
            run.kinesis.split_shard(StreamName="s", ShardToSplit=shard, NewStartingHashKey=str(2**126))
            run.put(100)
            run.wait(process, log)
            run.kinesis.update_shard_count(StreamName="s", TargetShardCount=2, ScalingType="UNIFORM_SCALING")
            run.put(100)
            run.wait(process, log)
    assert run.seen() == set(range(300))
    by_key: dict[str, list[int]] = {}
    for line in run.written():
        if "data" in line:
            by_key.setdefault(line["key"], []).append(int(line["data"]))
    # At least once: what comes again after a failed checkpoint is not out of order.
    for numbers in by_key.values():
        assert list(dict.fromkeys(numbers)) == sorted(set(numbers))
    assert {line["ended"] for line in run.written() if "ended" in line} >= {shard}
    consumers = run.kinesis.list_stream_consumers(StreamARN="arn:aws:kinesis:us-east-1:000000000000:stream/s")
    assert len(consumers["Consumers"]) == (1 if mode == "FANOUT" else 0)
