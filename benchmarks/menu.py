"""The table of benchmarks."""

from __future__ import annotations

from benchmarks import puts, reads
from benchmarks.harness import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark for room in (puts, reads) for benchmark in room.BENCHMARKS
}
