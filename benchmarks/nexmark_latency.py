"""From a put to the output stream of an application that filters, while records come at a steady rate."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import uvloop

from analytics import Application, Input, Output
from benchmarks import ceilings
from benchmarks.harness import Benchmark, Ceiling, Figure, Outcome, Verdict, progress
from benchmarks.load import own_cpu_s
from benchmarks.stage import embedded
from connectors.formats import json_scan
from connectors.formats.schema import Column
from streams.core.memory import keep_memory
from streams.core.records import Records
from streams.sdk.client import LATEST, Client
from streams.sdk.consumer import Consumer

RATE = 100_000
"""Records a second."""
P50_MS = 30.0
_EACH_S = 0.005
"""Between two puts."""
_EACH = round(RATE * _EACH_S)
_PASS = 10
"""One record in so many passes the filter."""
_PROGRAM = f"""
CREATE STREAM passed ("sent" BIGINT, "n" BIGINT);
CREATE PUMP p AS INSERT INTO passed SELECT STREAM "sent", "n" FROM SOURCE_SQL_STREAM_001 WHERE MOD("n", {_PASS}) = 0;
"""
_COLUMNS = [Column("sent", pa.int64()), Column("n", pa.int64()), Column("text", pa.string())]
_TEXT = b"x" * 60
_SENT = re.compile(rb'"sent": ?(\d+)')


def latency(quick: bool) -> Outcome:
    seconds = 2.0 if quick else 20.0
    keep_memory()  # as the process of an application does
    json_scan.load()  # which one that goes on for longer does by itself
    outcome = Outcome(figures=[])
    written = ceilings.append_s(100 * _EACH) * 1e3
    for case, durable in (("state in memory", False), ("state on disk", True)):
        progress(f"filter pump at {RATE:,} records/s, {case}")
        taken, cpu = uvloop.run(_run(seconds, durable))
        p50, p99, worst = (float(np.percentile(taken, share)) for share in (50, 99, 100))
        metrics = {"records/s": RATE, "p50 ms": p50, "p99 ms": p99, "max ms": worst, "cores": cpu}
        outcome.figures.append(Figure(case=case, subject="headrace", metrics=metrics))
        outcome.ceilings.append(
            Ceiling(
                case=case,
                metric="p50 ms",
                value=2 * written,
                reckoning=f"the disk takes {written:.2f} ms to append and sync a put, and once more for what passes",
            )
        )
        outcome.verdicts.append(
            Verdict(
                promise=f"filter pump at {RATE:,} records/s, put to output stream, {case}: p50 under {P50_MS:g} ms",
                measured=f"{p50:.1f} ms (p99 {p99:.1f})",
                met=p50 < P50_MS,
            )
        )
    return outcome


async def _run(seconds: float, durable: bool) -> tuple[list[float], float]:
    """Milliseconds from the begin of a put until a waiting consumer holds the record that came out, for each of them; and how
    many cores all of it took, producer and consumer included."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as name:
        folder = Path(name)
        async with embedded(folder / "data") as client:
            await client.create_stream("in", 2)
            await client.create_stream("out", 1)
            application = Application(
                _PROGRAM,
                client=client,
                inputs=[Input("in", columns=_COLUMNS)],
                outputs=[Output("PASSED", stream="out")],
                path=str(folder / "state.duckdb") if durable else None,
            )
            async with application, Consumer(client, "out", start=LATEST) as consumer:
                running = asyncio.create_task(application.run())
                await asyncio.gather(_put(client, 1.0), _consume(consumer, 1.0))
                cpu = own_cpu_s()
                _, taken = await asyncio.gather(_put(client, seconds), _consume(consumer, seconds))
                cores = (own_cpu_s() - cpu) / seconds
                application.stop()
                await running
            return taken, cores


async def _put(client: Client, seconds: float) -> None:
    """Puts at the rate, whatever a put takes."""
    keys = [str(number) for number in range(_EACH)]
    began = time.perf_counter()
    going: set[asyncio.Task[object]] = set()
    for number in range(round(seconds / _EACH_S)):
        await asyncio.sleep(max(0.0, began + number * _EACH_S - time.perf_counter()))
        sent = time.perf_counter_ns()
        data = [b'{"sent": %d, "n": %d, "text": "%s"}' % (sent, at, _TEXT) for at in range(_EACH)]
        put = asyncio.create_task(client.put("in", Records.of(keys, data)))
        going.add(put)
        put.add_done_callback(going.discard)
    await asyncio.gather(*going)


async def _consume(consumer: Consumer, seconds: float) -> list[float]:
    """Milliseconds, for every record that comes out of as many seconds of puts."""
    taken: list[float] = []
    wanted = round(seconds / _EACH_S) * _EACH // _PASS
    while len(taken) < wanted:
        batch = await anext(consumer)
        now = time.perf_counter_ns()
        for data in batch.records.data.to_pylist():
            found = _SENT.search(data)
            assert found is not None
            taken.append((now - int(found.group(1))) / 1e6)
    return taken


BENCHMARKS = [
    Benchmark(
        name="pump_latency",
        title=f"A filter pump at {RATE:,} records/s, put to output stream",
        minutes=0.8,
        run=latency,
    ),
]
