"""The table of benchmarks."""

from __future__ import annotations

from benchmarks import backlog, bulk, demo, fanout, latency, mixed, puts, queues, reads, scale, signatures
from benchmarks.harness import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for room in (puts, reads, bulk, latency, mixed, fanout, queues, signatures, scale, backlog, demo)
    for benchmark in room.BENCHMARKS
}
