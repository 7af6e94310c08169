from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from streams.core.clock import ManualClock
from streams.core.errors import ExpiredNextToken, InvalidArgument, ResourceInUse, ResourceNotFound, ValidationError
from streams.core.shards import HASH_KEY_MAX

MIDDLE = 2**127
HOUR = 3600


def ids(reply: dict[str, Any]) -> list[int]:
    return [int(shard["ShardId"].removeprefix("shardId-")) for shard in reply["Shards"]]


async def split(kinesis: Any, shard: str = "0", key: int = MIDDLE) -> None:
    await kinesis.ask("SplitShard", StreamName="s", ShardToSplit=shard, NewStartingHashKey=str(key))


async def merge(kinesis: Any, one: str, other: str) -> None:
    await kinesis.ask("MergeShards", StreamName="s", ShardToMerge=one, AdjacentShardToMerge=other)


async def test_a_split_closes_the_parent_and_opens_two_children(stream: Any) -> None:
    number = (await stream.put("a"))[0]
    await split(stream)
    parent, lower, upper = (await stream.ask("ListShards", StreamName="s"))["Shards"]
    end = parent["SequenceNumberRange"]["EndingSequenceNumber"]
    assert int(end) > int(number)
    assert lower["HashKeyRange"] == {"StartingHashKey": "0", "EndingHashKey": str(MIDDLE - 1)}
    assert upper["HashKeyRange"] == {"StartingHashKey": str(MIDDLE), "EndingHashKey": str(HASH_KEY_MAX)}
    for index, child in enumerate((lower, upper), 1):
        assert child["ShardId"] == f"shardId-{index:012}"
        assert child["ParentShardId"] == "shardId-000000000000"
        assert "AdjacentParentShardId" not in child
        assert set(child["SequenceNumberRange"]) == {"StartingSequenceNumber"}
        assert int(child["SequenceNumberRange"]["StartingSequenceNumber"]) > int(end)


async def test_a_merge_has_one_child_of_two_parents(kinesis: Any) -> None:
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=2)
    await merge(kinesis, "1", "0")
    child = (await kinesis.ask("ListShards", StreamName="s"))["Shards"][-1]
    assert (child["ParentShardId"], child["AdjacentParentShardId"]) == ("shardId-000000000001", "shardId-000000000000")
    assert child["HashKeyRange"] == {"StartingHashKey": "0", "EndingHashKey": str(HASH_KEY_MAX)}
    reply = await kinesis.ask("GetRecords", ShardIterator=await kinesis.iterator(shard="0"))
    assert "NextShardIterator" not in reply
    assert reply["ChildShards"] == [
        {
            "ShardId": "shardId-000000000002",
            "ParentShards": ["shardId-000000000001", "shardId-000000000000"],
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(HASH_KEY_MAX)},
        }
    ]


async def test_a_closed_shard_ends(stream: Any) -> None:
    """KCL refuses any other mix of NextShardIterator and ChildShards."""
    await stream.put("a", "b")
    latest = await stream.iterator("LATEST")
    iterator = await stream.iterator()
    await split(stream)
    first = await stream.ask("GetRecords", ShardIterator=iterator, Limit=1)
    assert "ChildShards" not in first
    second = await stream.ask("GetRecords", ShardIterator=first["NextShardIterator"])
    assert [record["PartitionKey"] for record in second["Records"]] == ["b"]
    assert "NextShardIterator" not in second
    assert [child["ShardId"] for child in second["ChildShards"]] == ["shardId-000000000001", "shardId-000000000002"]
    for ended in (latest, await stream.iterator("LATEST")):
        reply = await stream.ask("GetRecords", ShardIterator=ended)
        assert (reply["Records"], "NextShardIterator" in reply) == ([], False)
        assert len(reply["ChildShards"]) == 2


async def test_records_go_to_the_children(stream: Any) -> None:
    await split(stream)
    reply = await stream.ask(
        "PutRecords",
        StreamName="s",
        Records=[
            {"PartitionKey": "k", "Data": b"", "ExplicitHashKey": str(key)}
            for key in (0, MIDDLE - 1, MIDDLE, HASH_KEY_MAX)
        ],
    )
    assert [int(entry["ShardId"][-1]) for entry in reply["Records"]] == [1, 1, 2, 2]


