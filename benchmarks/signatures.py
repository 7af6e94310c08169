"""What it costs to check signatures: the same requests to a server with credentials and to one without."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import aws
from benchmarks.connection import ACCESS_KEY, SECRET
from benchmarks.harness import Benchmark, Ceiling, Figure, Outcome, Verdict, generate_load, progress
from benchmarks.subjects import HOST, headrace, serving

LOSS_MAX = 0.10
ROUNDS = 5
_CASES = {
    "PutRecords 500 × 1 KB": ("PutRecords", 500, 1024, 4),
    "PutRecords 500 × 100 B": ("PutRecords", 500, 100, 4),
    "PutRecord 1 KB": ("PutRecord", 1, 1024, 16),
    "GetRecords 1,000 × 1 KB": ("GetRecords", 1000, 1024, 4),
}


def signatures(quick: bool) -> Outcome:
    """Both servers in turn, several times, since the machine changes its mind: the medians of records/s and of CPU."""
    outcome = Outcome(figures=[])
    for case in _CASES:
        runs: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for number in range(1 if quick else ROUNDS):
            progress(f"{case}, round {number + 1}")
            for signed in (False, True) if number % 2 else (True, False):
                runs[signed].append(_run(case, signed, 1 if quick else 3))
        rate, cpu = ({signed: _median(runs[signed], place) for signed in runs} for place in (0, 1))
        for signed, subject in ((False, "headrace"), (True, "headrace, signed")):
            metrics = {"records/s": rate[signed], "server CPU s per million": cpu[signed]}
            outcome.figures.append(Figure(case=case, subject=subject, metrics=metrics))
        loss = 1 - rate[True] / rate[False]
        outcome.verdicts.append(
            Verdict(
                promise=f"{case}: checking signatures costs at most {LOSS_MAX:.0%} of the rate",
                measured=f"{loss:.1%} of the rate, {cpu[True] / cpu[False] - 1:.1%} more CPU",
                met=loss <= LOSS_MAX,
            )
        )
        outcome.ceilings.append(
            Ceiling(case=case, metric="records/s", value=rate[False], reckoning="the same server without credentials")
        )
    return outcome


def _median(runs: list[tuple[float, float]], place: int) -> float:
    return sorted(one[place] for one in runs)[len(runs) // 2]


def _run(case: str, signed: bool, seconds: float) -> tuple[float, float]:
    """Records/s, and the server's CPU seconds per million."""
    operation, count, size, concurrency = _CASES[case]
    with _secret(signed) as settings, serving(headrace(**settings)) as server:
        asyncio.run(aws.create_stream(HOST, server.port, 1 if operation == "GetRecords" else 4))
        if operation == "GetRecords":
            asyncio.run(aws.fill(HOST, server.port, 20_000, size))
        load = generate_load(server, operation, count=count, size=size, concurrency=concurrency, seconds=seconds)
    return load.records / load.seconds, load.server_cpu_s / load.records * 1e6


@contextmanager
def _secret(signed: bool) -> Iterator[dict[str, str]]:
    """The settings of the server; the load generator takes its secret from the environment."""
    if not signed:
        yield {}
        return
    os.environ[SECRET] = "secret"
    try:
        yield {"credentials": json.dumps({ACCESS_KEY: "secret"})}
    finally:
        del os.environ[SECRET]


BENCHMARKS = [
    Benchmark(name="signatures", title="Signatures checked, and not", minutes=3.5, run=signatures),
]
