"""The log on Apache Kafka beside Kafka's own performance tests, all on this machine: one broker, four partitions.

The limit is what Kafka's producer and consumer reach straight at the broker, with settings for throughput (`PRODUCER`).
Everybody waits for `acks=all`, nobody compresses. The subjects take turns, since a machine is not the same from one minute to
the next: a verdict is the median of the turns' ratios, a figure the best turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvloop
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks import aws
from benchmarks.bulk import STREAM, Table, put_table, read_again
from benchmarks.connection import Connection, request
from benchmarks.harness import Benchmark, Figure, Outcome, Verdict, generate_load, progress
from benchmarks.kafka_takeover import take_over
from benchmarks.load import own_cpu_s
from benchmarks.subjects import HOST, Server, headrace, serving
from streams.control.stream import PACKED_TAG
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
TURNS, LATENCY_TURNS = 3, 3
SIZES = {"1 KB": 1024, "100 B": 100}
SECONDS = 5.0

JVM = ("-Xmx1g", "-Xms1g")
"""Of the broker and of Kafka's tools: the compilers as they come."""

PRODUCER = ("acks=all", "linger.ms=10", "batch.size=262144", "buffer.memory=134217728")

KAFKA_PUT, KAFKA_READ = "kafka-producer-perf-test", "kafka-consumer-perf-test"
SDK, API, API_PACKED = (
    "headrace, SDK, packed",
    "headrace, PutRecords, two gateways",
    "headrace, PutRecords, two gateways, packed",
)

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
        _latency(outcome, broker, quick)
        take_over(outcome, broker, 1 if quick else 5)
    return outcome


def _throughput(outcome: Outcome, broker: Broker, case: str, size: int, quick: bool) -> None:
    seconds = 1.0 if quick else SECONDS
    turns: defaultdict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for turn in range(1 if quick else TURNS):
        progress(f"kafka {case}: turn {turn + 1}")
        asyncio.run(_cleared(broker))
        rate, cpu_s, count = _produce(broker, f"limit-{size}-{turn}", size, seconds)
        turns["put", KAFKA_PUT].append(_metrics(rate, size, cpu_s / count))
        turns["read", KAFKA_READ].append(_metrics(_consume(broker, f"limit-{size}-{turn}", count), size))
        asyncio.run(_cleared(broker))
        url = f"kafka://{broker.address}/sdk-{size}-{turn}?compression=none"
        put, read = uvloop.run(_sdk(url, Table(case, size, keyed=False), seconds))
        turns["put", SDK].append(put)
        turns["read", SDK].append(read)
        asyncio.run(_cleared(broker))
        for subject, metrics in _put_records(broker, f"api-{size}-{turn}", size, seconds).items():
            turns["put", subject].append(metrics)
    for (what, subject), measured in turns.items():
        best = max(measured, key=lambda metrics: metrics["records/s"])
        outcome.figures.append(Figure(case=f"{what} {case}", subject=subject, metrics=best))
    ratios = [
        ours["records/s"] / limit["records/s"]
        for ours, limit in zip(turns["put", SDK], turns["put", KAFKA_PUT], strict=True)
    ]
    needed = 0.8 if size == 1024 else 1.0
    reached = statistics.median(ratios)
    outcome.verdicts.append(
        Verdict(
            promise=f"SDK, packed, put {case}: at least {needed:.0%} of what Kafka's producer reaches",
            measured=f"{reached:.0%} (turns: {', '.join(f'{ratio:.0%}' for ratio in ratios)})",
            met=reached >= needed,
        )
    )


