"""Two gateways and two workers, identical processes over a real Apache Kafka: one is killed under load.

What must hold: every record that was acknowledged is delivered once, the rows of SQL applications come once, and what the
killed process did goes on in another one. How soon, `python -m benchmarks kafka` measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import botocore.exceptions
import msgspec
import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.demo.delivery import BUCKET, FUNCTION, HANDLER
from streams import TRIM_HORIZON, Consumer, HttpClient
from streams.core.scope import Scope
from tests.kafka.kafka_broker import Broker
from tests.system.process import ServerProcess

SESSION_S = 3.0
"""Half of what brokers allow if nobody tells them otherwise, as the tests do."""
ROLE = "arn:aws:iam::000000000000:role/r"
FLIGHTS = 12_000
"""So many that the worker dies in the middle of them."""
FAILURES = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
COLUMNS = [
    {"Name": "k", "SqlType": "VARCHAR(16)", "Mapping": "$.k"},
    {"Name": "n", "SqlType": "INTEGER", "Mapping": "$.n"},
]
SCHEMA = {"RecordFormat": {"RecordFormatType": "JSON"}, "RecordColumns": COLUMNS}
CODE = """
CREATE OR REPLACE STREAM "OUT" ("k" VARCHAR(16), "n" INTEGER);
CREATE OR REPLACE PUMP "P" AS INSERT INTO "OUT" SELECT STREAM "k", "n" FROM "IN_001";
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all processes, with the buckets."""
    return tmp_path_factory.mktemp("takeover")


@pytest.fixture(scope="module")
def url(kafka_broker: Broker) -> str:
    return f"kafka://{kafka_broker.address}/takeover"


@pytest.fixture(scope="module")
def started(url: str, folder: Path) -> Iterator[list[ServerProcess]]:
    """Two that take no work, and two that share it; otherwise all the same."""
    environment = {
        "HEADRACE_LOG": url,
        "HEADRACE_WORK_SESSION_S": str(SESSION_S),
        "HEADRACE_BUCKETS": json.dumps({name: str(folder / name) for name in ("b", BUCKET)}),
        "HEADRACE_FIREHOSE_COMPAT": "emulator",
        "HEADRACE_FUNCTIONS": msgspec.json.encode({FUNCTION: HANDLER}).decode(),
    }
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(
                ServerProcess(
                    folder / f"data{number}",
                    environment={**environment, "HEADRACE_WORK": "true" if number >= 2 else "false"},
                )
            )
            for number in range(4)
        ]
        yield servers


@pytest.fixture
def processes(started: list[ServerProcess]) -> list[ServerProcess]:
    """All of them run: those that a test has killed are started again."""
    with ThreadPoolExecutor(len(started)) as pool:
        list(pool.map(ServerProcess.start, [server for server in started if not server.running]))
    return started


def delivered(bucket: Path) -> Counter[str]:
    files = (path for path in bucket.rglob("*") if path.is_file() and not path.name.startswith("."))
    return Counter(line for path in files for line in path.read_text().splitlines())


def create(server: ServerProcess, names: list[str]) -> None:
    """A stream, delivery streams, and an application from the stream into another one."""
    kinesis = server.client("kinesis")
    for stream in ("in", "out"):
        kinesis.create_stream(StreamName=stream, ShardCount=2)
    firehose = patient(server, "firehose")
    for name in names:
        firehose.create_delivery_stream(
            DeliveryStreamName=name,
            ExtendedS3DestinationConfiguration={
                "BucketARN": "arn:aws:s3:::b",
                "RoleARN": ROLE,
                "Prefix": f"{name}/",
                "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1},
                "ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "AppendDelimiterToRecord"}]},
            },
        )
    analytics = patient(server, "kinesisanalytics")
    for number in range(2):
        analytics.create_application(
            ApplicationName=f"app{number}",
            ApplicationCode=CODE,
            Inputs=[
                {
                    "NamePrefix": "IN",
                    "KinesisStreamsInput": {"ResourceARN": Scope().stream_arn("in"), "RoleARN": ROLE},
                    "InputSchema": SCHEMA,
                }
            ],
            Outputs=[
                {
                    "Name": "OUT",
                    "KinesisStreamsOutput": {"ResourceARN": Scope().stream_arn("out"), "RoleARN": ROLE},
                    "DestinationSchema": {"RecordFormatType": "JSON"},
                }
            ],
        )
        analytics.start_application(
            ApplicationName=f"app{number}",
            InputConfigurations=[
                {"Id": "1.1", "InputStartingPositionConfiguration": {"InputStartingPosition": "TRIM_HORIZON"}}
            ],
        )


def patient(server: ServerProcess, service: str) -> Any:
    """A client as people have it: it tries again."""
    return server.client(service)


class Load:
    """Numbered records, as producers put them who try again what was not acknowledged."""

    def __init__(self, gateways: list[ServerProcess], names: list[str]) -> None:
        self.gateways = gateways
        self.names = names
        self.put: Counter[str] = Counter()
        self.rows = 0
        self.stop = asyncio.Event()

    async def run(self) -> None:
        await asyncio.gather(*(self._direct(gateway) for gateway in self.gateways), self._stream())

    async def _direct(self, gateway: ServerProcess) -> None:
        firehose, turn = gateway.client("firehose"), 0
        while not self.stop.is_set():
            turn += 1
            lines = [f"{gateway.port}.{turn}.{number}" for number in range(20)]
            entries = [{"Data": line.encode()} for line in lines]
            for name in self.names:
                told = await asyncio.to_thread(firehose.put_record_batch, DeliveryStreamName=name, Records=entries)
                assert told["FailedPutCount"] == 0, "putting needs no owner"
            self.put.update(lines)
            await asyncio.sleep(0.05)

    async def _stream(self) -> None:
        kinesis = self.gateways[0].client("kinesis")
        while not self.stop.is_set():
            data = [{"k": f"k{number % 3}", "n": self.rows + number} for number in range(20)]
            entries = [{"Data": json.dumps(row).encode(), "PartitionKey": str(row["n"])} for row in data]
            await asyncio.to_thread(kinesis.put_records, StreamName="in", Records=entries)
            self.rows += len(entries)
            await asyncio.sleep(0.05)


async def rows_of(server: ServerProcess, count: int) -> Counter[int]:
    """The rows of `out`, at least so many."""
    client, found = HttpClient(server.url), Counter[int]()
    async with asyncio.timeout(90), Consumer(client, "out", start=TRIM_HORIZON) as consumer:
        async for batch in consumer:
            found.update(json.loads(data)["n"] for data in batch.records.data.to_pylist())
            if found.total() >= count:
                break
    await client.close()
    return found


async def until(what: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(what):  # noqa: ASYNC110 : what other processes write wakes nobody here
            await asyncio.sleep(0.05)


async def tagged(server: ServerProcess, name: str) -> float:
    """When the owner of the delivery stream had done what only an owner does."""
    firehose = server.client("firehose")

    def tag() -> float:
        while True:
            try:
                firehose.tag_delivery_stream(DeliveryStreamName=name, Tags=[{"Key": "k", "Value": "v"}])
                return time.monotonic()
            except FAILURES:
                time.sleep(0.05)

    return await asyncio.to_thread(tag)


async def test_a_worker_is_killed_under_load_and_another_takes_over(
    processes: list[ServerProcess], folder: Path
) -> None:
    gateways, workers = processes[:2], processes[2:]
    names = [f"d{number}" for number in range(6)]
    await asyncio.to_thread(create, gateways[0], names)
    load = Load(gateways, names)
    running = asyncio.create_task(load.run())
    bucket = folder / "b"
    await until(lambda: all(delivered(bucket / name).total() > 200 for name in names), 90)
    # One that has something.
    await asyncio.to_thread(max(workers, key=lambda one: len(list(one.data.glob("firehose/staging/*")))).kill)
    killed = time.monotonic()
    answered = asyncio.gather(*(tagged(gateways[0], name) for name in names))
    seen = {name: delivered(bucket / name).total() for name in names}
    # What the survivor has goes on; what the dead one had begins again when it is taken over.
    await until(lambda: all(delivered(bucket / name).total() > seen[name] + 400 for name in names), 60)
    print(f"a flow of all delivery streams {time.monotonic() - killed:.1f} s after the kill")
    print(f"taken over within {max(await answered) - killed:.2f} s, a session is {SESSION_S:g} s")
    load.stop.set()
    await running
    await until(lambda: all(delivered(bucket / name).total() >= load.put.total() for name in names), 90)
    for name in names:
        assert delivered(bucket / name) == load.put
    found = await rows_of(gateways[1], 2 * load.rows)
    assert found == Counter(dict.fromkeys(range(load.rows), 2)), "each application made each row once"
    # Both gateways have heard who answers for what now.
    for gateway in gateways:
        shown = await asyncio.to_thread(gateway.client("kinesisanalytics").describe_application, ApplicationName="app0")
        assert shown["ApplicationDetail"]["ApplicationStatus"] == "RUNNING"


async def test_the_demo_agrees_while_a_worker_is_killed(
    processes: list[ServerProcess], url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo as it is, its own process one of the gateways."""
    monkeypatch.setenv("HEADRACE_LOG", url)
    monkeypatch.setenv("HEADRACE_WORK", "false")
    bucket = tmp_path / "demo" / "data" / "buckets" / BUCKET
    bucket.parent.mkdir(parents=True)
    bucket.symlink_to(folder / BUCKET)
    arguments = ["demo", "--flights", str(FLIGHTS), "--keep", str(tmp_path / "demo")]
    running = asyncio.create_task(asyncio.to_thread(CliRunner().invoke, main, arguments))
    await until(lambda: running.done() or any((folder / BUCKET).rglob("*.parquet")), 300)
    assert not running.done(), running.result().output
    owner = next(one for one in processes[2:] if any(one.data.glob("firehose/staging/*/main")))
    await asyncio.to_thread(owner.kill)
    shown = await running
    assert shown.exit_code == 0, shown.output
    assert "DIFFERS" not in shown.output


async def test_manifests_prove_what_was_delivered_before_and_after_the_kills(
    started: list[ServerProcess], url: str, folder: Path
) -> None:
    """By whichever processes. The last test here: none of them runs any more."""
    for server in started:
        if server.running:
            await asyncio.to_thread(server.kill)
    environment = {"HEADRACE_LOG": url, "HEADRACE_BUCKETS": json.dumps({n: str(folder / n) for n in ("b", BUCKET)})}
    arguments = ["firehose", "verify", "--data", str(folder / "verify"), "--json"]
    shown = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=environment)
    async with asyncio.timeout(60):
        while "in use by" in shown.output:  # the group has not missed those that were killed yet
            await asyncio.sleep(0.3)
            shown = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=environment)
    assert shown.exit_code == 0, shown.output
    reports = [json.loads(line) for line in shown.output.splitlines()]
    assert reports
    assert all(report["whole"] and report["objects"] for report in reports)
