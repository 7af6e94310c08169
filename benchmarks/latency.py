"""From a put to a consumer that waits for it, in process and over HTTP, ``log_sync = "always"``."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import numpy as np
import uvloop

from benchmarks import aws, ceilings
from benchmarks.connection import Connection, request
from benchmarks.harness import Benchmark, Ceiling, Figure, Outcome, Verdict, progress
from benchmarks.stage import embedded, sample
from benchmarks.subjects import HOST, headrace, serving
from streams.core.records import Records
from streams.sdk.client import LATEST, Client
from streams.sdk.consumer import Consumer
from streams.sdk.http import HttpClient

STREAM = "bench"
SHARDS = 4
SIZE = 1024
P50_MS, P99_MS = 3.0, 10.0
_PAUSE_S = 0.002
"""Between two puts: the consumer waits again, and the next put meets an idle server as it does in life."""

Put = Callable[[str, bytes], Awaitable[None]]
"""Puts one record: key and data."""


def latency(quick: bool) -> Outcome:
    rounds = 200 if quick else 3000
    progress("put to seen, in process")
    local = uvloop.run(_in_process(rounds))
    progress("put to seen, native door")
    with serving(headrace()) as server:
        native = uvloop.run(_over_http(server.port, rounds, aws_put=False))
    progress("put to seen, PutRecord over HTTP JSON")
    with serving(headrace()) as server:
        json = uvloop.run(_over_http(server.port, rounds, aws_put=True))
    outcome = Outcome(figures=[])
    written = ceilings.append_s(SIZE) * 1e3
    for case, taken in {"in process": local, "native door": native, "PutRecord over HTTP JSON": json}.items():
        p50, p99, worst = (float(np.percentile(taken, share)) for share in (50, 99, 100))
        outcome.figures.append(
            Figure(case=case, subject="headrace", metrics={"p50 ms": p50, "p99 ms": p99, "max ms": worst})
        )
        outcome.ceilings.append(
            Ceiling(
                case=case,
                metric="p50 ms",
                value=written,
                reckoning=f"the disk takes {written:.2f} ms to append and sync one record, before anybody may see it",
            )
        )
        outcome.verdicts.append(
            Verdict(
                promise=f"put to seen, {case}: p50 under {P50_MS:g} ms, p99 under {P99_MS:g} ms",
                measured=f"{p50:.2f} ms, {p99:.2f} ms",
                met=p50 < P50_MS and p99 < P99_MS,
            )
        )
    return outcome


async def _in_process(rounds: int) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        async with embedded(Path(folder)) as client:
            await client.create_stream(STREAM, SHARDS)
            return await _rounds(client, rounds, _native_put(client))


async def _over_http(port: int, rounds: int, *, aws_put: bool) -> list[float]:
    client = HttpClient(f"http://{HOST}:{port}")
    try:
        await client.create_stream(STREAM, SHARDS)
        return await _rounds(client, rounds, _aws_put(port) if aws_put else _native_put(client))
    finally:
        await client.close()


def _native_put(client: Client) -> Put:
    async def put(key: str, data: bytes) -> None:
        await client.put(STREAM, Records.of([key], [data]))

    return put


def _aws_put(port: int) -> Put:
    connection = Connection(HOST, port)

    async def put(key: str, data: bytes) -> None:
        body = msgspec.json.encode({"StreamName": STREAM, "PartitionKey": key, "Data": data})
        answer = await connection.ask(request(HOST, port, "PutRecord", body))
        if answer.status != 200:
            raise aws.CallError(f"PutRecord: {answer.status} {answer.body[:300]!r}")

    return put


async def _rounds(client: Client, rounds: int, put: Put) -> list[float]:
    """Each record begins with the time at which its put began. Milliseconds from the beginning of each put until a waiting consumer holds the record."""
    taken: list[float] = []
    seen = asyncio.Event()

    async def consume() -> None:
        async with Consumer(client, STREAM, start=LATEST) as consumer:
            opened.set()
            async for batch in consumer:
                now = time.perf_counter_ns()
                for data in batch.records.data.to_pylist():
                    taken.append((now - int.from_bytes(data[:8], "big")) / 1e6)
                seen.set()

    opened = asyncio.Event()
    consuming = asyncio.create_task(consume())
    await opened.wait()
    warmup = rounds // 10
    filling = sample(1, SIZE - 8).data[0].as_py()
    for number in range(rounds + warmup):
        await asyncio.sleep(_PAUSE_S)
        seen.clear()
        await put(str(number), time.perf_counter_ns().to_bytes(8, "big") + filling)
        await seen.wait()
    consuming.cancel()
    await asyncio.wait([consuming])
    return taken[warmup:]


BENCHMARKS = [Benchmark(name="latency", title="Put to seen by a waiting consumer, 1 KB", minutes=0.8, run=latency)]
