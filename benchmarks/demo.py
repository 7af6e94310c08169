"""The demo, from its command to its last count, after installation."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.harness import Benchmark, Figure, Outcome, Verdict, progress

SECONDS_MAX = 60.0
QUICK_FLIGHTS = 20_000


def demo(quick: bool) -> Outcome:
    progress("headrace demo")
    arguments = ["--flights", str(QUICK_FLIGHTS)] if quick else []
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "demo", *arguments],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(
            f"the demo ended with exit code {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    case = f"{QUICK_FLIGHTS:,} flights" if quick else "336,776 flights"
    return Outcome(
        figures=[Figure(case=case, subject="headrace", metrics={"s": seconds})],
        verdicts=[
            Verdict(
                promise=f"demo, every count reconciled: under {SECONDS_MAX:g} s",
                measured=f"{seconds:.1f} s",
                met=seconds < SECONDS_MAX,
            )
        ],
    )


BENCHMARKS = [
    Benchmark(name="demo", title="headrace demo, from the command to the reconciliation", minutes=1, run=demo)
]
