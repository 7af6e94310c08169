"""Functions: a warm call, through Lambda's API too, and batches of 3 MB in Firehose's record contract."""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import numpy as np
import uvloop

from benchmarks import ceilings
from benchmarks.connection import Connection
from benchmarks.harness import Benchmark, Ceiling, Figure, Outcome, Verdict, progress
from benchmarks.stage import sample
from benchmarks.subjects import HOST, headrace, serving
from connectors.functions.function import Function, function_arn
from connectors.functions.pool import FunctionPool
from connectors.functions.registry import Functions
from firehose.processors import FunctionCall
from firehose.transform import Transform
from streams.core.scope import Scope
from streams.core.settings import FunctionSettings
from streams.core.shards import HashRange, Shard, shard_id

CODE = """
import base64

def nothing(event, context):
    return None

def as_they_came(event, context):
    return {"records": [{"recordId": r["recordId"], "result": "Ok", "data": r["data"]} for r in event["records"]]}

def decoded(event, context):
    return {"records": [
        {"recordId": r["recordId"], "result": "Ok", "data": base64.b64encode(base64.b64decode(r["data"])).decode()}
        for r in event["records"]]}
"""

BATCH = 3 << 20
"""Bytes of records of one call, Firehose's most."""
SIZE = 1024
WARM_MS = 1.0
MB_S = 100.0
AT_ONCE = 2
"""Calls at once, where several are: as many as there are cores."""


def functions(quick: bool) -> Outcome:
    calls, batches = (500, 10) if quick else (10_000, 100)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "module.py").write_text(CODE)
        progress(f"{calls} warm calls")
        cold_ms, warm = uvloop.run(_warm(Path(folder), calls))
        progress(f"{calls} warm calls through the API")
        through = uvloop.run(_through_api(Path(folder), calls // 4))
        rates = []
        for handler, at_once in (("as_they_came", 1), ("as_they_came", AT_ONCE), ("decoded", 1), ("decoded", AT_ONCE)):
            progress(f"{batches} batches, {handler}, {at_once} at once")
            rates.append(uvloop.run(_batches(Path(folder), handler, batches, at_once)))
    names = {"as_they_came": "records as they came", "decoded": "base64 decoded and encoded by the function"}
    best = rates[0]["MB/s"]
    return Outcome(
        figures=[
            Figure(
                case="warm call, in process", subject="headrace", metrics={**_percentiles(warm), "cold ms": cold_ms}
            ),
            Figure(case="warm call, Invoke over HTTP", subject="headrace", metrics=_percentiles(through)),
            *(
                Figure(
                    case=f"3 MB batches of 1 KB, {names[handler]}, {at_once} at once", subject="headrace", metrics=rate
                )
                for (handler, at_once), rate in zip(
                    (("as_they_came", 1), ("as_they_came", AT_ONCE), ("decoded", 1), ("decoded", AT_ONCE)),
                    rates,
                    strict=True,
                )
            ),
        ],
        ceilings=[
            Ceiling(
                case=f"3 MB batches of 1 KB, {names['as_they_came']}, 1 at once",
                metric="MB/s",
                value=BATCH / 1e6 / _json_s(),
                reckoning="the event's and the answer's JSON, each encoded and decoded by msgspec, and four copies of it",
            )
        ],
        verdicts=[
            Verdict(
                promise=f"a warm function call: p50 under {WARM_MS:g} ms",
                measured=f"{_percentiles(warm)['p50 ms']:.2f} ms",
                met=_percentiles(warm)["p50 ms"] < WARM_MS,
            ),
            Verdict(
                promise=f"3 MB batches through a function: at least {MB_S:g} MB/s",
                measured=f"{best:.0f} MB/s one at a time, {rates[1]['MB/s']:.0f} MB/s {AT_ONCE} at once",
                met=best >= MB_S,
            ),
        ],
    )


async def _warm(folder: Path, calls: int) -> tuple[float, list[float]]:
    """ms of the first call, and of each one after it."""
    function = Function(name="f", arn=function_arn(Scope(), "f"), root=folder, handler="module.nothing", timeout_s=60)
    pool = FunctionPool(function, scratch=folder / "scratch")
    (cold,) = await _timed(lambda: pool.invoke(b"{}"), 1)
    warm = await _timed(lambda: pool.invoke(b"{}"), calls)
    await pool.close()
    return cold, warm


async def _through_api(folder: Path, calls: int) -> list[float]:
    """ms of each Invoke over one connection to a server."""
    request = (
        f"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    )
    with serving(
        headrace(functions=msgspec.json.encode({"f": {"directory": str(folder), "handler": "module.nothing"}}).decode())
    ) as server:
        connection = Connection(HOST, server.port)

        async def invoke() -> None:
            answer = await connection.ask(request)
            assert (answer.status, answer.body) == (200, b"null"), answer

        await invoke()
        return await _timed(invoke, calls)


async def _timed(call: Callable[[], Awaitable[object]], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - began) * 1000)
    return taken


async def _batches(folder: Path, handler: str, batches: int, at_once: int) -> dict[str, float]:
    """From records to records, through Firehose's side of the contract. CPU is that of the server and of the functions."""
    settings = {"f": FunctionSettings(directory=str(folder), handler=f"module.{handler}")}
    functions = Functions(settings, timeout_s=60)
    arn = function_arn(Scope(), "f")
    call = FunctionCall(arn, "f", 0, BATCH)
    transform = Transform(functions.invoke, call, stream_arn=arn, region="us-east-1", source_arn=None)
    records = sample(BATCH // SIZE, SIZE).with_arrival(int(time.time() * 1000))
    offsets = np.arange(len(records), dtype=np.int64)
    shard = Shard(shard_id(0), 0, "bench/0", HashRange(0, (1 << 128) - 1), 0)
    size = len(records) * SIZE

    async def work(count: int) -> None:
        for _ in range(count):
            done = await transform.run(shard, offsets, None, records, 0)
            assert len(done.data) == len(records), done.faults[:1]

    await asyncio.gather(*(work(1) for _ in range(at_once)))
    began, cpu = time.perf_counter(), _cpu_s()
    await asyncio.gather(*(work(batches // at_once) for _ in range(at_once)))
    taken = time.perf_counter() - began
    await functions.close()
    done = batches // at_once * at_once
    return {"MB/s": done * size / 1e6 / taken, "CPU ms": (_cpu_s() - cpu) * 1000 / done}


def _cpu_s() -> float:
    """Of this process, and of the functions' once they have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def _json_s() -> float:
    """Seconds for the JSON of a batch, both ways, and for the copies through two sockets."""
    record = {"recordId": "4" * 62, "result": "Ok", "data": "x" * (SIZE * 4 // 3)}
    value = {"records": [record] * (BATCH // SIZE)}
    text = msgspec.json.encode(value)
    both = ceilings.best_of(lambda: msgspec.json.encode(value)) + ceilings.best_of(lambda: msgspec.json.decode(text))
    return 2 * both + 4 * ceilings.copy_s(-(-len(text) >> 20) << 20)


def _percentiles(taken: list[float]) -> dict[str, float]:
    ordered = sorted(taken)
    return {f"p{share} ms": ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in (50, 99)}


BENCHMARKS = [
    Benchmark(name="functions", title="Functions: warm calls, and batches of 3 MB", minutes=0.7, run=functions)
]
