"""Two gateways before one Apache Kafka, as their callers see them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from botocore.exceptions import ClientError

from gateway.app import App
from streams import TRIM_HORIZON, Consumer, HttpClient, Producer
from streams.core.settings import Settings
from tests.aws import session
from tests.kafka.kafka_broker import Broker

SHARD_0 = "shardId-000000000000"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateways(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[App]]:
    """Of all tests here, each with streams of its own."""
    folder, url = tmp_path_factory.mktemp("gateways"), f"kafka://{kafka_broker.address}/gateways"
    apps = [await App.start(Settings(data=str(folder / f"{number}"), port=0, log=url)) for number in range(2)]
    yield apps
    for app in apps:
        await app.stop()


def kinesis(app: App) -> Any:
    return session().client(
        "kinesis", endpoint_url=app.url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )


async def test_what_one_makes_and_takes_the_other_shows(gateways: list[App]) -> None:
    one, other = map(kinesis, gateways)

    def use() -> None:
        one.create_stream(StreamName="s", ShardCount=2)
        entries = [{"PartitionKey": f"k{number}", "Data": b"%d" % number} for number in range(100)]
        put = other.put_records(StreamName="s", Records=entries)
        assert put["FailedRecordCount"] == 0
        numbers = []
        for shard in one.list_shards(StreamName="s")["Shards"]:
            iterator = other.get_shard_iterator(
                StreamName="s", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            numbers += [record["SequenceNumber"] for record in one.get_records(ShardIterator=iterator)["Records"]]
        assert sorted(numbers) == sorted(record["SequenceNumber"] for record in put["Records"])
        other.delete_stream(StreamName="s")
        with pytest.raises(one.exceptions.ResourceNotFoundException):
            one.put_record(StreamName="s", PartitionKey="k", Data=b"")

    await asyncio.to_thread(use)


async def test_two_that_split_the_same_shard_at_once(gateways: list[App]) -> None:
    clients = [kinesis(app) for app in gateways]
    await asyncio.to_thread(clients[0].create_stream, StreamName="split", ShardCount=1)

    def split(client: Any) -> str:
        try:
            client.split_shard(StreamName="split", ShardToSplit=SHARD_0, NewStartingHashKey=str(2**127))
        except ClientError as error:
            return error.response["Error"]["Code"]
        return ""

    outcomes = await asyncio.gather(*(asyncio.to_thread(split, client) for client in clients))
    assert sorted(outcomes) == ["", "InvalidArgumentException"]
    for client in clients:
        shards = (await asyncio.to_thread(client.list_shards, StreamName="split"))["Shards"]
        assert [shard.get("ParentShardId") for shard in shards] == [None, SHARD_0, SHARD_0]


async def test_producers_at_both_while_both_reshard(gateways: list[App]) -> None:
    """Nothing is lost, doubled, or out of order by key."""
    clients = [HttpClient(app.url) for app in gateways]
    await clients[0].create_stream("scaled", 2)
    put: dict[str, list[str]] = defaultdict(list)
    read: dict[str, list[str]] = defaultdict(list)
    news = asyncio.Event()
    consumer = Consumer(clients[1], "scaled", start=TRIM_HORIZON)

    async def follow() -> None:
        async for batch in consumer:
            for key, data in zip(batch.records.partition_key.to_pylist(), batch.records.data.to_pylist(), strict=True):
                read[key].append(data.decode())
            news.set()

    async def produce(who: int) -> None:
        async with Producer(clients[who], "scaled") as producer:
            number = 0
            while not all(task.done() for task in scaling):
                for _ in range(20):
                    key, data = f"{who}.{number % 17}", f"{number:08d}"
                    await producer.put(data, key)
                    put[key].append(data)
                    number += 1
                await producer.flush()

    def scale(app: App, targets: list[int]) -> None:
        client = kinesis(app)
        for target in targets:
            try:
                client.update_shard_count(StreamName="scaled", TargetShardCount=target, ScalingType="UNIFORM_SCALING")
            except client.exceptions.InvalidArgumentException:
                continue  # more than double or less than half of what the other one has made

    following = asyncio.create_task(follow())
    scaling = [
        asyncio.create_task(asyncio.to_thread(scale, app, targets))
        for app, targets in zip(gateways, ([3, 4, 6, 3], [4, 2, 3, 5]), strict=True)
    ]
    await asyncio.gather(produce(0), produce(1), *scaling)
    async with asyncio.timeout(60):
        while sum(map(len, read.values())) < sum(map(len, put.values())):
            news.clear()
            await news.wait()
    consumer.stop()
    await consumer.close()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    for client in clients:
        await client.close()
    assert read == put


async def test_a_subscriber_at_one_sees_what_the_other_takes(gateways: list[App]) -> None:
    one, other = map(kinesis, gateways)

    def use() -> list[bytes]:
        one.create_stream(StreamName="fanned", ShardCount=1)
        arn = other.describe_stream_summary(StreamName="fanned")["StreamDescriptionSummary"]["StreamARN"]
        consumer = one.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]["ConsumerARN"]
        stream = other.subscribe_to_shard(
            ConsumerARN=consumer, ShardId=SHARD_0, StartingPosition={"Type": "TRIM_HORIZON"}
        )["EventStream"]
        one.put_record(StreamName="fanned", PartitionKey="k", Data=b"1")
        for event in stream:
            records = event.get("SubscribeToShardEvent", {}).get("Records", [])
            if records:
                stream.close()
                return [record["Data"] for record in records]
        return []

    assert await asyncio.to_thread(use) == [b"1"]