async def test_nothing_lands_behind_the_end_of_a_shard(stream: Any, seed: int) -> None:
    """Puts race with splits and merges: each record is read once, closed shards end where they said."""
    written: list[str] = []

    async def writer(name: str) -> None:
        for number in range(30):
            keys = [f"{name}-{number}-{place}" for place in range(5)]
            await stream.put(*keys)
            written.extend(keys)
            await asyncio.sleep(0)

    async def resharder() -> None:
        for _ in range(6):
            await split(stream, str(len((await stream.ask("ListShards", StreamName="s"))["Shards"]) - 1), MIDDLE)
            shards = (await stream.ask("ListShards", StreamName="s"))["Shards"]
            await merge(stream, shards[-2]["ShardId"], shards[-1]["ShardId"])

    await asyncio.gather(*(writer(f"w{number}") for number in range(4)), resharder())
    read: list[str] = []
    for shard in (await stream.ask("ListShards", StreamName="s"))["Shards"]:
        iterator: str | None = await stream.iterator(shard=shard["ShardId"])
        is_open = "EndingSequenceNumber" not in shard["SequenceNumberRange"]
        reply = await stream.ask("GetRecords", ShardIterator=iterator)
        assert ("NextShardIterator" in reply) == is_open
        read += [record["PartitionKey"] for record in reply["Records"]]
    assert sorted(read) == sorted(written)


async def test_what_cannot_be_resharded(kinesis: Any) -> None:
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=3)
    where = "stream s under account 000000000000"
    for shard in ("7", "shardId-000000000007"):
        with pytest.raises(ResourceNotFound) as absent:
            await split(kinesis, shard)
        assert absent.value.message == f"Could not find shard shardId-000000000007 in {where}."
    with pytest.raises(ResourceNotFound) as unparsable:
        await merge(kinesis, "0", "nonsense")
    assert unparsable.value.message == f"Could not find shard nonsense in {where}."
    with pytest.raises(InvalidArgument) as apart:
        await merge(kinesis, "0", "2")
    assert apart.value.message == (
        f"Shards shardId-000000000000 and shardId-000000000002 in {where} are not an adjacent pair of shards eligible for"
        " merging"
    )
    await merge(kinesis, "0", "1")
    for again in (split(kinesis, "0", 5), merge(kinesis, "1", "2")):
        with pytest.raises(InvalidArgument, match="has already been merged or split, and thus is not eligible"):
            await again
    await kinesis.put("still", "open")


async def test_on_demand_streams_are_not_resharded_by_hand(kinesis: Any) -> None:
    await kinesis.ask("CreateStream", StreamName="s", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    with pytest.raises(ValidationError) as caught:
        await split(kinesis, "0", 5)
    assert caught.value.message == ("Request is invalid. Stream s under account 000000000000 is in On-Demand mode.")


async def test_one_change_at_a_time(opened: Callable[..., Any], clock: ManualClock) -> None:
    kinesis = await opened(update_ms=1000)
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=2)
    await split(kinesis, "0", 5)
    with pytest.raises(ResourceInUse) as caught:
        await split(kinesis, "1")
    assert caught.value.message == "Stream s under account 000000000000 not ACTIVE, instead in state UPDATING"
    await kinesis.put("goes", "on")
    clock.advance(1)
    await split(kinesis, "1", MIDDLE + 5)


