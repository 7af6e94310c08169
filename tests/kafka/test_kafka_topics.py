"""A topic of a real Kafka, read as a stream: offsets that hold nothing, retention, more partitions, another topic of its name."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, RecordsToDelete

from connectors.kafka_client import CHECK_MS, TopicClient
from streams import LATEST, TRIM_HORIZON, Consumer
from streams.core.brokers import brokers_of
from streams.core.clock import ManualClock
from streams.core.errors import LogUnreachable, ResourceNotFound
from streams.core.exchange import at_timestamp
from tests.kafka.kafka_broker import free_ports
from tests.kafka.topics import Topics

WAIT_MS = 20_000


def reader(topics: Topics, topic: str, clock: ManualClock | None = None) -> TopicClient:
    return TopicClient(brokers_of(f"kafka://{topics.broker.address}"), topic, arn="arn", clock=clock)


async def everything(client: TopicClient, topic: str, positions: dict[str, int]) -> list[tuple[str, int, bytes]]:
    """Shard, offset and value of what is there from `positions` on, which move behind it."""
    found = []
    while True:
        fetch = await client.fetch(topic, positions)
        for batch in fetch.batches:
            assert batch.first == positions[batch.shard], "nothing is missing"
            positions[batch.shard] = batch.next
            found += [
                (batch.shard, offset, data)
                for offset, data in zip(batch.offsets.tolist(), batch.records.data.to_pylist(), strict=True)
            ]
        if all(positions[shard] >= tip for shard, tip in fetch.tips.items()):
            return found


async def test_offsets_that_hold_no_record_are_passed_over(topics: Topics) -> None:
    topic = await topics.make(2)
    now_ms = int(time.time() * 1000)  # what is older than the retention goes at any moment
    await topics.put(topic, [b"a", b"b"], at_ms=now_ms - 3_600_000)
    await topics.put(topic, [b"never"], abort=True)
    await topics.put(topic, [b"c"], at_ms=now_ms - 3_500_000)
    client = reader(topics, topic)
    description = await client.describe_stream(topic)
    assert [shard.id for shard in description.shards] == ["partition-0", "partition-1"]
    assert (description.arn, bool(description.id)) == ("arn", True)
    positions = await client.find(topic, TRIM_HORIZON)
    assert positions == {"partition-0": 0, "partition-1": 0}
    assert await everything(client, topic, positions) == [
        ("partition-0", 0, b"a"),
        ("partition-0", 1, b"b"),
        ("partition-0", 5, b"c"),
    ]
    assert positions == {"partition-0": 6, "partition-1": 0}
    assert await client.find(topic, LATEST) == {"partition-0": 7, "partition-1": 0}
    assert await client.find(topic, at_timestamp(now_ms - 3_550_000)) == {"partition-0": 2, "partition-1": 0}, (
        "the end of the first transaction is of now"
    )
    assert await everything(client, topic, {"partition-0": 1}) == [("partition-0", 1, b"b"), ("partition-0", 5, b"c")]
    await topics.put(topic, [b"d"], partition=1)
    fetch = await client.fetch(topic, positions, wait_ms=WAIT_MS)
    assert [(batch.shard, batch.records.data.to_pylist()) for batch in fetch.batches] == [("partition-1", [b"d"])]
    await client.close()


async def test_an_answer_is_no_larger_than_it_may_be(topics: Topics) -> None:
    topic = await topics.make(2)
    for partition in range(2):
        await topics.put(topic, [b"%d" % number * 100_000 for number in range(5)], partition=partition)
    client = reader(topics, topic)
    positions = {"partition-0": 0, "partition-1": 0}
    counts = []
    while sum(counts) < 10:
        fetch = await client.fetch(topic, positions, size_max=250_000)
        positions |= {batch.shard: batch.next for batch in fetch.batches}
        counts.append(sum(len(batch) for batch in fetch.batches))
    assert max(counts) == 2
    await client.close()


async def test_more_partitions_are_read_from_their_beginning(topics: Topics) -> None:
    topic, clock = await topics.make(), ManualClock()
    await topics.put(topic, [b"a"])
    async with Consumer(reader(topics, topic, clock), topic, clock=clock) as consumer:  # type: ignore[arg-type]
        assert (await anext(consumer)).records.data.to_pylist() == [b"a"]
        await topics.admin.create_partitions({topic: NewPartitions(2)})
        while len(await topics.producer.partitions_for(topic)) < 2:
            await topics.producer.client.force_metadata_update()
        await topics.put(topic, [b"b"], partition=1)
        clock.advance(CHECK_MS / 1000)
        await topics.put(topic, [b"c"], partition=0)  # ends the question that is open, and another one looks again
        got = [await anext(consumer), await anext(consumer)]
        assert {batch.shard: batch.records.data.to_pylist() for batch in got} == {
            "partition-0": [b"c"],
            "partition-1": [b"b"],
        }


async def test_what_passed_out_of_retention_shows_in_the_batch(topics: Topics) -> None:
    topic = await topics.make()
    await topics.put(topic, [b"a", b"b", b"c"])
    await topics.admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(2)})
    client, positions, batches = reader(topics, topic), {"partition-0": 0}, []
    while not batches:
        batches = list((await client.fetch(topic, positions, wait_ms=WAIT_MS)).batches)
    assert [(batch.first, batch.next, batch.records.data.to_pylist()) for batch in batches] == [(2, 3, [b"c"])]
    await client.close()


async def test_a_topic_that_is_another_one_now_or_none(topics: Topics) -> None:
    topic, clock = await topics.make(), ManualClock()
    await topics.put(topic, [b"a"])
    client = reader(topics, topic, clock)
    before = await client.describe_stream(topic)
    await client.fetch(topic, {"partition-0": 0})
    await topics.admin.delete_topics([topic])
    while topic in await topics.admin.list_topics():  # noqa: ASYNC110 - a broker hears of it a little later, and tells nobody
        await asyncio.sleep(0.01)
    clock.advance(CHECK_MS / 1000)
    with pytest.raises(ResourceNotFound, match=f"there is no topic {topic}"):
        await client.fetch(topic, {"partition-0": 1})
    await topics.make(name=topic)
    clock.advance(CHECK_MS / 1000)
    with pytest.raises(ResourceNotFound, match="was made anew"):
        await client.fetch(topic, {"partition-0": 1})
    assert (await client.describe_stream(topic)).id != before.id
    await client.close()
    other = reader(topics, topic)
    await other.describe_stream(topic)
    with pytest.raises(ResourceNotFound, match="ends at 0, and was read up to 7"):
        await other.fetch(topic, {"partition-0": 7}, wait_ms=WAIT_MS)
    await other.close()


async def test_brokers_that_do_not_answer() -> None:
    client = TopicClient(brokers_of(f"kafka://127.0.0.1:{free_ports(1)[0]}"), "t")
    with pytest.raises(LogUnreachable, match=r"no broker of 127\.0\.0\.1:\d+ answers for the topic t"):
        await client.describe_stream("t")
    await client.close()
