"""The table of benchmarks."""

from __future__ import annotations

from benchmarks import (
    backlog,
    bulk,
    delivery,
    demo,
    fanout,
    functions,
    json_columns,
    kafka,
    latency,
    mixed,
    nexmark_latency,
    puts,
    queues,
    reads,
    resume,
    scale,
    signatures,
    sliding,
)
from benchmarks.harness import Benchmark
from benchmarks.nexmark import bench as nexmark

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for room in (
        puts,
        reads,
        bulk,
        latency,
        mixed,
        fanout,
        queues,
        functions,
        signatures,
        scale,
        backlog,
        delivery,
        resume,
        json_columns,
        kafka,
        nexmark,
        nexmark_latency,
        sliding,
        demo,
    )
    for benchmark in room.BENCHMARKS
}
