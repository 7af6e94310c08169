"""The log on Apache Kafka beside Kafka's own performance tests, all on this machine: one broker, four partitions.

The limit is what Kafka's producer and consumer reach straight at the broker, with settings for throughput (`PRODUCER`).
Everybody waits for `acks=all`, nobody compresses. Each subject takes turns, and its best turn counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvloop

from benchmarks import aws
from benchmarks.bulk import STREAM, Table, put_table, read_again
from benchmarks.connection import Connection, request
from benchmarks.harness import Benchmark, Figure, Outcome, Verdict, generate_load, progress
from benchmarks.load import own_cpu_s
from benchmarks.subjects import HOST, Server, headrace, serving
from streams.core.clock import SystemClock
from streams.core.settings import Settings
from streams.kafka.address import parse
from streams.kafka.log import KafkaLog
from streams.sdk.client import Client
from streams.sdk.local import LocalClient
from streams.service import Service
from tests.kafka.kafka_broker import Broker
from tools.clients import FOLDER

SHARDS = 4
TURNS = 3
SIZES = {"1 KB": 1024, "100 B": 100}
SECONDS = 6.0

JVM = ("-Xmx1g", "-Xms1g")
"""Of the broker and of Kafka's tools: the compilers as they come."""

PRODUCER = ("acks=all", "linger.ms=10", "batch.size=262144", "buffer.memory=134217728")

_PRODUCED = re.compile(r"(\d+) records sent, ([\d.]+) records/sec.*?([\d.]+) ms 50th")
_LATENCY_RATE = 200


def kafka(quick: bool) -> Outcome:
    if not (FOLDER / "kafka-tools.installed").exists() or not (FOLDER / "kafka.installed").exists():
        missing = "kafka was skipped: install it (Java 17, Maven) with python -m tools.clients kafka kafka-tools"
        return Outcome(figures=[], skipped=[missing])
    outcome = Outcome(figures=[])
    with _broker() as broker:
        for case, size in SIZES.items():
            _throughput(outcome, broker, case, size, quick)
        _latency(outcome, broker, 50 if quick else 1000)
    return outcome


def _throughput(outcome: Outcome, broker: Broker, case: str, size: int, quick: bool) -> None:
    seconds = 1.0 if quick else SECONDS
    best: dict[tuple[str, str], dict[str, float]] = {}

    def note(what: str, subject: str, metrics: dict[str, float]) -> None:
        known = best.get((what, subject))
        if known is None or metrics["records/s"] > known["records/s"]:
            best[what, subject] = metrics

    for turn in range(1 if quick else TURNS):
        progress(f"kafka {case}: turn {turn + 1}")
        topic = f"limit-{size}-{turn}"
        rate, cpu_s, count = _produce(broker, topic, size, seconds)
        note("put", "kafka-producer-perf-test", _metrics(rate, size, cpu_s / count))
        note("read", "kafka-consumer-perf-test", _metrics(_consume(broker, topic, count), size))
        url = f"kafka://{broker.address}/sdk-{size}-{turn}?compression=none"
        put, read = uvloop.run(_sdk(url, Table(case, size, keyed=False), seconds))
        note("put", "headrace, SDK, packed", put)
        note("read", "headrace, SDK, packed", read)
        for packed in (False, True):
            name = f"headrace, PutRecords, two gateways{', packed' if packed else ''}"
            note("put", name, _put_records(broker, f"api-{size}-{turn}-{packed}", size, packed, seconds))
    for (what, subject), metrics in best.items():
        outcome.figures.append(Figure(case=f"{what} {case}", subject=subject, metrics=metrics))
    ours = best["put", "headrace, SDK, packed"]["records/s"]
    limit = best["put", "kafka-producer-perf-test"]["records/s"]
    needed = 0.8 if size == 1024 else 1.0
    outcome.verdicts.append(
        Verdict(
            promise=f"SDK, packed, put {case}: at least {needed:.0%} of what Kafka's producer reaches",
            measured=f"{ours / limit:.0%}",
            met=ours >= needed * limit,
        )
    )


