"""SubscribeToShard: one stream to twenty consumers, how much in all and how soon, ``log_sync = "always"``."""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode
from typing import Any, cast

import msgspec
import numpy as np
import uvloop

from benchmarks import ceilings
from benchmarks.connection import Connection, request
from benchmarks.harness import Benchmark, Ceiling, Figure, Outcome, Verdict, progress
from benchmarks.stage import sample
from benchmarks.subjects import HOST, headrace, serving
from streams.sdk.http import HttpClient

STREAM = "bench"
CONSUMERS = 20
SIZE = 1024
MB_S, P50_MS = 200.0, 5.0
_MARK = b'"PartitionKey"'
_KEY = b'"Data":"'
_PAUSE_S = 0.004


class _Reader(asyncio.Protocol):
    """Counts the records of an event stream as they pass, without parsing them: the load must cost little."""

    def __init__(self, count: int) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self.seen: asyncio.Queue[tuple[int, bytes]] | None = None
        self._left = count
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.seen is not None:
            self.seen.put_nowait((time.perf_counter_ns(), data))
        joined = self._tail + data
        self._left -= joined.count(_MARK)
        self._tail = joined[-len(_MARK) + 1 :] if len(joined) >= len(_MARK) else joined
        if self._left <= 0 and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done() and not self.transport.is_closing():
            self.done.set_exception(ConnectionError(f"the server ended the stream: {exc}"))


def fanout(quick: bool) -> Outcome:
    count = 20_000 if quick else 100_000
    progress(f"{count} records of 1 KB to {CONSUMERS} consumers")
    with serving(headrace()) as server:
        taken_s = uvloop.run(_throughput(server.port, count))
    rate = count * SIZE * CONSUMERS / taken_s / 1e6
    progress("put to seen by twenty consumers")
    with serving(headrace()) as server:
        latencies = uvloop.run(_latency(server.port, 100 if quick else 1000))
    p50, p99 = (float(np.percentile(latencies, share)) for share in (50, 99))
    copy_s = ceilings.copy_s(64 << 20) / (64 << 20)
    return Outcome(
        figures=[
            Figure(case="backlog, 20 consumers", subject="headrace", metrics={"MB/s": rate}),
            Figure(case="put to seen, 20 consumers", subject="headrace", metrics={"p50 ms": p50, "p99 ms": p99}),
        ],
        ceilings=[
            Ceiling(
                case="backlog, 20 consumers",
                metric="MB/s",
                value=SIZE / (1.6 * SIZE * copy_s * 3) / 1e6,
                reckoning="a byte of data is 1.6 on the wire, copied three times on its way into the socket",
            )
        ],
        verdicts=[
            Verdict(
                promise=f"SubscribeToShard to {CONSUMERS} consumers: {MB_S:g} MB/s of data in all",
                measured=f"{rate:.0f} MB/s",
                met=rate >= MB_S,
            ),
            Verdict(
                promise=f"SubscribeToShard: p50 under {P50_MS:g} ms from put to the last of {CONSUMERS} consumers",
                measured=f"{p50:.2f} ms",
                met=p50 < P50_MS,
            ),
        ],
    )


async def _throughput(port: int, count: int) -> float:
    client = HttpClient(f"http://{HOST}:{port}")
    await client.create_stream(STREAM, 1)
    for first in range(0, count, 5000):
        await client.put(STREAM, sample(min(5000, count - first), SIZE))
    await client.close()
    arns = await _register(port)
    began = time.perf_counter()
    readers = [await _subscribe(port, arn, "TRIM_HORIZON", count) for arn in arns]
    await asyncio.gather(*(reader.done for reader in readers))
    taken_s = time.perf_counter() - began
    for reader in readers:
        reader.transport.close()
    return taken_s


async def _latency(port: int, rounds: int) -> list[float]:
    """Milliseconds from the beginning of each put until the last of the consumers has it."""
    client = HttpClient(f"http://{HOST}:{port}")
    await client.create_stream(STREAM, 1)
    await client.close()
    readers = [await _subscribe(port, arn, "LATEST", 1 << 60) for arn in await _register(port)]
    for reader in readers:
        reader.seen = asyncio.Queue()
    connection = Connection(HOST, port)
    taken: list[float] = []
    for number in range(rounds):
        await asyncio.sleep(_PAUSE_S)
        data = number.to_bytes(8, "big") + bytes(SIZE - 8)
        began = time.perf_counter_ns()
        body = msgspec.json.encode({"StreamName": STREAM, "PartitionKey": "k", "Data": data})
        put = asyncio.ensure_future(connection.ask(request(HOST, port, "PutRecord", body)))
        ends = [await _arrival(reader, data) for reader in readers]
        await put
        taken.append((max(ends) - began) / 1e6)
    for reader in readers:
        reader.transport.close()
    return taken


async def _arrival(reader: _Reader, data: bytes) -> int:
    assert reader.seen is not None
    while True:
        at, event = await reader.seen.get()
        _, found, rest = event.partition(_KEY)
        if found and b64decode(rest[:1368])[:8] == data[:8]:
            return at


async def _register(port: int) -> list[str]:
    connection = Connection(HOST, port)
    stream = f"arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}"
    arns = []
    for number in range(CONSUMERS):
        body = msgspec.json.encode({"StreamARN": stream, "ConsumerName": f"c{number}"})
        answer: Any = msgspec.json.decode(
            (await connection.ask(request(HOST, port, "RegisterStreamConsumer", body))).body
        )
        arns.append(answer["Consumer"]["ConsumerARN"])
    return arns


async def _subscribe(port: int, arn: str, kind: str, count: int) -> _Reader:
    _, reader = await asyncio.get_running_loop().create_connection(lambda: _Reader(count), HOST, port)
    body = {"ConsumerARN": arn, "ShardId": "0", "StartingPosition": {"Type": kind}}
    reader.transport.write(request(HOST, port, "SubscribeToShard", msgspec.json.encode(body)))
    return reader


BENCHMARKS = [Benchmark(name="fanout", title="Enhanced fan-out, 1 KB records, 20 consumers", minutes=0.5, run=fanout)]
