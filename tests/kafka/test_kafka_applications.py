"""SQL applications from topics into topics of a real Kafka: each committed record once, through kills."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from botocore.exceptions import ClientError
from click.testing import CliRunner

from connectors.kafka_sink import TopicSink, TopicSinkError
from gateway.cli import main
from streams.core.brokers import brokers_of
from tests.applications.applications_support import begin, output, reaches, schema, source
from tests.applications.test_applications_crash import kill_application
from tests.kafka.kafka_broker import Broker
from tests.kafka.topics import Topics
from tests.system.process import ServerProcess

CLUSTER = "arn:aws:kafka:us-east-1:000000000000:cluster/clicks/2f1c"
PROGRAM = """
CREATE STREAM "ALL" ("id" INTEGER);
CREATE PUMP p AS INSERT INTO "ALL" SELECT STREAM "id" FROM "SOURCE_SQL_STREAM_001";
CREATE PUMP q AS INSERT INTO "ALL" SELECT STREAM "id" FROM "SOURCE_SQL_STREAM_002";
"""
BATCH = 100


def arn(topic: str) -> str:
    return f"{CLUSTER.replace(':cluster/', ':topic/')}/{topic}"


def ids(first: int, count: int) -> list[bytes]:
    return [json.dumps({"id": number}).encode() for number in range(first, first + count)]


async def committed(broker: Broker, topic: str) -> list[bytes]:
    """What a reader of committed records sees of the one partition."""
    place, found = TopicPartition(topic, 0), []
    async with AIOKafkaConsumer(bootstrap_servers=broker.address, isolation_level="read_committed") as consumer:
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        end = (await consumer.end_offsets([place]))[place]
        while await consumer.position(place) < end:
            found += (await consumer.getmany(place, timeout_ms=500)).get(place, [])
    return [record.value for record in found]


async def test_from_a_topic_into_a_topic_each_record_once_through_kills(
    tmp_path: Path, kafka_broker: Broker, topics: Topics, seed: int
) -> None:
    dice, number = random.Random(seed), 0
    read, written = await topics.make(2), await topics.make()
    environment = {"HEADRACE_KAFKA_CLUSTERS": json.dumps({CLUSTER: f"kafka://{kafka_broker.address}"})}
    with ServerProcess(tmp_path / "data", environment=environment) as server:
        await asyncio.to_thread(server.start)
        analytics = server.client("kinesisanalytics")
        given = source("-", schema(("id", "INTEGER")), InputParallelism={"Count": 2})
        given["KinesisStreamsInput"]["ResourceARN"] = arn(read)
        made = output("ALL", "-")
        made["KinesisStreamsOutput"]["ResourceARN"] = arn(written)

        def create() -> None:
            analytics.create_application(ApplicationName="app", ApplicationCode=PROGRAM, Inputs=[given], Outputs=[made])
            begin(analytics, "app")

        await asyncio.to_thread(create)
        for _ in range(2):
            for partition in range(2):
                await topics.put(read, ids(number, BATCH), partition=partition)
                await topics.put(read, ids(-1, 1), partition=partition, abort=True)
                number += BATCH
            if dice.random() < 0.7:
                await asyncio.sleep(dice.uniform(0, 1.5))  # how long it ran is the random moment of the kill
            if dice.random() < 0.5:
                await asyncio.to_thread(kill_application, server, "app")
            else:
                port = server.port
                await asyncio.to_thread(dice.choice([server.kill, server.kill_only]))
                await asyncio.to_thread(server.start, port)
        async with asyncio.timeout(90):
            while len(found := await committed(kafka_broker, written)) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        assert Counter(json.loads(each)["id"] for each in found) == Counter(range(number))
        await asyncio.to_thread(reaches, analytics, "app", "RUNNING")

        def refused(change: dict[str, Any]) -> str:
            analytics.create_application(ApplicationName="no", ApplicationCode=PROGRAM, Inputs=[{**given, **change}])
            (made,) = analytics.describe_application(ApplicationName="no")["ApplicationDetail"]["InputDescriptions"]
            position = {"InputStartingPosition": "NOW"}
            with pytest.raises(ClientError) as caught:
                analytics.start_application(
                    ApplicationName="no",
                    InputConfigurations=[{"Id": made["InputId"], "InputStartingPositionConfiguration": position}],
                )
            return str(caught.value)

        role = given["KinesisStreamsInput"]
        assert "there is no topic nowhere" in await asyncio.to_thread(
            refused, {"KinesisStreamsInput": {**role, "ResourceARN": arn("nowhere")}}
        )


async def test_a_program_of_the_command_line_from_topic_to_topic(
    tmp_path: Path, kafka_broker: Broker, topics: Topics
) -> None:
    read, written = await topics.make(), await topics.make()
    await topics.put(read, ids(0, 5))
    program = tmp_path / "program.sql"
    program.write_text(
        'CREATE STREAM "OUT" ("id" INTEGER); CREATE PUMP p AS INSERT INTO "OUT" SELECT STREAM "id" * 10 FROM "clicks";'
    )
    with ServerProcess(tmp_path / "data") as server:
        await asyncio.to_thread(server.start)
        address = f"kafka://{kafka_broker.address}"
        arguments = [
            "sql",
            "-f",
            str(program),
            "--input",
            f"clicks={address}/{read}",
            "--to",
            f"OUT={address}/{written}",
        ]
        for _ in range(2):
            shown = await asyncio.to_thread(
                CliRunner().invoke,
                main,
                [*arguments, "--no-follow", "--state", str(tmp_path / "state"), "--endpoint", server.url],
            )
            assert shown.exit_code == 0, shown.output
    assert await committed(kafka_broker, written) == [b'{"id":%d}' % (10 * number) for number in range(5)]


async def test_a_delivery_is_made_once_and_the_older_sink_ends(kafka_broker: Broker, topics: Topics) -> None:
    topic = await topics.make()
    brokers = brokers_of(f"kafka://{kafka_broker.address}")
    older, newer = TopicSink(brokers, topic, f"{topic}.0"), TopicSink(brokers, topic, f"{topic}.0")
    await older.put(1, ["a", None], [b"1", b"2"])
    await newer.put(1, ["a", None], [b"1", b"2"])
    await newer.put(2, [None], [b"3"])
    with pytest.raises(TopicSinkError, match="another process has taken over"):
        await older.put(3, [None], [b"4"])
    await newer.put(4, [None], [b"5"])
    assert await committed(kafka_broker, topic) == [b"1", b"2", b"3", b"5"]
    await older.close()
    await newer.close()