def _latency(outcome: Outcome, broker: Broker, count: int) -> None:
    """One put after the other, at a broker that does nothing else."""
    progress("kafka: latency")
    topic = "latency"
    _tool(broker, "TopicCommand", "--create", "--topic", topic, "--partitions", "1")
    shown = _tool(
        broker,
        "ProducerPerformance",
        *("--topic", topic, "--record-size", "1024", "--num-records", str(count), "--throughput", str(_LATENCY_RATE)),
        *("--warmup-records", str(count // 2), "--command-property", "acks=all", "linger.ms=0"),
    )
    found = _PRODUCED.findall(shown)
    theirs_ms = float(found[-1][2])
    with _gateways(broker, "latency", 1) as (gateway,):
        ours_ms = uvloop.run(_put_one_by_one(gateway.port, count))
    outcome.figures += [
        Figure(case="latency, put 1 KB", subject="kafka-producer-perf-test", metrics={"p50 ms": theirs_ms}),
        Figure(case="latency, put 1 KB", subject="headrace, PutRecord", metrics={"p50 ms": ours_ms}),
    ]
    outcome.verdicts.append(
        Verdict(
            promise="PutRecord over Kafka: p50 less than 3 ms above the broker's own",
            measured=f"{ours_ms - theirs_ms:.2f} ms",
            met=ours_ms - theirs_ms < 3,
        )
    )


def _metrics(rate: float, size: int, cpu_s: float | None = None) -> dict[str, float]:
    metrics = {"records/s": rate, "MB/s": rate * size / 1e6}
    return metrics if cpu_s is None else metrics | {"CPU s per million": cpu_s * 1e6}


@contextlib.contextmanager
def _broker() -> Iterator[Broker]:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        broker = Broker(Path(folder) / "kafka", jvm=JVM).start()
        try:
            yield broker
        finally:
            broker.kill()


def _tool(broker: Broker, name: str, *arguments: str) -> str:
    """What one of Kafka's tools prints."""
    jars = f"{FOLDER / 'kafka' / 'jars'}/*:{FOLDER / 'kafka-tools' / 'jars'}/*"
    command = ["java", *JVM, "-cp", jars, f"org.apache.kafka.tools.{name}", "--bootstrap-server", broker.address]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def _produce(broker: Broker, topic: str, size: int, seconds: float) -> tuple[float, float, int]:
    """Records a second, CPU seconds of the producer, records. It is asked for what takes it about `seconds`, at 150 MB/s."""
    _tool(broker, "TopicCommand", "--create", "--topic", topic, "--partitions", str(SHARDS))
    count = int(seconds * min(150e6 / size, 1e6))
    before = _children_s()
    shown = _tool(
        broker,
        "ProducerPerformance",
        *("--topic", topic, "--record-size", str(size), "--num-records", str(count), "--throughput", "-1"),
        *("--warmup-records", str(count // 4), "--command-property", *PRODUCER),
    )
    return float(_PRODUCED.findall(shown)[-1][1]), _children_s() - before, count


def _children_s() -> float:
    """CPU seconds of the processes that this one has run and buried."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _consume(broker: Broker, topic: str, count: int) -> float:
    """Records a second, without the time that it takes to join its group."""
    shown = _tool(
        broker,
        "ConsumerPerformance",
        *("--topic", topic, "--num-records", str(count), "--fetch-size", str(8 << 20), "--hide-header"),
        *("--timeout", "60000"),
    )
    fields = [field.strip() for field in shown.strip().splitlines()[-1].split(",")]
    return float(fields[9])  # fetch.nMsg.sec


async def _sdk(url: str, table: Table, seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """A packed stream that is put to and read in this process: no gateway is between the SDK and the brokers."""
    async with _local(url) as client:
        await client.create_stream(STREAM, SHARDS, packed=True)
        await put_table(client, table, seconds / 4)
        cpu, began = own_cpu_s(), time.perf_counter()
        count = await put_table(client, table, seconds)
        put = _metrics(count / (time.perf_counter() - began), table.size, (own_cpu_s() - cpu) / count)
    async with _local(url) as client:
        cpu, began = own_cpu_s(), time.perf_counter()
        count = await read_again(client, seconds / 2)
        read = _metrics(count / (time.perf_counter() - began), table.size, (own_cpu_s() - cpu) / count)
    return put, read


@contextlib.asynccontextmanager
async def _local(url: str) -> AsyncIterator[Client]:
    clock = SystemClock()
    log = await KafkaLog.open(parse(url), clock=clock)
    service = Service(log, clock=clock, settings=Settings(log=url))
    await service.open()
    try:
        yield LocalClient(service)
    finally:
        await service.close()
        await log.close()


@contextlib.contextmanager
def _gateways(broker: Broker, prefix: str, count: int) -> Iterator[list[Server]]:
    """The first is the worker."""
    log = f"kafka://{broker.address}/{prefix}?compression=none"
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(serving(headrace(log=log)))]
        worker = f"http://{HOST}:{servers[0].port}"
        servers += [stack.enter_context(serving(headrace(log=log, worker=worker))) for _ in range(count - 1)]
        yield servers


def _put_records(broker: Broker, prefix: str, size: int, packed: bool, seconds: float) -> dict[str, float]:
    """PutRecords × 500, by a load generator at each of two gateways."""
    with _gateways(broker, prefix, 2) as servers:
        tags = {"headrace:packed": "true"} if packed else {}
        asyncio.run(aws.create_stream(HOST, servers[0].port, SHARDS, tags=tags))
        with ThreadPoolExecutor(2) as pool:
            loads = list(
                pool.map(
                    lambda server: generate_load(
                        server, "PutRecords", count=500, size=size, concurrency=4, seconds=seconds
                    ),
                    servers,
                )
            )
    count = sum(load.records for load in loads)
    rate = sum(load.records / load.seconds for load in loads)
    return _metrics(rate, size, sum(load.server_cpu_s for load in loads) / count)


async def _put_one_by_one(port: int, count: int) -> float:
    """The p50 of PutRecord, ms, at the same pace as Kafka's producer."""
    await aws.create_stream(HOST, port, 1)
    connection = Connection(HOST, port)
    body = request(HOST, port, "PutRecord", aws.put_record_body(1024, 1))
    times = []
    for turn in range(count + count // 2):
        began = time.perf_counter()
        answer = await connection.ask(body)
        assert answer.status == 200, answer.body
        took = time.perf_counter() - began
        if turn >= count // 2:
            times.append(took * 1000)
        await asyncio.sleep(max(0, 1 / _LATENCY_RATE - took))
    return statistics.median(times)


BENCHMARKS = [
    Benchmark(
        name="kafka", title="The log on Apache Kafka beside Kafka's own tools, 4 partitions", minutes=6, run=kafka
    )
]
