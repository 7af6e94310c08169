"""What the tests of the Kinesis Client Library share: a stream, applications that read it, and a split and merges."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients_support import ENVIRONMENT

from gateway.testing import TestServer

MODES = ("POLLING", "FANOUT")
STREAM = "s"
ROUND = 100
"""Records before the split, between it and the merges, and after them."""

LEADS = 17  # keys, so that each shard has some
PATIENCE_S = 120.0


@dataclass
class Application:
    """A process of the KCL, the file in which its processors write down what they see, and its log."""

    process: subprocess.Popen[bytes]
    output: Path
    log: Path

    def written(self) -> list[dict[str, str]]:
        if not self.output.exists():
            return []
        return [json.loads(line) for line in self.output.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def seen(self) -> set[int]:
        return {int(line["data"]) for line in self.written() if "data" in line}

    def wait(self, count: int) -> None:
        """Until so many records have been seen: it is another process, and can only be asked."""
        end = time.monotonic() + PATIENCE_S
        while len(self.seen()) < count:
            assert self.process.poll() is None, self.log.read_text()[-5000:]
            assert time.monotonic() < end, f"{len(self.seen())} of {count} records\n{self.log.read_text()[-5000:]}"
            time.sleep(0.2)


@contextlib.contextmanager
def started(command: Sequence[str | Path], folder: Path, environment: dict[str, str]) -> Iterator[Application]:
    """An application in a folder of its own, ended when the test is done with it."""
    output, log = folder / "output.jsonl", folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=ENVIRONMENT | environment, stdout=file, stderr=file)
        try:
            yield Application(process, output, log)
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def dynamodb() -> Iterator[str]:
    """The URL of moto's server on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "moto_server"), "-p", str(port)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def create(server: TestServer) -> Any:
    """A client of the server, on which the stream is there with two shards."""
    kinesis = server.client()
    kinesis.create_stream(StreamName=STREAM, ShardCount=2)
    return kinesis


def reshard(kinesis: Any, applications: Sequence[Application]) -> None:
    """Rounds of records around a split and two merges; all of them read every record, and a key's in order."""
    shard = kinesis.list_shards(StreamName=STREAM)["Shards"][0]["ShardId"]
    sent = _round(kinesis, applications, 0)
    kinesis.split_shard(StreamName=STREAM, ShardToSplit=shard, NewStartingHashKey=str(2**126))
    sent = _round(kinesis, applications, sent)
    kinesis.update_shard_count(StreamName=STREAM, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    sent = _round(kinesis, applications, sent)
    for application in applications:
        assert application.seen() == set(range(sent))
        by_key: dict[str, list[int]] = {}
        for line in application.written():
            if "data" in line:
                by_key.setdefault(line["key"], []).append(int(line["data"]))
        # At least once: what comes again after a failed checkpoint is not out of order.
        for numbers in by_key.values():
            assert list(dict.fromkeys(numbers)) == sorted(set(numbers))
        assert {line["ended"] for line in application.written() if "ended" in line} >= {shard}


def _round(kinesis: Any, applications: Sequence[Application], sent: int) -> int:
    for number in range(sent, sent + ROUND):
        kinesis.put_record(StreamName=STREAM, PartitionKey=f"k{number % LEADS}", Data=str(number).encode())
    for application in applications:
        application.wait(sent + ROUND)
    return sent + ROUND
