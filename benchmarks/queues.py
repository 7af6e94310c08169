"""Queues: workers that compete for records, receive and acknowledge them, ``log_sync = "always"``."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import uvloop

from benchmarks import ceilings
from benchmarks.connection import Connection, request
from benchmarks.harness import Benchmark, Ceiling, Figure, Outcome, Verdict, progress
from benchmarks.stage import sample
from benchmarks.subjects import HOST, headrace, serving
from streams.sdk.http import HttpClient

STREAM = "bench"
STREAM_ARN = f"arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}"
WORKERS = 32
BATCH = 10
SIZE = 1024
CYCLES_S = 1000


def queues(quick: bool) -> Outcome:
    cycles = 2_000 if quick else 20_000
    progress(f"{WORKERS} workers, {cycles} cycles of {BATCH} records")
    with serving(headrace()) as server:
        taken_s, doubled = uvloop.run(_work(server.port, cycles))
    rate = cycles / taken_s
    return Outcome(
        figures=[
            Figure(
                case=f"receive and acknowledge {BATCH}, {WORKERS} workers",
                subject="headrace",
                metrics={"cycles/s": rate, "records/s": rate * BATCH},
            )
        ],
        ceilings=[
            Ceiling(
                case=f"receive and acknowledge {BATCH}, {WORKERS} workers",
                metric="cycles/s",
                value=1 / (ceilings.encode_get_records_s(BATCH, SIZE) + 2 * ceilings.append_s(512) / WORKERS),
                reckoning="an answer's JSON, and two commits that all workers share",
            )
        ],
        verdicts=[
            Verdict(
                promise=f"a queue with {WORKERS} workers: {CYCLES_S} cycles a second of {BATCH} records, nothing lost",
                measured=f"{rate:.0f} cycles/s, {doubled} of {cycles * BATCH} records lost or received twice",
                met=rate >= CYCLES_S and not doubled,
            )
        ],
    )


async def _work(port: int, cycles: int) -> tuple[float, int]:
    """Seconds, and how many records were not received exactly once."""
    client = HttpClient(f"http://{HOST}:{port}")
    control = Connection(HOST, port)
    await _ask(control, port, "CreateStream", {"StreamName": STREAM, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}})
    start = {"StreamARN": STREAM_ARN, "StartingPosition": {"Type": "TRIM_HORIZON"}}
    queue = await _ask(control, port, "CreateQueue", {"QueueName": "q", "StreamConfigurationList": [start]})
    arn = queue["QueueDescription"]["QueueARN"]
    for first in range(0, cycles * BATCH, 5000):
        await client.put(STREAM, sample(min(5000, cycles * BATCH - first), SIZE))
    await client.close()
    left = cycles * BATCH
    seen: set[str] = set()
    count = 0

    async def worker() -> None:
        nonlocal left, count
        connection = Connection(HOST, port)
        while left > 0:
            reply = await _ask(connection, port, "ReceiveQueueRecords", {"QueueARN": arn, "WaitTimeSeconds": 1})
            records = reply["QueueRecords"]
            if not records:
                continue
            left -= len(records)
            count += len(records)
            seen.update(record["RecordId"] for record in records)
            entries = [{"ReceiptHandle": record["ReceiptHandle"]} for record in records]
            answer = await _ask(connection, port, "AcknowledgeQueueRecords", {"QueueARN": arn, "Entries": entries})
            assert not answer["Failed"], answer["Failed"]

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(WORKERS)))
    taken_s = time.perf_counter() - began
    return taken_s, (cycles * BATCH - len(seen)) + (count - len(seen))


async def _ask(connection: Connection, port: int, operation: str, members: dict[str, Any]) -> Any:
    answer = await connection.ask(request(HOST, port, operation, msgspec.json.encode(members)))
    assert answer.status == 200, answer.body
    return msgspec.json.decode(answer.body) if answer.body else None


BENCHMARKS = [Benchmark(name="queues", title="Queues: receive and acknowledge, 1 KB records", minutes=0.5, run=queues)]
