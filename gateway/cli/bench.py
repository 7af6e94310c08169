"""``headrace bench``: a quick look at what a server gives on this machine."""

from __future__ import annotations

import asyncio
import time
import uuid

import click
import numpy as np
import pyarrow as pa

from gateway.cli import output
from gateway.cli.connection import Target, connected
from gateway.cli.running import run
from streams.core.records import Records
from streams.sdk.client import TRIM_HORIZON, Client

_BATCH_SIZE = 4 << 20
_SHARDS = 4
_ROUNDS = 300
"""Puts whose way to a waiting reader is timed: enough for a p99."""


@click.command()
@click.option(
    "--seconds", type=click.FloatRange(0.1, 600), default=3.0, show_default=True, help="Time of each measure."
)
@click.option("--size", type=click.IntRange(1, 1 << 20), default=1024, show_default=True, help="Bytes of a record.")
@connected
def bench(target: Target, seconds: float, size: int) -> None:
    """Measure a server: records/s in and out, milliseconds from put to seen.

    It makes a stream of its own and deletes it again. The comparison with other servers, and every figure that the
    project promises, is in the source tree: python -m benchmarks."""

    async def work() -> list[tuple[str, float, str]]:
        stream = f"bench-{uuid.uuid4().hex[:8]}"
        async with target.client() as client:
            await client.create_stream(stream, _SHARDS)
            try:
                return [
                    *await _throughput(client, stream, seconds, size),
                    *await _latency(client, stream, size),
                ]
            finally:
                await client.delete_stream(stream)

    figures = run(target, work()) or []
    if target.json:
        output.json_line([{"measure": name, "value": round(value, 3), "unit": unit} for name, value, unit in figures])
    else:
        output.table(["measure", "value", "unit"], figures, title=f"{target.endpoint}, records of {size} bytes")


async def _throughput(client: Client, stream: str, seconds: float, size: int) -> list[tuple[str, float, str]]:
    """Puts batches one after the other, then reads them all back."""
    output.talk(f"puts for {seconds:g} s, then reads it all")
    batch = sample(max(1, _BATCH_SIZE // size), size)
    count = 0
    began = time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        await client.put(stream, batch)
        count += len(batch)
    positions = await client.find(stream, TRIM_HORIZON)
    seen = 0
    began = time.perf_counter()
    while seen < count:
        fetch = await client.fetch(stream, positions)
        assert fetch.batches, f"{count - seen} records are missing"
        for part in fetch.batches:
            positions[part.shard] = part.next
            seen += len(part)
    read = time.perf_counter() - began
    return [
        ("put", count / spent, "records/s"),
        ("put", count * size / spent / 1e6, "MB/s"),
        ("read", seen / read, "records/s"),
        ("read", seen * size / read / 1e6, "MB/s"),
    ]


async def _latency(client: Client, stream: str, size: int) -> list[tuple[str, float, str]]:
    """One record at a time, timed from the put to a reader who waits for it."""
    output.talk(f"puts {_ROUNDS} records one by one to a reader who waits")
    positions = await client.find(stream, TRIM_HORIZON)
    positions = {shard: (await client.fetch(stream, {shard: 0}, size_max=1)).tips[shard] for shard in positions}
    record = sample(1, size)
    taken = []
    for _ in range(_ROUNDS):
        waiting = asyncio.create_task(client.fetch(stream, positions, wait_ms=10_000))
        await asyncio.sleep(0.001)
        began = time.perf_counter()
        put = asyncio.create_task(client.put(stream, record))
        fetch = await waiting
        taken.append((time.perf_counter() - began) * 1000)
        await put
        positions |= {part.shard: part.next for part in fetch.batches}
    return [
        ("put to seen, p50", float(np.percentile(taken, 50)), "ms"),
        ("put to seen, p99", float(np.percentile(taken, 99)), "ms"),
    ]


def sample(count: int, size: int) -> Records:
    """`count` records of `size` random bytes under random keys."""
    source = np.random.default_rng(count)
    data = pa.Array.from_buffers(
        pa.binary(),
        count,
        [
            None,
            pa.py_buffer(np.arange(count + 1, dtype=np.int32) * np.int32(size)),
            pa.py_buffer(source.bytes(count * size)),
        ],
    )
    return Records(data, pa.array(source.integers(0, 1 << 40, count)).cast(pa.string()))
