"""Delivery streams that read a topic of a real Kafka, through boto3: over both logs, killed under load, verified in the end."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from gateway.app import App
from gateway.cli import main
from streams.core.settings import Settings
from tests.aws import session
from tests.kafka.kafka_broker import Broker, free_ports
from tests.kafka.topics import Topics
from tests.system.process import ServerProcess

CLUSTER = "arn:aws:kafka:us-east-1:000000000000:cluster/clicks/2f1c"
ROLE = "arn:aws:iam::000000000000:role/r"
KILLS = 2


def source(topic: str, **more: Any) -> dict[str, Any]:
    authentication = {"RoleARN": ROLE, "Connectivity": "PRIVATE"}
    configuration = {"MSKClusterARN": CLUSTER, "TopicName": topic, "AuthenticationConfiguration": authentication}
    return {"DeliveryStreamType": "MSKAsSource", "MSKSourceConfiguration": {**configuration, **more}}


def destination(interval_s: int = 1) -> dict[str, Any]:
    return {
        "BucketARN": "arn:aws:s3:::lake",
        "RoleARN": ROLE,
        "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": interval_s},
        "ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "AppendDelimiterToRecord"}]},
    }


def delivered(bucket: Path) -> Counter[bytes]:
    files = (path for path in bucket.rglob("*") if path.is_file() and not path.name.startswith("."))
    return Counter(line for path in files for line in path.read_bytes().splitlines())


@pytest.mark.parametrize("shared", [False, True], ids=["embedded", "kafka"])
async def test_a_topic_is_in_objects_exactly_once_through_kills(
    tmp_path: Path, kafka_broker: Broker, kafka_url: str, topics: Topics, seed: int, shared: bool
) -> None:
    topic, randomness = await topics.make(3), random.Random(seed)
    bucket, sent, done = tmp_path / "lake", Counter[bytes](), asyncio.Event()
    environment = {
        "HEADRACE_KAFKA_CLUSTERS": json.dumps({CLUSTER: f"kafka://{kafka_broker.address}"}),
        "HEADRACE_BUCKETS": json.dumps({"lake": str(bucket)}),
        "HEADRACE_WORK_SESSION_S": "6",
        **({"HEADRACE_LOG": kafka_url} if shared else {}),
    }

    async def produce() -> None:
        number = 0
        while not done.is_set():
            values = [b"%d" % (number + one) for one in range(randomness.randrange(1, 40))]
            number += len(values)
            aborted = randomness.random() < 0.3
            await topics.put(topic, values, partition=randomness.randrange(3), abort=aborted)
            sent.update([] if aborted else values)
            await asyncio.sleep(0.01)

    await topics.put(topic, [b"before"])
    sent.update([b"before"])
    with ServerProcess(tmp_path / "data", environment=environment) as server:
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(
            server.client("firehose").create_delivery_stream,
            DeliveryStreamName="d",
            ExtendedS3DestinationConfiguration=destination(),
            **source(topic, ReadFromTimestamp=0),
        )
        producing = asyncio.create_task(produce())
        for _ in range(KILLS):
            # How long it ran is the random moment of the kill; nothing is waited for.
            await asyncio.sleep(randomness.uniform(1.0, 4.0))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        done.set()
        await producing
        async with asyncio.timeout(120):
            while await asyncio.to_thread(delivered, bucket) != sent:
                assert not await asyncio.to_thread(delivered, bucket) - sent, "nothing twice, nothing that was aborted"
                await asyncio.sleep(0.2)
        assert await asyncio.to_thread(server.stop) == 0
    if not shared:
        arguments = ["firehose", "verify", "--data", str(tmp_path / "data"), "--json"]
        found = await asyncio.to_thread(CliRunner(env=environment).invoke, main, arguments)
        report = json.loads(found.stdout)
        assert (report["whole"], report["records"], report["dropped"]) == (True, sent.total(), 0), found.output


async def test_what_is_described_and_what_is_refused(tmp_path: Path, kafka_broker: Broker, topics: Topics) -> None:
    topic, away = await topics.make(), f"{CLUSTER}-away"
    clusters = {
        CLUSTER: f"kafka://{kafka_broker.address}",
        away: f"kafka://127.0.0.1:{free_ports(1)[0]}",
        f"{CLUSTER}-locked": "kafka://h:1?security=sasl_ssl&user=u&password=env:NOT_THERE",
    }
    settings = Settings(data=str(tmp_path / "data"), port=0, kafka_clusters=clusters)
    async with await App.start(settings) as app:
        firehose = session().client(
            "firehose", endpoint_url=app.url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
        )

        def refused(**members: Any) -> str:
            with pytest.raises(ClientError) as caught:
                firehose.create_delivery_stream(
                    **{
                        "DeliveryStreamName": "e",
                        "ExtendedS3DestinationConfiguration": destination(),
                        **source(topic),
                        **members,
                    }
                )
            assert caught.value.response["Error"]["Code"] == "InvalidArgumentException"
            return str(caught.value)

        def check() -> None:
            begun = datetime.now(UTC).replace(microsecond=0)
            firehose.create_delivery_stream(
                DeliveryStreamName="d",
                ExtendedS3DestinationConfiguration=destination(),
                **source(topic, ReadFromTimestamp=begun),
            )
            shown = firehose.describe_delivery_stream(DeliveryStreamName="d")["DeliveryStreamDescription"]
            (described,) = shown["Source"].values()
            started = described.pop("DeliveryStartTimestamp")
            assert begun - timedelta(seconds=1) <= started.astimezone(UTC) <= datetime.now(UTC)
            assert described.pop("ReadFromTimestamp") == begun
            assert described == source(topic)["MSKSourceConfiguration"]
            assert (shown["DeliveryStreamType"], shown["DeliveryStreamStatus"]) == ("MSKAsSource", "ACTIVE")
            assert firehose.list_delivery_streams(DeliveryStreamType="MSKAsSource")["DeliveryStreamNames"] == ["d"]
            with pytest.raises(ClientError, match="not permitted on MSKAsSource delivery stream type"):
                firehose.put_record(DeliveryStreamName="d", Record={"Data": b"x"})
            firehose.delete_delivery_stream(DeliveryStreamName="d")
            unknown = source(topic, MSKClusterARN="arn:other")
            for words, members in (
                (
                    'the setting kafka_clusters says where the brokers of a cluster are, as in [kafka_clusters] "arn:other"',
                    unknown,
                ),
                ("there is no topic nowhere", source("nowhere")),
                ("no broker of 127.0.0.1:", source(topic, MSKClusterARN=away)),
                ("the variable NOT_THERE, which is not set", source(topic, MSKClusterARN=f"{CLUSTER}-locked")),
                ("ReadFromTimestamp is in the future", source(topic, ReadFromTimestamp=begun + timedelta(days=1))),
            ):
                assert words in refused(**members)

        await asyncio.to_thread(check)
