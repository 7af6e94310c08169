"""Packed streams as their callers see them: as any other, through every door."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from analytics import Application, Input, Output
from gateway.app import App
from gateway.cli import main
from streams import TRIM_HORIZON, Consumer, HttpClient, Producer
from streams.core.records import Records
from streams.core.settings import Settings
from streams.kafka.address import parse
from streams.kafka.batches import split
from streams.kafka.cluster import Cluster
from streams.kafka.packing import unpacked
from streams.kafka.places import place_of
from tests.aws import session

SHARD_0 = "shardId-000000000000"


@pytest.fixture
async def app(kafka_url: str, tmp_path: Path) -> AsyncIterator[App]:
    async with await App.start(Settings(data=str(tmp_path), port=0, log=kafka_url)) as started:
        yield started


def client(app: App) -> Any:
    return session().client(
        "kinesis", endpoint_url=app.url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )


async def frames(kafka_url: str, stream_id: str) -> list[bool]:
    """Whether each batch of the stream's first shard is packed, as it lies in Kafka."""
    address = parse(kafka_url)
    cluster = await Cluster.open(address)
    try:
        shard = f"streams/{stream_id}/{SHARD_0}"
        fetched = await cluster.fetch(place_of(address.prefix, shard), 0, 1 << 20)
        return [unpacked(batch, shard) is not None for batch in split(fetched.data, shard)]
    finally:
        await cluster.close()


async def test_a_tag_makes_a_stream_packed_and_unmakes_it(app: App, kafka_url: str) -> None:
    kinesis = client(app)

    def put(first: int) -> list[str]:
        entries = [{"PartitionKey": "k", "Data": b"%d" % number} for number in range(first, first + 100)]
        return [record["SequenceNumber"] for record in kinesis.put_records(StreamName="s", Records=entries)["Records"]]

    def use() -> tuple[str, list[str]]:
        kinesis.create_stream(StreamName="s", ShardCount=1, Tags={"headrace:packed": "true"})
        numbers = put(0)
        kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"100")
        kinesis.remove_tags_from_stream(StreamName="s", TagKeys=["headrace:packed"])
        put(101)
        summary = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]
        return summary["StreamId"], numbers

    stream_id, numbers = await asyncio.to_thread(use)
    assert await frames(kafka_url, stream_id) == [True, True, False]
    assert [int(number) >> 80 & 0xFFFF for number in numbers] == list(range(1, 101)), "dense"

    def read() -> None:
        iterator = kinesis.get_shard_iterator(
            StreamName="s",
            ShardId=SHARD_0,
            ShardIteratorType="AFTER_SEQUENCE_NUMBER",
            StartingSequenceNumber=numbers[41],
        )["ShardIterator"]
        found = kinesis.get_records(ShardIterator=iterator, Limit=3)["Records"]
        assert [record["Data"] for record in found] == [b"42", b"43", b"44"]
        assert [record["SequenceNumber"] for record in found] == numbers[42:45]
        stamp = kinesis.get_shard_iterator(
            StreamName="s",
            ShardId=SHARD_0,
            ShardIteratorType="AT_TIMESTAMP",
            Timestamp=found[0]["ApproximateArrivalTimestamp"],
        )["ShardIterator"]
        assert kinesis.get_records(ShardIterator=stamp)["Records"][0]["Data"] == b"0"
        arn = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
        consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]
        events = kinesis.subscribe_to_shard(
            ConsumerARN=consumer["ConsumerARN"], ShardId=SHARD_0, StartingPosition={"Type": "TRIM_HORIZON"}
        )["EventStream"]
        got: list[bytes] = []
        for event in events:
            got += [record["Data"] for record in event["SubscribeToShardEvent"]["Records"]]
            if len(got) >= 201:
                break
        events.close()
        assert got == [b"%d" % number for number in range(201)]

    await asyncio.to_thread(read)


async def test_native_clients_and_resharding(app: App, kafka_url: str) -> None:
    native = HttpClient(app.url)
    await native.create_stream("s", 1, packed=True)
    async with Producer(native, "s") as producer:
        for number in range(500):
            await producer.put(b"%d" % number, f"{number % 7}")
    await asyncio.to_thread(
        client(app).split_shard, StreamName="s", ShardToSplit=SHARD_0, NewStartingHashKey=str(2**127)
    )
    later = range(500, 1000)
    await native.put("s", Records.of([f"{number % 7}" for number in later], [b"%d" % number for number in later]))
    found: dict[str, list[int]] = {}
    consumer = Consumer(native, "s", start=TRIM_HORIZON)
    async for batch in consumer:
        for key, data in zip(batch.records.partition_key.to_pylist(), batch.records.data.to_pylist(), strict=True):
            found.setdefault(key, []).append(int(data))
        if sum(map(len, found.values())) == 1000:
            break
    await consumer.close()
    for key, numbers in found.items():
        assert numbers == [number for number in range(1000) if f"{number % 7}" == key]
    assert set(await frames(kafka_url, (await native.describe_stream("s")).id)) == {True}
    await native.close()


async def test_sql_reads_a_packed_stream(app: App, kafka_url: str) -> None:
    native = HttpClient(app.url)
    await native.create_stream("s", 2, packed=True)
    numbers = range(3000)
    for first in (0, 1000, 2000):
        part = numbers[first : first + 1000]
        await native.put("s", Records.of([f"{n % 7}" for n in part], [b'{"n":%d}' % n for n in part]))
    await native.put("s", Records.of(["k"], [b'{"n":3000}']))
    made: list[int] = []
    program = 'CREATE STREAM "OUT" ("n" INTEGER); CREATE PUMP p AS INSERT INTO "OUT" SELECT STREAM "n" FROM "s";'
    output = Output("OUT", callback=lambda _, rows: made.extend(rows.column("n").to_pylist()))
    async with Application(program, client=native, inputs=[Input("s", name="s")], outputs=[output]) as application:
        await application.run(until_end=True)
    assert sorted(made) == list(range(3001))

    def ask() -> str:
        shown = CliRunner().invoke(
            main, ["sql", 'SELECT COUNT(*) AS c, SUM("n") AS t FROM "s"', "--json", "--endpoint", app.url]
        )
        assert shown.exit_code == 0, shown.output
        return shown.stdout

    assert json.loads(await asyncio.to_thread(ask)) == {"c": 3001, "t": sum(range(3001))}
    assert True in await frames(kafka_url, (await native.describe_stream("s")).id)
    await native.close()


async def test_the_command_line_makes_one(app: App) -> None:
    def use() -> Any:
        shown = CliRunner().invoke(main, ["stream", "create", "s", "--packed", "--endpoint", app.url])
        assert shown.exit_code == 0, shown.output
        return client(app).list_tags_for_stream(StreamName="s")["Tags"]

    assert await asyncio.to_thread(use) == [{"Key": "headrace:packed", "Value": "true"}]