def _latency(outcome: Outcome, broker: Broker, quick: bool) -> None:
    """One put after the other, at a broker that does nothing else."""
    count = 50 if quick else 1000
    theirs: list[float] = []
    alone: list[float] = []
    ours: list[float] = []
    asyncio.run(_cleared(broker))
    asyncio.run(_create(broker, "latency", 1))
    with _gateways(broker, "gateway", 1) as (gateway,):
        asyncio.run(aws.create_stream(HOST, gateway.port, 1))
        for turn in range(1 if quick else LATENCY_TURNS):
            progress(f"kafka latency: turn {turn + 1}")
            shown = _tool(
                broker,
                "ProducerPerformance",
                *("--topic", "latency", "--record-size", "1024", "--num-records", str(count)),
                *("--throughput", str(_LATENCY_RATE), "--warmup-records", str(count // 2)),
                *("--command-property", "acks=all", "linger.ms=0"),
            )
            theirs.append(float(_PRODUCED.findall(shown)[-1][2]))
            alone_ms, own_ms = uvloop.run(_one_by_one(broker, gateway.port, count))
            alone.append(alone_ms)
            ours.append(own_ms)
    for subject, times in ((KAFKA_PUT, theirs), ("aiokafka", alone), ("headrace, PutRecord", ours)):
        outcome.figures.append(
            Figure(case="latency, put 1 KB", subject=subject, metrics={"p50 ms": statistics.median(times)})
        )
    # aiokafka's and our calls alternate, Kafka's tool has a turn of its own and prints whole milliseconds, rounded down.
    broker_ms = min(statistics.median(alone), statistics.median(theirs))
    added_ms = statistics.median(ours) - broker_ms
    outcome.verdicts.append(
        Verdict(
            promise="PutRecord over Kafka: p50 less than 3 ms above the broker's own",
            measured=f"{added_ms:.2f} ms ({statistics.median(ours):.2f} against {broker_ms:.2f})",
            met=added_ms < 3,
        )
    )


def _metrics(rate: float, size: int, cpu_s: float | None = None) -> dict[str, float]:
    metrics = {"records/s": rate, "MB/s": rate * size / 1e6}
    return metrics if cpu_s is None else metrics | {"CPU s per million": cpu_s * 1e6}


@contextlib.contextmanager
def _broker() -> Iterator[Broker]:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-", dir=os.environ.get("HEADRACE_BENCH_DIR")) as folder:
        broker = Broker(Path(folder) / "kafka", jvm=JVM)
        # What one turn has put is gone before the next.
        broker.settings = "file.delete.delay.ms=500\n"
        try:
            yield broker.start()
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


async def _create(broker: Broker, topic: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, partitions, 1)])
    await admin.close()


async def _cleared(broker: Broker) -> None:
    """No topics, and nothing that the disk has still to write: no subject pays for the one before."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    topics = [topic for topic in await admin.list_topics() if not topic.startswith("__")]
    if topics:
        await admin.delete_topics(topics)
    await admin.close()
    await asyncio.sleep(1)  # the broker deletes files by itself
    await asyncio.to_thread(os.sync)


def _produce(broker: Broker, topic: str, size: int, seconds: float) -> tuple[float, float, int]:
    """Records a second, CPU seconds of the producer, records. It is asked for what takes it about `seconds`, at 150 MB/s."""
    asyncio.run(_create(broker, topic, SHARDS))
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
    log = f"kafka://{broker.address}/{prefix}?compression=none"
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serving(headrace(log=log))) for _ in range(count)]


def _put_records(broker: Broker, prefix: str, size: int, seconds: float) -> dict[str, dict[str, float]]:
    """PutRecords × 500, by a load generator at each of two gateways; then the same with the stream packed."""
    found = {}
    with _gateways(broker, prefix, 2) as servers:
        port = servers[0].port
        asyncio.run(aws.create_stream(HOST, port, SHARDS))
        for subject in (API, API_PACKED):
            if subject == API_PACKED:
                tags = {"StreamName": aws.STREAM, "Tags": {PACKED_TAG: "true"}}
                asyncio.run(aws.call(HOST, port, "AddTagsToStream", tags))
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
            found[subject] = _metrics(rate, size, sum(load.server_cpu_s for load in loads) / count)
    return found


async def _one_by_one(broker: Broker, port: int, count: int) -> tuple[float, float]:
    """The p50s, ms, of a Kafka client in this language straight at the broker, and of PutRecord, in turns and each at the pace
    of Kafka's producer. Half as many calls before warm both up."""
    connection = Connection(HOST, port)
    body = request(HOST, port, "PutRecord", aws.put_record_body(1024, 1))
    value = os.urandom(1024)
    times: dict[str, list[float]] = {"send": [], "put": []}
    async with AIOKafkaProducer(bootstrap_servers=broker.address, acks="all", enable_idempotence=True) as producer:

        async def send() -> None:
            await producer.send_and_wait("latency", value)

        async def put() -> None:
            answer = await connection.ask(body)
            assert answer.status == 200, answer.body

        for turn in range(count + count // 2):
            for name, call in (("send", send), ("put", put)):
                began = time.perf_counter()
                await call()
                took = time.perf_counter() - began
                if turn >= count // 2:
                    times[name].append(took * 1000)
                await asyncio.sleep(max(0, 0.5 / _LATENCY_RATE - took))
    return statistics.median(times["send"]), statistics.median(times["put"])


BENCHMARKS = [
    Benchmark(
        name="kafka", title="The log on Apache Kafka beside Kafka's own tools, 4 partitions", minutes=7, run=kafka
    )
]
