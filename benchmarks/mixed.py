"""GetRecords while producers put at half of what the server can take: how long readers wait."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import msgspec
import numpy as np
import uvloop

from benchmarks import aws, ceilings
from benchmarks.connection import Connection, request
from benchmarks.harness import Benchmark, Ceiling, Figure, Outcome, Verdict, generate_load, progress
from benchmarks.subjects import HOST, headrace, serving

SHARDS = 4
COUNT, SIZE = 500, 1024
READ_LIMIT = 1000
PAUSE_S = 0.02
P99_MS = 20.0


def mixed(quick: bool) -> Outcome:
    progress("the most that it takes")
    with serving(headrace()) as server:
        asyncio.run(aws.create_stream(HOST, server.port, SHARDS))
        load = generate_load(server, "PutRecords", count=COUNT, size=SIZE, concurrency=4, seconds=1 if quick else 5)
    most = load.records / load.seconds
    progress(f"half of {most:.0f} records/s, and a reader of each shard")
    with serving(headrace()) as server:
        asyncio.run(aws.create_stream(HOST, server.port, SHARDS))
        put, taken = uvloop.run(_mixed(server.port, most / 2, 2 if quick else 15))
    p50, p99 = (float(np.percentile(taken, share)) for share in (50, 99))
    case = "GetRecords at half load"
    encode_s = ceilings.encode_get_records_s(READ_LIMIT, SIZE)
    return Outcome(
        figures=[Figure(case=case, subject="headrace", metrics={"put records/s": put, "p50 ms": p50, "p99 ms": p99})],
        ceilings=[
            Ceiling(
                case=case,
                metric="p50 ms",
                value=encode_s * 1000,
                reckoning=f"the JSON of {READ_LIMIT} records, with nobody else on the core",
            )
        ],
        verdicts=[
            Verdict(
                promise=f"GetRecords p99 under {P99_MS:g} ms while producers put half of the most",
                measured=f"p99 {p99:.1f} ms, p50 {p50:.1f} ms at {put:.0f} records/s",
                met=p99 < P99_MS,
            )
        ],
    )


async def _mixed(port: int, rate: float, seconds: float) -> tuple[float, list[float]]:
    """Records put a second, and milliseconds of each GetRecords."""
    bodies = [request(HOST, port, "PutRecords", aws.put_records_body(COUNT, SIZE, seed)) for seed in range(16)]
    end = time.perf_counter() + seconds
    put = 0

    async def produce(number: int, producers: int) -> None:
        nonlocal put
        connection = Connection(HOST, port)
        pause_s = COUNT * producers / rate
        due = time.perf_counter() + pause_s * number / producers
        for body in itertools.cycle(bodies):
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if time.perf_counter() >= end:
                return
            answer = await connection.ask(body)
            assert answer.status == 200, answer.body
            put += COUNT
            due += pause_s

    taken: list[float] = []

    async def read(shard: str) -> None:
        connection = Connection(HOST, port)
        where = {"StreamName": aws.STREAM, "ShardId": shard, "ShardIteratorType": "LATEST"}
        iterator = (await aws.call(HOST, port, "GetShardIterator", where))["ShardIterator"]
        while time.perf_counter() < end:
            ask = request(
                HOST, port, "GetRecords", msgspec.json.encode({"ShardIterator": iterator, "Limit": READ_LIMIT})
            )
            began = time.perf_counter()
            answer = await connection.ask(ask)
            taken.append((time.perf_counter() - began) * 1000)
            iterator = _following(answer.body)
            await asyncio.sleep(PAUSE_S)

    described: Any = await aws.call(HOST, port, "DescribeStream", {"StreamName": aws.STREAM})
    shards = [shard["ShardId"] for shard in described["StreamDescription"]["Shards"]]
    await asyncio.gather(*(produce(number, 4) for number in range(4)), *(read(shard) for shard in shards))
    return put / seconds, taken


def _following(body: bytes) -> str:
    """Found without parsing the records: the load must cost little."""
    _, found, rest = body.rpartition(b'"NextShardIterator":"')
    assert found, body[:200]
    return rest.partition(b'"')[0].decode()


BENCHMARKS = [Benchmark(name="mixed", title="GetRecords beside producers at half load", minutes=0.5, run=mixed)]
