"""SubscribeToShard: every record once and in order, through takeovers, reshards, ends and restarts of the reader."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest

from streams.core.errors import DryRunOperation, InvalidArgument, ResourceInUse, ResourceNotFound
from streams.core.sequence import SequenceNumber
from streams.wire.protocol import JSON, protocol

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"


async def consumer(kinesis: Any, name: str = "c") -> str:
    reply = await kinesis.ask("RegisterStreamConsumer", StreamARN=ARN, ConsumerName=name)
    return reply["Consumer"]["ConsumerARN"]


class Subscribed:
    """A subscription as its reader sees it."""

    def __init__(self, events: Any) -> None:
        self.events = events

    async def next(self) -> dict[str, Any]:
        return (await asyncio.wait_for(anext(self.events), 60)).reply

    async def keys(self, count: int) -> list[str]:
        """Of the next so many records."""
        keys: list[str] = []
        while len(keys) < count:
            keys += [record.PartitionKey for record in (await self.next())["Records"]]
        return keys

    def close(self) -> None:
        self.events.close()


@pytest.fixture
async def subscribe(stream: Any) -> Any:
    opened = []

    async def start(arn: str, kind: str = "TRIM_HORIZON", shard: str = "0", **members: Any) -> Subscribed:
        place = {name: members.pop(name) for name in ("SequenceNumber", "Timestamp") if name in members}
        asked = {"ConsumerARN": arn, "ShardId": shard, "StartingPosition": {"Type": kind, **place}, **members}
        request = protocol("kinesis").decode("SubscribeToShard", JSON, msgspec.json.encode(asked))
        opened.append(Subscribed(await stream.service.call("SubscribeToShard", request, stream.scope)))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


async def test_what_is_there_and_what_comes(stream: Any, subscribe: Any) -> None:
    arn = await consumer(stream)
    await stream.put("a", "b")
    reader = await subscribe(arn)
    first = await reader.next()
    assert [record.PartitionKey for record in first["Records"]] == ["a", "b"]
    assert first["MillisBehindLatest"] == 0
    waiting = asyncio.create_task(reader.next())
    await stream.put("c")
    event = await waiting
    assert [record.PartitionKey for record in event["Records"]] == ["c"]
    assert "ChildShards" not in event


@pytest.mark.parametrize("kind", ["LATEST", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "AT_TIMESTAMP"])
async def test_positions(stream: Any, subscribe: Any, clock: Any, kind: str) -> None:
    arn = await consumer(stream)
    numbers = await stream.put("a")
    clock.advance(10)
    numbers += await stream.put("b")
    at = {
        "AT_SEQUENCE_NUMBER": {"SequenceNumber": numbers[1]},
        "AFTER_SEQUENCE_NUMBER": {"SequenceNumber": numbers[0]},
        "AT_TIMESTAMP": {"Timestamp": clock.now_ms() / 1000 - 5},
    }.get(kind, {})
    reader = await subscribe(arn, kind, **at)
    await stream.put("c")
    expected = ["c"] if kind == "LATEST" else ["b", "c"]
    assert await reader.keys(len(expected)) == expected


async def test_an_idle_shard_says_so_every_five_seconds_and_is_resumed_exactly(
    stream: Any, subscribe: Any, clock: Any
) -> None:
    arn = await consumer(stream)
    reader = await subscribe(arn, "LATEST")
    waiting = asyncio.create_task(reader.next())
    await spin()
    clock.advance(4.9)
    await spin()
    assert not waiting.done()
    clock.advance(0.1)
    event = await waiting
    assert event["Records"] == []
    assert event["MillisBehindLatest"] == 0
    number = event["ContinuationSequenceNumber"]
    assert SequenceNumber.parse(number).shard_index == 0
    reader.close()
    await stream.put("a")
    again = await subscribe(arn, "AFTER_SEQUENCE_NUMBER", SequenceNumber=number)
    assert await again.keys(1) == ["a"]


async def spin() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_it_lasts_five_minutes(stream: Any, subscribe: Any, clock: Any) -> None:
    reader = await subscribe(await consumer(stream))
    clock.advance(299)
    await reader.next()
    waiting = asyncio.create_task(anext(reader.events))
    await spin()
    clock.advance(1)
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert len(stream.service._context.fanout) == 0


async def test_the_last_event_of_a_closed_shard_has_its_children_and_nothing_to_continue_with(
    stream: Any, subscribe: Any
) -> None:
    arn = await consumer(stream)
    await stream.put("a")
    reader = await subscribe(arn)
    assert await reader.keys(1) == ["a"]
    waiting = asyncio.create_task(reader.next())
    await spin()
    await stream.ask("SplitShard", StreamName="s", ShardToSplit="0", NewStartingHashKey=str(2**127))
    event = await waiting
    assert event["Records"] == []
    assert "ContinuationSequenceNumber" not in event
    assert [child["ShardId"] for child in event["ChildShards"]] == ["shardId-000000000001", "shardId-000000000002"]
    assert all(child["ParentShards"] == ["shardId-000000000000"] for child in event["ChildShards"])
    with pytest.raises(StopAsyncIteration):
        await anext(reader.events)
    late = await subscribe(arn, "LATEST")
    assert "ChildShards" in await late.next()


async def test_a_second_subscription_takes_over_after_five_seconds(stream: Any, subscribe: Any, clock: Any) -> None:
    if stream.log.shared:
        pytest.skip("turns of the event loop say nothing about a broker")
    arn = await consumer(stream)
    first = await subscribe(arn)
    clock.advance(4.999)
    with pytest.raises(ResourceInUse, match="Another active subscription exists"):
        await subscribe(arn)
    waiting = asyncio.create_task(first.next())
    await spin()
    clock.advance(0.001)
    second = await subscribe(arn)
    with pytest.raises(ResourceInUse, match="has taken over"):
        await waiting
    with pytest.raises(StopAsyncIteration):
        await anext(first.events)
    await stream.put("a")
    assert await second.keys(1) == ["a"]
    other = await subscribe(await consumer(stream, "d"))
    assert await other.keys(1) == ["a"]


@pytest.mark.parametrize("operation", ["DeregisterStreamConsumer", "DeleteStream"])
async def test_what_is_gone_ends_it(stream: Any, subscribe: Any, operation: str) -> None:
    arn = await consumer(stream)
    reader = await subscribe(arn)
    waiting = asyncio.create_task(reader.next())
    await spin()
    if operation == "DeleteStream":
        await stream.ask(operation, StreamName="s", EnforceConsumerDeletion=True)
    else:
        await stream.ask(operation, ConsumerARN=arn)
    with pytest.raises(ResourceNotFound, match=f"Consumer {arn} not found"):
        await waiting
    assert len(stream.service._context.fanout) == 0


async def test_a_service_that_stops_ends_it_cleanly(stream: Any, subscribe: Any) -> None:
    reader = await subscribe(await consumer(stream))
    waiting = asyncio.create_task(anext(reader.events))
    await spin()
    stream.service.end_subscriptions()
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_readers_at_one_position_share_what_is_read(stream: Any, subscribe: Any) -> None:
    readers = [await subscribe(await consumer(stream, f"c{number}"), "LATEST") for number in range(5)]
    waiting = [asyncio.create_task(anext(reader.events)) for reader in readers]
    await spin()
    await stream.put("a")
    assert len({id(event) for event in await asyncio.gather(*waiting)}) == 1


@pytest.mark.parametrize(
    ("members", "error", "text"),
    [
        ({"shard": "7"}, ResourceNotFound, "Shard shardId-000000000007 in stream s"),
        ({"kind": "AT_SEQUENCE_NUMBER"}, InvalidArgument, "Must specify startingSequenceNumber"),
        ({"kind": "AT_SEQUENCE_NUMBER", "SequenceNumber": "5"}, InvalidArgument, "used in SubscribeToShard on shard"),
        ({"kind": "AT_TIMESTAMP"}, InvalidArgument, "Must specify timestampInMillis"),
        ({"DryRun": True}, DryRunOperation, "would have succeeded"),
    ],
)
async def test_what_cannot_begin(stream: Any, subscribe: Any, members: Any, error: Any, text: str) -> None:
    arn = await consumer(stream)
    with pytest.raises(error, match=text):
        await subscribe(arn, **members)
    with pytest.raises(ResourceNotFound, match=r"Consumer .*:1 not found"):
        await subscribe(f"{ARN}/consumer/x:1")
    await subscribe(arn)


async def test_every_record_once_and_in_order_through_anything(
    stream: Any, subscribe: Any, clock: Any, seed: int
) -> None:
    dice = random.Random(seed)
    arn = await consumer(stream)
    sent: list[str] = []
    got: dict[str, list[int]] = {}
    over: set[str] = set()

    async def follow(shard: str) -> None:
        """Reads a shard to its end, subscribing again and again, then its children."""
        at: dict[str, str] = {}
        while True:
            clock.advance(5)
            reader = await subscribe(arn, "AFTER_SEQUENCE_NUMBER" if at else "TRIM_HORIZON", shard, **at)
            for _ in range(dice.randint(1, 4)):
                event = await reader.next()
                for record in event["Records"]:
                    got.setdefault(record.PartitionKey, []).append(int(record.Data))
                if "ChildShards" in event:
                    over.add(shard)
                    for child in event["ChildShards"]:
                        # Whichever parent ends last begins the child.
                        if over.issuperset(child["ParentShards"]):
                            children.append(asyncio.create_task(follow(child["ShardId"])))
                    return
                at = {"SequenceNumber": event["ContinuationSequenceNumber"]}
            reader.close()

    children: list[asyncio.Task[None]] = [asyncio.create_task(follow("shardId-000000000000"))]
    for number in range(60):
        keys = [f"k{dice.randrange(8)}" for _ in range(dice.randint(1, 5))]
        await stream.put(*keys, data=str(number).encode())
        sent += keys
        if dice.random() < 0.15:
            target = dice.choice([1, 2, 3, 4])
            count = (await stream.ask("DescribeStreamSummary", StreamName="s"))["StreamDescriptionSummary"][
                "OpenShardCount"
            ]
            if count / 2 <= target <= count * 2:
                await stream.ask(
                    "UpdateShardCount", StreamName="s", TargetShardCount=target, ScalingType="UNIFORM_SCALING"
                )
        for _ in range(dice.randint(0, 30)):
            await asyncio.sleep(0)
    for _ in range(20_000):
        if sum(map(len, got.values())) == len(sent):
            break
        await asyncio.sleep(0)
    for task in children:
        task.cancel()
    await asyncio.gather(*children, return_exceptions=True)
    assert all(values == sorted(values) for values in got.values())
    assert {key: len(values) for key, values in got.items()} == {key: sent.count(key) for key in set(sent)}
