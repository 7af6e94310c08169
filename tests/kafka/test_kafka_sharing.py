"""Several identical processes over one Apache Kafka share the work, and any of them answers for all."""

from __future__ import annotations

import asyncio
import io
import json
import time
import urllib.request
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from connectors.delivered.remote import RemoteDeliveries
from gateway.app import App
from gateway.cli import main
from streams import TRIM_HORIZON, GroupConsumer, HttpClient
from streams.core.errors import LogError, ServiceUnavailable
from streams.core.records import Records
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.core.work import PARTS, delivery_item, groups_item, part_of
from streams.kafka.membership import Membership
from tests.aws import session

ROLE = "arn:aws:iam::000000000000:role/r"
SESSION_S = 3.0
"""Half of what brokers allow if nobody tells them otherwise, as the tests do."""

Opener = Callable[..., Any]


@pytest.fixture
async def opener(kafka_url: str, tmp_path: Path) -> AsyncIterator[Opener]:
    """Starts one more process's worth of headrace over the same log."""
    apps: list[App] = []

    async def start(**settings: Any) -> App:
        data = tmp_path / f"data{len(apps)}"
        given = {"buckets": {"b": str(tmp_path / "bucket")}, "firehose_compat": "emulator", **settings}
        app = await App.start(Settings(data=str(data), port=0, log=kafka_url, work_session_s=SESSION_S, **given))
        apps.append(app)
        return app

    yield start
    for app in apps:
        await app.stop()


def client(service: str, app: App) -> Any:
    return session().client(
        service, endpoint_url=app.url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )


def work_of(app: App) -> Membership:
    work = app.work
    assert isinstance(work, Membership)
    return work


async def shared(*apps: App) -> None:
    """Every part has an owner, and as many as every other one's, give or take one."""
    async with asyncio.timeout(60):
        while True:
            counts = [sum(work_of(app).mine(part) for part in range(PARTS)) for app in apps]
            if sum(counts) == PARTS and max(counts) - min(counts) <= 1:
                return
            await asyncio.sleep(0.05)


def owner_of(item: str, *apps: App) -> App:
    (found,) = [app for app in apps if work_of(app).mine(part_of(item))]
    return found


def deliver(app: App, name: str) -> None:
    client("firehose", app).create_delivery_stream(
        DeliveryStreamName=name,
        ExtendedS3DestinationConfiguration={
            "BucketARN": "arn:aws:s3:::b",
            "RoleARN": ROLE,
            "Prefix": f"{name}/",
            "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1},
            "ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "AppendDelimiterToRecord"}]},
        },
    )


def delivered(bucket: Path, name: str) -> Counter[str]:
    files = (path for path in (bucket / name).rglob("*") if path.is_file() and not path.name.startswith("."))
    return Counter(line for path in files for line in path.read_text().splitlines())


