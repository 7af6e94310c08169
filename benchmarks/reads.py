"""GetRecords over HTTP, side by side with the peers."""

from __future__ import annotations

import asyncio

from benchmarks import aws, ceilings
from benchmarks.harness import (
    Benchmark,
    Ceiling,
    Figure,
    Outcome,
    generate_load,
    progress,
    subjects,
    times_fastest_peer,
    times_verdict,
)
from benchmarks.subjects import HOST, serving

COUNT = 10_000
SIZE = 1024
CASE = "10,000 × 1 KB"


def get_records(quick: bool) -> Outcome:
    found, skipped = subjects()
    figures: list[Figure] = []
    for subject in found:
        progress(f"GetRecords {CASE}: {subject.name} {subject.version}")
        with serving(subject) as server:
            try:
                asyncio.run(_stage(server.port))
                load = generate_load(
                    server, "GetRecords", count=COUNT, size=SIZE, concurrency=1, seconds=2 if quick else 8
                )
            except (aws.CallError, RuntimeError) as error:
                if subject.name == "headrace":
                    raise
                skipped.append(f"{subject.name} cannot do it: {str(error).strip().splitlines()[-1]}")
                continue
        figures.append(
            Figure(
                case=CASE,
                subject=subject.name,
                metrics={
                    "MB/s": load.bytes / load.seconds / 1e6,
                    "records/s": load.records / load.seconds,
                    "server CPU s per million": load.server_cpu_s / load.records * 1e6,
                    "p50 ms": load.p50_ms,
                    "client CPU %": load.client_cpu_s / load.seconds * 100,
                },
            )
        )
    encode = ceilings.encode_get_records_s(COUNT, SIZE)
    bound = Ceiling(
        case=CASE,
        metric="MB/s",
        value=COUNT * SIZE / encode / 1e6,
        reckoning=f"one core encodes the answer as JSON in {encode * 1e3:.1f} ms; loopback moves it in about 4 ms more",
    )
    verdicts = times_verdict(
        f"GetRecords {CASE}, MB/s against the fastest peer", times_fastest_peer(figures, CASE, "MB/s"), 8.0
    )
    return Outcome(figures=figures, ceilings=[bound], verdicts=verdicts, skipped=skipped)


async def _stage(port: int) -> None:
    await aws.create_stream(HOST, port, 1)
    await aws.fill(HOST, port, COUNT, SIZE)


BENCHMARKS = [Benchmark(name="get_records", title="GetRecords over HTTP JSON, one reader", minutes=1, run=get_records)]
