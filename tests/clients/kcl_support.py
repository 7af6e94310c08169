"""What the tests of the Kinesis Client Library share: a stream, applications that read it, and a split and merges."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients_support import ENVIRONMENT

from gateway.testing import TestServer
from streams import connect

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


def reshard(server: TestServer, kinesis: Any, applications: Sequence[Application]) -> None:
    """Rounds of records around a split and two merges; all of them read every record, and a key's in order. Those of the
    second round come from our producer, aggregated."""
    shard = kinesis.list_shards(StreamName=STREAM)["Shards"][0]["ShardId"]
    _put(kinesis, range(ROUND))
    _seen(applications, ROUND)
    kinesis.split_shard(StreamName=STREAM, ShardToSplit=shard, NewStartingHashKey=str(2**126))
    with connect(server.url) as client, client.producer(STREAM, aggregate=True) as producer:
        producer.put_many([(_key(number), str(number)) for number in range(ROUND, 2 * ROUND)])
    _seen(applications, 2 * ROUND)
    kinesis.update_shard_count(StreamName=STREAM, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    _put(kinesis, range(2 * ROUND, 3 * ROUND))
    _seen(applications, 3 * ROUND)
    for application in applications:
        assert application.seen() == set(range(3 * ROUND))
        by_key: dict[str, list[int]] = {}
        for line in application.written():
            if "data" in line:
                by_key.setdefault(line["key"], []).append(int(line["data"]))
        # At least once: what comes again after a failed checkpoint is not out of order.
        for key, numbers in by_key.items():
            assert {_key(number) for number in numbers} == {key}
            assert list(dict.fromkeys(numbers)) == sorted(set(numbers))
        assert {line["ended"] for line in application.written() if "ended" in line} >= {shard}


def _key(number: int) -> str:
    return f"k{number % LEADS}"


def _put(kinesis: Any, numbers: Iterable[int]) -> None:
    for number in numbers:
        kinesis.put_record(StreamName=STREAM, PartitionKey=_key(number), Data=str(number).encode())


def _seen(applications: Sequence[Application], count: int) -> None:
    for application in applications:
        application.wait(count)