async def until(what: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(what):  # noqa: ASYNC110 : what other processes write wakes nobody here
            await asyncio.sleep(0.1)


async def test_any_process_answers_for_all_and_the_work_is_shared(opener: Opener, tmp_path: Path) -> None:
    one, other, gate = await opener(), await opener(), await opener(work=False)
    await shared(one, other)
    assert not any(work_of(gate).mine(part) for part in range(PARTS)), "it was told to take none"
    names = [f"d{number}" for number in range(8)]
    for name, app in zip(names, [one, other, gate] * 3, strict=False):
        await asyncio.to_thread(deliver, app, name)
    owners = {owner_of(delivery_item(Scope(), name), one, other).url for name in names}
    assert len(owners) == 2, "eight are not all of one process"
    for app in (one, other, gate):
        shown = await asyncio.to_thread(client("firehose", app).list_delivery_streams)
        assert shown["DeliveryStreamNames"] == names
        for name in names:
            await asyncio.to_thread(
                client("firehose", app).put_record, DeliveryStreamName=name, Record={"Data": app.url.encode()}
            )
    bucket = tmp_path / "bucket"
    expected = Counter({app.url: 1 for app in (one, other, gate)})
    await until(lambda: all(delivered(bucket, name) == expected for name in names))


async def test_consumer_groups_queues_and_functions_through_any_process(opener: Opener) -> None:
    apps = [await opener(), await opener()]
    await shared(*apps)
    kinesis = [client("kinesis", app) for app in apps]

    def queue() -> None:
        kinesis[0].create_stream(StreamName="s", StreamModeDetails={"StreamMode": "ON_DEMAND"})
        arn = kinesis[0].describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
        made = kinesis[0].create_queue(
            QueueName="q",
            StreamConfigurationList=[{"StreamARN": arn, "StartingPosition": {"Type": "TRIM_HORIZON"}}],
        )["QueueDescription"]["QueueARN"]
        kinesis[1].put_record(StreamName="s", PartitionKey="k", Data=b"1")
        taken = [
            each.receive_queue_records(QueueARN=made, WaitTimeSeconds=wait_s)["QueueRecords"]
            for wait_s, each in ((9, kinesis[0]), (1, kinesis[1]))
        ]
        assert [len(records) for records in taken] == [1, 0], "it is handed out once"

    await asyncio.to_thread(queue)
    clients = [HttpClient(app.url) for app in apps]
    async with GroupConsumer(clients[0], "s", group="g", start=TRIM_HORIZON) as group:
        async for batch in group:
            assert batch.records.data.to_pylist() == [b"1"]
            break
        shown = [[one.name for one in await each.describe_groups("s")] for each in clients]
        assert shown == [["g"], ["g"]]
    for each in clients:
        await each.close()

    def heard(names: list[str]) -> None:
        """Each process hears a moment later what another one has made."""
        end = time.monotonic() + 60
        while any(
            [one["FunctionName"] for one in client("lambda", app).list_functions()["Functions"]] != names
            for app in apps
        ):
            assert time.monotonic() < end, f"not every process has heard of {names}"
            time.sleep(0.02)

    def functions() -> None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("f.py", "def handler(event, context):\n    return {'got': event}\n")
        client("lambda", apps[0]).create_function(
            FunctionName="f", Role=ROLE, Runtime="python3.12", Handler="f.handler", Code={"ZipFile": archive.getvalue()}
        )
        heard(["f"])
        for app in apps:
            answer = client("lambda", app).invoke(FunctionName="f", Payload=b'{"a": 1}')
            assert json.loads(answer["Payload"].read()) == {"got": {"a": 1}}
            link = client("lambda", app).get_function(FunctionName="f")["Code"]["Location"]
            for other in apps:
                with urllib.request.urlopen(link.replace(app.url, other.url)) as downloaded:
                    assert downloaded.read() == archive.getvalue(), "behind a balancer any process may be asked"
        client("lambda", apps[1]).delete_function(FunctionName="f")
        heard([])

    await asyncio.to_thread(functions)


async def test_work_goes_over_in_order_as_processes_come_and_go(opener: Opener, kafka_url: str, tmp_path: Path) -> None:
    """Every record is delivered once, whoever delivers."""
    first = await opener()
    await shared(first)
    names = [f"d{number}" for number in range(4)]
    for name in names:
        await asyncio.to_thread(deliver, first, name)
    put: Counter[str] = Counter()
    stop = asyncio.Event()

    async def produce(app: App) -> None:
        firehose = client("firehose", app)
        while not stop.is_set():
            lines = [f"{len(put)}.{number}" for number in range(50)]
            put.update(lines)
            for name in names:
                entries = [{"Data": line.encode()} for line in lines]
                told = await asyncio.to_thread(firehose.put_record_batch, DeliveryStreamName=name, Records=entries)
                assert told["FailedPutCount"] == 0
            await asyncio.sleep(0.02)

    producing = asyncio.create_task(produce(first))
    second = await opener()
    await shared(first, second)
    third = await opener()
    await shared(first, second, third)
    await second.stop()
    await shared(first, third)
    stop.set()
    await producing
    bucket = tmp_path / "bucket"
    await until(lambda: all(sum(delivered(bucket, name).values()) >= sum(put.values()) for name in names))
    for name in names:
        assert delivered(bucket, name) == put
    await followed(names, tmp_path, kafka_url, [first, third])


async def followed(names: list[str], folder: Path, log: str, apps: list[App]) -> None:
    """Manifests tell of all of it, whoever delivered; then no server runs any more."""
    http = HttpClient(apps[0].url)
    for name in names:
        found = await RemoteDeliveries(http).index(name)
        assert found.objects
        assert not found.holes
    await http.close()
    arguments = ["firehose", "verify", "--data", str(folder / "data0"), "--json"]
    environment = {"HEADRACE_LOG": log, "HEADRACE_BUCKETS": json.dumps({"b": str(folder / "bucket")})}
    refused = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=environment)
    assert refused.exit_code == 1
    assert "in use by 2 servers: stop them first" in refused.output
    for app in apps:
        await app.stop()
    shown = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=environment)
    assert shown.exit_code == 0, shown.output
    reports = [json.loads(line) for line in shown.output.splitlines()]
    assert [(one["stream"], one["whole"]) for one in reports] == [(name, True) for name in names]
    assert all(sum(one["settled"].values()) >= one["records"] > 0 for one in reports)


