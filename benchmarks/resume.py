"""Delivery after `kill -9`: how soon the next object is there, counted from the start of the new process."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path

import boto3
import uvloop

from benchmarks.harness import Benchmark, Figure, Outcome, Verdict, progress
from benchmarks.stage import BATCHES, sample
from benchmarks.subjects import HOST, Server, headrace, serving
from streams.sdk.http import HttpClient

NAME = "bench"
SIZE = 1024
BACKLOG_MB = 120
ROUNDS, QUICK_ROUNDS = 10, 2
RESUMED_S_MAX = 2.0
TIMEOUT_S = 60.0
ROLE = "arn:aws:iam::000000000000:role/bench"


def resume(quick: bool) -> Outcome:
    dice = random.Random(7)
    taken: list[float] = []
    with tempfile.TemporaryDirectory(prefix="headrace-bench-", dir=os.environ.get("HEADRACE_BENCH_DIR")) as folder:
        data = Path(folder)
        bucket = data / "data" / "buckets" / NAME
        with serving(headrace(), data) as server:
            _create(server)
        for round_ in range(QUICK_ROUNDS if quick else ROUNDS):
            progress(f"round {round_ + 1}: {BACKLOG_MB} MB, killed while they are delivered")
            with serving(headrace(), data) as server:
                before = _objects(bucket)
                uvloop.run(_fill(server))
                _new_object(bucket, before)
                time.sleep(dice.random() * 0.2)
                os.kill(server.pid, signal.SIGKILL)
            before = _objects(bucket)
            began = time.perf_counter()
            with serving(headrace(), data):
                _new_object(bucket, before)
                taken.append(time.perf_counter() - began)
    metrics = {"median s": sorted(taken)[len(taken) // 2], "worst s": max(taken), "kills": float(len(taken))}
    return Outcome(
        figures=[Figure(case="next object after kill -9", subject="headrace", metrics=metrics)],
        verdicts=[
            Verdict(
                promise=f"delivery resumes within {RESUMED_S_MAX:g} s of a crash",
                measured=f"{max(taken):.2f} s at worst of {len(taken)}, from the start of the process",
                met=max(taken) <= RESUMED_S_MAX,
            )
        ],
    )


def _create(server: Server) -> None:
    firehose = boto3.client(
        "firehose",
        endpoint_url=f"http://{HOST}:{server.port}",
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    firehose.create_delivery_stream(
        DeliveryStreamName=NAME,
        ExtendedS3DestinationConfiguration={
            "RoleARN": ROLE,
            "BucketARN": f"arn:aws:s3:::{NAME}",
            "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 900},
            "CompressionFormat": "GZIP",
        },
    )


async def _fill(server: Server) -> None:
    """More than is delivered before the kill: each object is due by its size, none by its age."""
    client = HttpClient(f"http://{HOST}:{server.port}")
    batch = sample(BATCHES[SIZE], SIZE)
    try:
        left = BACKLOG_MB * 1_000_000
        while left > 0:
            await client.put(f"firehose/{NAME}", batch)
            left -= batch.size
    finally:
        await client.close()


def _objects(bucket: Path) -> set[Path]:
    return {path for path in bucket.rglob("*") if path.is_file()}


def _new_object(bucket: Path, before: set[Path]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not _objects(bucket) - before:
        assert time.monotonic() < deadline, "nothing is delivered"
        time.sleep(0.002)


BENCHMARKS = [Benchmark(name="resume", title="Delivery after kill -9", minutes=1.0, run=resume)]
"""The table of benchmarks."""
