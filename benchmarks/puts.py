"""PutRecords and PutRecord over HTTP, side by side with the peers."""

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
from benchmarks.load import Load
from benchmarks.subjects import HOST, serving

SHARDS = 4
_HTTP_US = 12.0
"""CPU of one request in a thin uvloop and httptools server, µs: what framing costs at least (measured, 1 KB bodies)."""
_CASES = {"500 × 1 KB": (500, 1024, 8.0), "500 × 100 B": (500, 100, 20.0)}


def put_records(quick: bool) -> Outcome:
    found, skipped = subjects()
    figures: list[Figure] = []
    for case, (count, size, _) in _CASES.items():
        for subject in found:
            progress(f"PutRecords {case}: {subject.name} {subject.version}")
            with serving(subject) as server:
                asyncio.run(aws.create_stream(HOST, server.port, SHARDS))
                load = generate_load(
                    server, "PutRecords", count=count, size=size, concurrency=4, seconds=1 if quick else 8
                )
            figures.append(Figure(case=case, subject=subject.name, metrics=_metrics(load)))
    outcome = Outcome(figures=figures, skipped=skipped)
    for case, (count, size, needed) in _CASES.items():
        decode, write = ceilings.decode_put_records_s(count, size), ceilings.append_s(count * size)
        outcome.ceilings.append(
            Ceiling(
                case=case,
                metric="records/s",
                value=count / (decode + _HTTP_US / 1e6),
                reckoning=f"one core decodes, un-base64s and hashes a request in {decode * 1e6:.0f} µs and frames it in "
                f"{_HTTP_US:.0f} µs; the disk, which works beside it, takes {write * 1e6:.0f} µs to append and sync it",
            )
        )
        faster = times_fastest_peer(figures, case, "records/s")
        cheaper = times_fastest_peer(figures, case, "server CPU s per million", lower_is_better=True)
        outcome.verdicts += times_verdict(f"PutRecords {case}, records/s against the fastest peer", faster, needed)
        outcome.verdicts += times_verdict(
            f"PutRecords {case}, server CPU per record against the cheapest peer", cheaper, needed
        )
    return outcome


def put_record(quick: bool) -> Outcome:
    found, skipped = subjects()
    case = "1 KB, 16 connections"
    figures: list[Figure] = []
    for subject in found:
        progress(f"PutRecord {case}: {subject.name} {subject.version}")
        with serving(subject) as server:
            asyncio.run(aws.create_stream(HOST, server.port, SHARDS))
            load = generate_load(server, "PutRecord", count=1, size=1024, concurrency=16, seconds=1 if quick else 8)
        figures.append(Figure(case=case, subject=subject.name, metrics=_metrics(load)))
    decode = ceilings.decode_put_record_s(1024)
    bound = Ceiling(
        case=case,
        metric="records/s",
        value=1 / (decode + _HTTP_US / 1e6),
        reckoning=f"one core frames a request in {_HTTP_US:.0f} µs and decodes it in {decode * 1e6:.1f} µs; "
        "the wait for the disk is shared by the requests that arrive meanwhile",
    )
    verdicts = times_verdict(
        f"PutRecord {case}, requests/s against the fastest peer", times_fastest_peer(figures, case, "records/s"), 3.0
    )
    return Outcome(figures=figures, ceilings=[bound], verdicts=verdicts, skipped=skipped)


def _metrics(load: Load) -> dict[str, float]:
    return {
        "records/s": load.records / load.seconds,
        "MB/s": load.bytes / load.seconds / 1e6,
        "server CPU s per million": load.server_cpu_s / load.records * 1e6,
        "p50 ms": load.p50_ms,
        "p99 ms": load.p99_ms,
        "failed records": float(load.failed),
        "client CPU %": load.client_cpu_s / load.seconds * 100,
    }


BENCHMARKS = [
    Benchmark(
        name="put_records", title="PutRecords over HTTP JSON, 4 shards, concurrency 4", minutes=1.5, run=put_records
    ),
    Benchmark(name="put_record", title="PutRecord over HTTP JSON, 4 shards", minutes=0.8, run=put_record),
]
