"""A large backlog: what the server's memory is while nobody reads it, and how fast a restart serves over it."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import psutil
import uvloop

from benchmarks.harness import Benchmark, Figure, Outcome, Verdict, progress
from benchmarks.stage import BATCHES, sample
from benchmarks.subjects import HOST, Server, headrace, serving
from streams.sdk.client import TRIM_HORIZON
from streams.sdk.consumer import Consumer
from streams.sdk.http import HttpClient

STREAM = "bench"
SHARDS = 4
SIZE = 1024
FULL_GB, QUICK_GB = 10.0, 0.5
RSS_MB_MAX = 400.0
RESTART_S_MAX = 2.0


def backlog(quick: bool) -> Outcome:
    size_gb = QUICK_GB if quick else FULL_GB
    with tempfile.TemporaryDirectory(prefix="headrace-bench-", dir=os.environ.get("HEADRACE_BENCH_DIR")) as folder:
        data = Path(folder)
        with serving(headrace(), data) as server:
            progress(f"putting {size_gb:g} GB, one consumer stopped at its beginning")
            peak = uvloop.run(_fill(server, size_gb))
            memory = psutil.Process(server.pid).memory_full_info()
        restarts = {"after SIGTERM": _restart(data)}
        with serving(headrace(), data) as server:
            uvloop.run(_fill(server, 0.05))
            os.kill(server.pid, signal.SIGKILL)
        restarts["after kill -9"] = _restart(data)
    figures = [
        Figure(
            case=f"{size_gb:g} GB behind",
            subject="headrace",
            metrics={"RSS MB": memory.rss / 1e6, "peak RSS MB": peak / 1e6, "private MB": memory.uss / 1e6},
        )
    ]
    figures += [
        Figure(case=f"{size_gb:g} GB, restart {case}", subject="headrace", metrics={"first answer s": seconds})
        for case, seconds in restarts.items()
    ]
    worst = max(restarts.values())
    return Outcome(
        figures=figures,
        verdicts=[
            Verdict(
                promise=f"{size_gb:g} GB of backlog, one stopped consumer: server RSS under {RSS_MB_MAX:g} MB",
                measured=f"{memory.rss / 1e6:.0f} MB (peak {peak / 1e6:.0f} MB)",
                met=peak / 1e6 < RSS_MB_MAX,
            ),
            Verdict(
                promise=f"restart over {size_gb:g} GB: first request served in under {RESTART_S_MAX:g} s",
                measured=f"{worst:.2f} s",
                met=worst < RESTART_S_MAX,
            ),
        ],
    )


async def _fill(server: Server, size_gb: float) -> int:
    """Puts the backlog. The largest RSS seen on the way, bytes."""
    client = HttpClient(f"http://{HOST}:{server.port}")
    process = psutil.Process(server.pid)
    batch = sample(BATCHES[SIZE], SIZE)
    peak = 0
    try:
        if STREAM not in await client.list_streams():
            await client.create_stream(STREAM, SHARDS)
            async with Consumer(client, STREAM, name="stopped", start=TRIM_HORIZON):
                pass  # it has a checkpoint at the beginning, and never comes back
        left = round(size_gb * 1e9)
        while left > 0:
            await client.put(STREAM, batch)
            left -= batch.size
            peak = max(peak, process.memory_info().rss)
    finally:
        await client.close()
    return peak


def _restart(data: Path) -> float:
    """Seconds from starting the process to its first answer with records of the backlog."""
    began = time.perf_counter()
    with serving(headrace(), data) as server:
        uvloop.run(_first_answer(server))
        return time.perf_counter() - began


async def _first_answer(server: Server) -> None:
    client = HttpClient(f"http://{HOST}:{server.port}")
    try:
        fetch = await client.fetch(STREAM, await client.load_checkpoint(STREAM, "stopped"))
        assert fetch.batches, "the backlog is gone"
    finally:
        await client.close()


BENCHMARKS = [
    Benchmark(name="backlog", title="10 GB behind: memory, and restart over it", minutes=2.5, run=backlog),
]
