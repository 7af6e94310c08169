"""The Arrow bulk path: in process, and over the native door on loopback."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import uvloop

from benchmarks import ceilings
from benchmarks.harness import Benchmark, Ceiling, Figure, Outcome, Verdict, progress
from benchmarks.load import cpu_seconds, own_cpu_s
from benchmarks.stage import BATCHES, embedded, sample
from benchmarks.subjects import HOST, headrace, serving
from streams.sdk.client import TRIM_HORIZON, Client
from streams.sdk.http import HttpClient
from streams.sdk.producer import Producer

STREAM = "bench"
SHARDS = 4


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is put over and over: records of `size` bytes, keys left to the producer or one of its own each."""

    case: str
    size: int
    keyed: bool

    @property
    def rows(self) -> int:
        return BATCHES[self.size]

    def arrow(self) -> pa.Table:
        records = sample(self.rows, self.size)
        columns = {"data": records.data} | ({"partition_key": records.partition_key} if self.keyed else {})
        return pa.table(columns)


_TABLES = (
    Table("100 B", 100, keyed=False),
    Table("1 KB", 1024, keyed=False),
    Table("100 B, a key each", 100, keyed=True),
)


def in_process(quick: bool) -> Outcome:
    outcome = Outcome(figures=[])
    for table in _TABLES:
        progress(f"bulk in process: {table.case}")
        count, seconds, cpu_s = uvloop.run(_in_process(table, 1 if quick else 6))
        metrics = {
            "records/s": count / seconds,
            "records/s per core": count / cpu_s,
            "MB/s": count * table.size / seconds / 1e6,
        }
        outcome.figures.append(Figure(case=table.case, subject="headrace", metrics=metrics))
        outcome.ceilings.append(_ceiling(table, table.case))
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
    for table in _TABLES:
        progress(f"native door on loopback: {table.case}")
        with serving(headrace()) as server:
            outcome.figures += uvloop.run(_native(server.port, server.pid, table, 1 if quick else 6))
        outcome.ceilings.append(_ceiling(table, f"put {table.case}"))
    puts = {figure.case: figure.metrics for figure in outcome.figures}
    small, large = puts["put 100 B"]["records/s"], puts["put 1 KB"]["MB/s"]
    outcome.verdicts = [
        Verdict(
            promise="native door, put 100 B: at least 1 million records/s",
            measured=f"{small / 1e6:.2f} million",
            met=small >= 1e6,
        ),
        Verdict(promise="native door, put 1 KB: at least 300 MB/s", measured=f"{large:.0f} MB/s", met=large >= 300),
    ]
    return outcome


def _ceiling(table: Table, case: str) -> Ceiling:
    written = ceilings.append_s(table.rows * table.size)
    return Ceiling(
        case=case,
        metric="records/s",
        value=table.rows / written,
        reckoning=f"a batch of {table.rows:,} records is appended and synced in {written * 1e3:.1f} ms by a writer that "
        "does nothing else",
    )


async def _in_process(table: Table, seconds: float) -> tuple[int, float, float]:
    """Records put, seconds and CPU seconds of this process."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        async with embedded(Path(folder)) as client:
            await client.create_stream(STREAM, SHARDS)
            await put_table(client, table, seconds / 4)
            cpu, began = own_cpu_s(), time.perf_counter()
            count = await put_table(client, table, seconds)
            return count, time.perf_counter() - began, own_cpu_s() - cpu


async def _native(port: int, pid: int, table: Table, seconds: float) -> list[Figure]:
    client = HttpClient(f"http://{HOST}:{port}")
    try:
        await client.create_stream(STREAM, SHARDS)
        await put_table(client, table, seconds / 4)
        cpu, began = cpu_seconds(pid), time.perf_counter()
        put = await put_table(client, table, seconds)
        put_s, put_cpu_s = time.perf_counter() - began, cpu_seconds(pid) - cpu
        cpu, began = cpu_seconds(pid), time.perf_counter()
        read = await read_again(client, seconds)
        read_s, read_cpu_s = time.perf_counter() - began, cpu_seconds(pid) - cpu
    finally:
        await client.close()
    return [
        _native_figure(f"put {table.case}", put, table.size, put_s, put_cpu_s),
        _native_figure(f"read {table.case}", read, table.size, read_s, read_cpu_s),
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


async def put_table(client: Client, table: Table, seconds: float) -> int:
    """Records that were durable within `seconds`."""
    rows = table.arrow()
    end = time.perf_counter() + seconds

    def again() -> Iterator[pa.RecordBatch]:
        while time.perf_counter() < end:
            yield from rows.to_batches()

    async with Producer(client, STREAM) as producer:
        reader = pa.RecordBatchReader.from_batches(rows.schema, again())
        return await producer.put_batch(reader, data="data")


async def read_again(client: Client, seconds: float) -> int:
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