async def test_shards_are_listed_by_pages(kinesis: Any, clock: ManualClock) -> None:
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=7)
    first = await kinesis.ask("ListShards", StreamName="s", MaxResults=3, ExclusiveStartShardId="shardId-000000000000")
    assert ids(first) == [1, 2, 3]
    rest = await kinesis.ask("ListShards", NextToken=first["NextToken"], MaxResults=100)
    assert ids(rest) == [4, 5, 6]
    assert "NextToken" not in rest
    with pytest.raises(InvalidArgument, match=r"^NextToken and StreamName cannot be provided together\.$"):
        await kinesis.ask("ListShards", NextToken=first["NextToken"], StreamName="s")
    with pytest.raises(InvalidArgument, match=r"^Either NextToken or StreamName should be provided\.$"):
        await kinesis.ask("ListShards")
    with pytest.raises(InvalidArgument):
        await kinesis.ask("ListShards", NextToken="bogus")
    clock.advance(300.001)
    with pytest.raises(ExpiredNextToken):
        await kinesis.ask("ListShards", NextToken=first["NextToken"])


async def test_filters(stream: Any, clock: ManualClock) -> None:
    """Shard 0 is split after an hour into 1 and 2; 2 an hour later into 3 and 4."""
    start = clock.now_ms() / 1000
    clock.advance(HOUR)
    await split(stream)
    clock.advance(HOUR)
    await split(stream, "2", 3 * 2**126)
    clock.advance(HOUR)

    async def filtered(kind: str, **members: Any) -> list[int]:
        return ids(await stream.ask("ListShards", StreamName="s", ShardFilter={"Type": kind} | members))

    assert await filtered("FROM_TRIM_HORIZON") == [0, 1, 2, 3, 4]
    assert await filtered("AT_TRIM_HORIZON") == [0]
    assert await filtered("AT_LATEST") == [1, 3, 4]
    assert await filtered("AFTER_SHARD_ID", ShardId="shardId-000000000002") == [3, 4]
    for hours, at, since in ((0.5, [0], [0, 1, 2, 3, 4]), (1, [1, 2], [0, 1, 2, 3, 4]), (1.5, [1, 2], [1, 2, 3, 4])):
        timestamp = start + hours * HOUR
        assert await filtered("AT_TIMESTAMP", Timestamp=timestamp) == at
        assert await filtered("FROM_TIMESTAMP", Timestamp=timestamp) == since
    assert await filtered("AT_TIMESTAMP", Timestamp=start - 10) == [0]
    for kind in ("AT_TIMESTAMP", "AFTER_SHARD_ID"):
        with pytest.raises(InvalidArgument):
            await filtered(kind)
    clock.advance(22.5 * HOUR)
    assert await filtered("AT_TRIM_HORIZON") == [1, 2], "shard 0 has aged out"
    assert await filtered("FROM_TRIM_HORIZON") == [1, 2, 3, 4]


async def test_at_any_time_the_shards_cover_the_key_space(kinesis: Any, clock: ManualClock, seed: int) -> None:
    """KCL refuses to start on a gap or an overlap, also where the clock went back between two changes."""
    dice = random.Random(seed)
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=3)
    times = [clock.now_ms()]
    for _ in range(25):
        clock.advance(dice.choice([-3, 0, 0.001, 1, 600]))
        times.append(clock.now_ms())
        shards = (await kinesis.ask("ListShards", StreamName="s", ShardFilter={"Type": "AT_LATEST"}))["Shards"]
        shards.sort(key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
        place = dice.randrange(len(shards))
        if place and dice.random() < 0.4:
            await merge(kinesis, shards[place]["ShardId"], shards[place - 1]["ShardId"])
        else:
            first, last = (int(key) for key in shards[place]["HashKeyRange"].values())
            await split(kinesis, shards[place]["ShardId"], dice.randrange(first + 2, last))
    filters: list[dict[str, Any]] = [{"Type": "AT_TRIM_HORIZON"}, {"Type": "AT_LATEST"}]
    for time in times:
        filters += [{"Type": "AT_TIMESTAMP", "Timestamp": (time + more) / 1000} for more in (-1, 0, 1)]
    for question in filters:
        after = 0
        shards = (await kinesis.ask("ListShards", StreamName="s", ShardFilter=question))["Shards"]
        for shard in sorted(shards, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"])):
            assert int(shard["HashKeyRange"]["StartingHashKey"]) == after, question
            after = int(shard["HashKeyRange"]["EndingHashKey"]) + 1
        assert after == HASH_KEY_MAX + 1, question
