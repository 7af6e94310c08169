"""The Arrow bulk path: in process, and over the native door on loopback."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import uvloop

from benchmarks import ceilings
from benchmarks.harness import Benchmark, Ceiling, Figure, Outcome, Verdict, progress
from benchmarks.load import cpu_seconds, own_cpu_s
from benchmarks.stage import BATCHES, embedded, sample
from benchmarks.subjects import HOST, headrace, serving
from streams.sdk.client import TRIM_HORIZON, Client
from streams.sdk.http import HttpClient

STREAM = "bench"
SHARDS = 4
_SIZES = {"100 B": 100, "1 KB": 1024}
_CONCURRENCY = 2
"""Puts under way at once: one is encoded while the other waits for the disk."""


def in_process(quick: bool) -> Outcome:
    outcome = Outcome(figures=[])
    for case, size in _SIZES.items():
        progress(f"bulk in process: {case}")
        count, seconds, cpu_s = uvloop.run(_in_process(size, 1 if quick else 6))
        outcome.figures.append(
            Figure(
                case=case,
                subject="headrace",
                metrics={
                    "records/s": count / seconds,
                    "records/s per core": count / cpu_s,
                    "MB/s": count * size / seconds / 1e6,
                },
            )
        )
        written = ceilings.append_s(BATCHES[size] * size)
        outcome.ceilings.append(
            Ceiling(
                case=case,
                metric="records/s",
                value=BATCHES[size] / written,
                reckoning=f"a batch of {BATCHES[size]:,} records is appended and synced in {written * 1e3:.1f} ms "
                "by one writer that does nothing else",
            )
        )
    rate = outcome.figures[0].metrics["records/s per core"]
    outcome.verdicts = [
        Verdict(
            promise="bulk in process, 100 B: at least 3 million records/s per core, one fdatasync per batch",
            measured=f"{rate / 1e6:.2f} million",
            met=rate >= 3e6,
        )
    ]
    return outcome


def native(quick: bool) -> Outcome:
    outcome = Outcome(figures=[])
    for case, size in _SIZES.items():
        progress(f"native door on loopback: {case}")
        with serving(headrace()) as server:
            figures = uvloop.run(_native(server.port, server.pid, case, size, 1 if quick else 6))
        outcome.figures += figures
    puts = {figure.case: figure.metrics for figure in outcome.figures}
    small, large = puts["put 100 B"]["records/s"], puts["put 1 KB"]["MB/s"]
    outcome.verdicts = [
        Verdict(
            promise="native door, put 100 B: at least 1 million records/s",
            measured=f"{small / 1e6:.2f} million",
            met=small >= 1e6,
        ),
        Verdict(
            promise="native door, put 1 KB: at least 300 MB/s",
            measured=f"{large:.0f} MB/s",
            met=large >= 300,
        ),
    ]
    for case, size in _SIZES.items():
        batch = BATCHES[size] * size
        written = ceilings.append_s(batch)
        outcome.ceilings.append(
            Ceiling(
                case=f"put {case}",
                metric="MB/s",
                value=batch / written / 1e6,
                reckoning=f"the disk takes {written * 1e3:.1f} ms to append and sync a batch of {batch / 1e6:.1f} MB; "
                "loopback is faster",
            )
        )
    return outcome


async def _in_process(size: int, seconds: float) -> tuple[int, float, float]:
    """Records put, seconds and CPU seconds of this process."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        async with embedded(Path(folder)) as client:
            await client.create_stream(STREAM, SHARDS)
            await _put(client, size, seconds / 4)
            cpu, began = own_cpu_s(), time.perf_counter()
            count = await _put(client, size, seconds)
            return count, time.perf_counter() - began, own_cpu_s() - cpu


async def _native(port: int, pid: int, case: str, size: int, seconds: float) -> list[Figure]:
    client = HttpClient(f"http://{HOST}:{port}")
    try:
        await client.create_stream(STREAM, SHARDS)
        await _put(client, size, seconds / 4)
        cpu, began = cpu_seconds(pid), time.perf_counter()
        put = await _put(client, size, seconds)
        put_s, put_cpu_s = time.perf_counter() - began, cpu_seconds(pid) - cpu
        cpu, began = cpu_seconds(pid), time.perf_counter()
        read = await _read(client, seconds)
        read_s, read_cpu_s = time.perf_counter() - began, cpu_seconds(pid) - cpu
    finally:
        await client.close()
    return [
        _native_figure(f"put {case}", put, size, put_s, put_cpu_s),
        _native_figure(f"read {case}", read, size, read_s, read_cpu_s),
    ]


def _native_figure(case: str, count: int, size: int, seconds: float, server_cpu_s: float) -> Figure:
    return Figure(
        case=case,
        subject="headrace",
        metrics={
            "records/s": count / seconds,
            "MB/s": count * size / seconds / 1e6,
            "server CPU s per million": server_cpu_s / count * 1e6,
        },
    )


async def _put(client: Client, size: int, seconds: float) -> int:
    """Records that were durable within `seconds`."""
    batch = sample(BATCHES[size], size)
    end = time.perf_counter() + seconds

    async def loop() -> int:
        count = 0
        while time.perf_counter() < end:
            await client.put(STREAM, batch)
            count += len(batch)
        return count

    return sum(await asyncio.gather(*(loop() for _ in range(_CONCURRENCY))))


async def _read(client: Client, seconds: float) -> int:
    """Records read within `seconds`, from the beginning and again from there when the end is reached."""
    start = await client.find(STREAM, TRIM_HORIZON)
    positions = dict(start)
    count = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        fetch = await client.fetch(STREAM, positions)
        if not fetch.batches:
            positions = dict(start)
        for batch in fetch.batches:
            positions[batch.shard] = batch.next
            count += len(batch)
    return count


BENCHMARKS = [
    Benchmark(name="bulk", title="Arrow batches in process, one fdatasync per batch", minutes=0.4, run=in_process),
    Benchmark(name="native", title="Arrow batches over the native door, loopback, 4 shards", minutes=0.6, run=native),
]