async def groups_owner(http: HttpClient, stream: str, *apps: App) -> App:
    await http.create_stream(stream)
    return owner_of(groups_item((await http.describe_stream(stream)).id), *apps)


async def test_a_process_that_was_away_changes_nothing_and_says_so(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heartbeats stop, as where it stands still or the network is cut; others take its work; it comes back."""
    one, other = await opener(), await opener()
    await shared(one, other)
    clients = [HttpClient(app.url) for app in (one, other)]
    stream = "s0"
    while await groups_owner(clients[0], stream, one, other) is not one:
        stream = f"s{int(stream[1:]) + 1}"
    start = {"start": TRIM_HORIZON, "lease_ms": 60_000}
    assert await clients[0].sync_group(stream, "g", "a", {}, **start) != {}
    away = work_of(one)
    coordinator = away._coordinator
    assert coordinator is not None
    lost = asyncio.Event()

    async def silent() -> bool:
        await lost.wait()
        return False

    monkeypatch.setattr(coordinator, "_do_heartbeat", silent)
    monkeypatch.setattr("gateway.forward.PATIENCE_S", 1.0)
    await shared(other)
    assert await clients[1].sync_group(stream, "g", "b", {}, **start) == {}, "a has the lease that it had"
    assert [one.name for one in await clients[1].describe_groups(stream)] == ["g"]
    async with asyncio.timeout(60), aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{one.url}/healthz") as answer:
                text = await answer.text()
                if answer.status == 503:
                    assert text.startswith("fenced: the group")
                    break
            await asyncio.sleep(0.1)
        async with http.get(f"{other.url}/healthz") as answer:
            assert (answer.status, await answer.text()) == (200, "ok\n")
    # Whoever still takes it for the owner is told, and what it has open can write no more.
    found = (await clients[0].describe_stream(stream)).id
    task = one.service._context.coordinators._opened[part_of(groups_item(found))]
    with pytest.raises(LogError, match="another process has written to the journal control/groups"):
        await task.result().found(found, "other", {})
    with pytest.raises(ServiceUnavailable):
        await one.service._context.groups(found)
    monkeypatch.undo()
    lost.set()
    await shared(one, other)
    await clients[0].put(stream, Records.of(["k"], [b"1"]))
    for each in clients:
        assert [one.name for one in await each.describe_groups(stream)] == ["g"]
        await each.close()


async def test_two_processes_do_not_share_a_data_directory(opener: Opener, kafka_url: str, tmp_path: Path) -> None:
    await opener()
    with pytest.raises(LogError, match="is the data directory of another headrace that runs"):
        await App.start(Settings(data=str(tmp_path / "data0"), port=0, log=kafka_url))
