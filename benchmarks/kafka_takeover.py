"""How soon another process has the work of one that died, over Kafka: two workers behind a gateway, one killed again and again.

Delivery streams take numbered records all the time; in the end each must be in an object, once.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
from botocore.config import Config

from benchmarks.harness import Figure, Outcome, Verdict, progress
from benchmarks.subjects import HOST, Server, headrace, serving
from tests.kafka.kafka_broker import Broker

SESSION_S = 6.0
"""The shortest that brokers allow unless told otherwise; a third less than the setting's default."""
MORE_S_MAX = 2.0
STREAMS = 12
TIMEOUT_S = 120.0
ROLE = "arn:aws:iam::000000000000:role/bench"
FAILURES = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)


def take_over(outcome: Outcome, broker: Broker, kills: int) -> None:
    """Adds what it measures to `outcome`."""
    names = [f"d{number}" for number in range(STREAMS)]
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        settings = {
            "log": f"kafka://{broker.address}/takeover",
            "work_session_s": str(SESSION_S),
            "buckets": json.dumps({"b": str(folder / "bucket")}),
            "firehose_compat": "emulator",
        }

        def start(name: str, **more: str) -> tuple[Server, Path]:
            data = folder / name
            data.mkdir()
            return stack.enter_context(serving(headrace(**settings, **more), data)), data / "data"

        progress("kafka take-over: two workers and a gateway start")
        gateway, _ = start("gateway", work="false")
        workers = [start(f"worker-{number}") for number in range(2)]
        for name in names:
            _create(gateway, name)
        load = _Load(gateway, names)
        stack.callback(load.stop)
        load.start()
        taken = []
        for turn in range(kills):
            for _, data in workers:
                _until(lambda data=data: any(data.glob("firehose/manifests/*")), "both workers have a delivery stream")
            progress(f"kafka take-over: kill {turn + 1} of {kills}")
            victim, _ = workers.pop(0)
            os.kill(victim.pid, signal.SIGKILL)
            taken.append(_taken_over(gateway, names))
            workers.append(start(f"worker-{turn + 2}"))
        load.stop()
        put = load.put
        bucket = folder / "bucket"
        _until(lambda: all(_delivered(bucket, name).total() >= put[name].total() for name in names), "all is delivered")
        found = {name: _delivered(bucket, name) for name in names}
        lost = sum((put[name] - found[name]).total() for name in names)
        doubled = sum((found[name] - put[name]).total() for name in names)
    metrics = {
        "worst s": max(taken),
        "median s": sorted(taken)[len(taken) // 2],
        "kills": float(len(taken)),
        "records": float(sum(each.total() for each in put.values())),
    }
    outcome.figures.append(
        Figure(case=f"take-over of {STREAMS} delivery streams after kill -9", subject="headrace", metrics=metrics)
    )
    outcome.verdicts.append(
        Verdict(
            promise=f"take-over after kill -9: within the session ({SESSION_S:g} s) and {MORE_S_MAX:g} s, nothing lost or"
            " doubled",
            measured=f"{max(taken):.2f} s at worst of {len(taken)}, {lost} lost, {doubled} doubled",
            met=max(taken) < SESSION_S + MORE_S_MAX and not lost and not doubled,
        )
    )


class _Load:
    """Numbered records into every delivery stream, as producers put them who try again what was not acknowledged."""

    def __init__(self, gateway: Server, names: list[str]) -> None:
        self.put = {name: Counter[str]() for name in names}
        self._gateway = gateway
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        firehose, turn = _client(self._gateway), 0
        while not self._stopped.wait(0.05):
            turn += 1
            for name, put in self.put.items():
                lines = [f"{turn}.{number}" for number in range(20)]
                told = firehose.put_record_batch(
                    DeliveryStreamName=name, Records=[{"Data": line.encode()} for line in lines]
                )
                put.update(
                    line
                    for line, reply in zip(lines, told["RequestResponses"], strict=True)
                    if "ErrorCode" not in reply
                )


def _client(server: Server) -> Any:
    return boto3.client(
        "firehose",
        endpoint_url=f"http://{HOST}:{server.port}",
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=STREAMS, read_timeout=30),
    )


def _create(server: Server, name: str) -> None:
    """Until the workers have shared themselves out, nobody may be there to create it."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            _client(server).create_delivery_stream(
                DeliveryStreamName=name,
                ExtendedS3DestinationConfiguration={
                    "BucketARN": "arn:aws:s3:::b",
                    "RoleARN": ROLE,
                    "Prefix": f"{name}/",
                    "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1},
                    "ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "AppendDelimiterToRecord"}]},
                },
            )
            return
        except FAILURES as error:
            if "ResourceInUse" in str(error):
                return
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _taken_over(server: Server, names: list[str]) -> float:
    """Seconds until the owner of every delivery stream has done what only an owner does."""
    firehose, began = _client(server), time.monotonic()

    def tag(name: str) -> float:
        while True:
            try:
                firehose.tag_delivery_stream(DeliveryStreamName=name, Tags=[{"Key": "k", "Value": "v"}])
                return time.monotonic()
            except FAILURES:
                if time.monotonic() > began + TIMEOUT_S:
                    raise
                time.sleep(0.02)

    with ThreadPoolExecutor(len(names)) as pool:
        return max(pool.map(tag, names)) - began


def _delivered(bucket: Path, name: str) -> Counter[str]:
    files = (path for path in (bucket / name).rglob("*") if path.is_file() and not path.name.startswith("."))
    return Counter(line for path in files for line in path.read_text().splitlines())


def _until(what: Any, sentence: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not what():
        assert time.monotonic() < deadline, f"in vain waited for: {sentence}"
        time.sleep(0.02)
