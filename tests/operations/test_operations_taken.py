"""A marked put that is tried again while its stream is split and merged: every record is stored once."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from streams.core.errors import InternalFailure
from streams.core.records import ProducerMark, Records
from streams.core.shards import shard_id
from streams.sdk.client import TRIM_HORIZON

MIDDLE = str(1 << 127)


def some(count: int, prefix: str = "key") -> Records:
    return Records.of([f"{prefix}-{number}" for number in range(count)], [b"x"] * count)


async def stored(kinesis: Any) -> dict[str, tuple[str, int]]:
    """key → (shard, offset); fails where a record is stored twice."""
    found: dict[str, tuple[str, int]] = {}
    for shard, position in (await kinesis.client.find("n", TRIM_HORIZON)).items():
        while True:
            batches = (await kinesis.client.fetch("n", {shard: position})).batches
            if not any(len(batch) for batch in batches):
                break
            for batch in batches:
                for place, key in enumerate(batch.records.partition_key.to_pylist()):
                    assert key not in found, f"{key} is stored twice: {found[key]} and {shard, batch.first + place}"
                    found[key] = shard, batch.first + place
                position = batch.next
    return found


def told(records: Records, receipt: Any) -> dict[str, tuple[str, int]]:
    """What a receipt says, as `stored` finds it."""
    return {
        key: (receipt.shards[shard], offset)
        for key, shard, offset in zip(
            records.partition_key.to_pylist(), receipt.shard.to_pylist(), receipt.offset.to_pylist(), strict=True
        )
    }


async def split(kinesis: Any, shard: str, at: str = MIDDLE) -> None:
    await kinesis.ask("SplitShard", StreamName="n", ShardToSplit=shard, NewStartingHashKey=at)


async def test_a_put_repeated_after_a_split_appends_nothing(kinesis: Any) -> None:
    await kinesis.client.create_stream("n", 1)
    await kinesis.client.put("n", some(3, "before"))
    first = await kinesis.client.put("n", some(20), ProducerMark("p", 1))
    await split(kinesis, shard_id(0))
    again = await kinesis.client.put("n", some(20), ProducerMark("p", 1))
    assert told(some(20), again) == told(some(20), first)
    assert len(await stored(kinesis)) == 23
    await kinesis.client.put("n", some(20, "next"), ProducerMark("p", 2))
    assert len(await stored(kinesis)) == 43


async def test_what_was_missing_before_a_merge_is_appended_after_it(kinesis: Any) -> None:
    await kinesis.client.create_stream("n", 2)
    kinesis.log.full = {shard_id(1)}
    with pytest.raises(InternalFailure):
        await kinesis.client.put("n", some(30), ProducerMark("p", 1))
    kinesis.log.full = set()
    await kinesis.ask("MergeShards", StreamName="n", ShardToMerge=shard_id(0), AdjacentShardToMerge=shard_id(1))
    for _ in range(2):
        receipt = await kinesis.client.put("n", some(30), ProducerMark("p", 1))
        assert told(some(30), receipt) == await stored(kinesis)
    assert set(receipt.shards) == {shard_id(0), shard_id(2)}


async def test_a_mark_is_known_to_closed_shards_after_a_restart(kinesis: Any) -> None:
    await kinesis.client.create_stream("n", 1)
    await kinesis.client.put("n", some(10), ProducerMark("p", 1))
    await split(kinesis, shard_id(0))
    await kinesis.restart()
    receipt = await kinesis.client.put("n", some(10), ProducerMark("p", 1))
    assert told(some(10), receipt) == await stored(kinesis)


async def reshard(kinesis: Any, randomness: random.Random) -> None:
    """A split at a random key or a merge of random neighbours."""
    shards = [shard for shard in (await kinesis.client.describe_stream("n")).shards if shard.open]
    shards.sort(key=lambda shard: shard.hash_range.first)
    if len(shards) > 1 and randomness.random() < 0.5:
        at = randomness.randrange(len(shards) - 1)
        await kinesis.ask(
            "MergeShards", StreamName="n", ShardToMerge=shards[at].id, AdjacentShardToMerge=shards[at + 1].id
        )
    else:
        shard = randomness.choice(shards)
        at_key = randomness.randint(shard.hash_range.first + 1, shard.hash_range.last)
        await split(kinesis, shard.id, str(at_key))


async def test_every_record_once_through_failures_and_reshards(opened: Callable[..., Any], seed: int) -> None:
    randomness = random.Random(seed)
    kinesis = await opened(update_ms=0)
    await kinesis.client.create_stream("n", 2)
    expected: dict[str, tuple[str, int]] = {}
    for sequence in range(25):
        count = randomness.randrange(1, 40)
        records = some(count, str(sequence))
        if randomness.random() < 0.3:
            keys = [randomness.choice([None, randomness.randbytes(16)]) for _ in range(count)]
            records = Records.of(records.partition_key.to_pylist(), records.data.to_pylist(), keys)
        mark = ProducerMark(randomness.choice("pq"), sequence)
        for tries_left in reversed(range(randomness.randrange(1, 6))):
            live = [shard.id for shard in (await kinesis.client.describe_stream("n")).shards if shard.open]
            kinesis.log.full = set(randomness.sample(live, randomness.randrange(len(live)))) if tries_left else set()
            try:
                receipt = await kinesis.client.put("n", records, mark)
            except InternalFailure:
                pass
            kinesis.log.full = set()
            if tries_left and randomness.random() < 0.7:
                await reshard(kinesis, randomness)
            if randomness.random() < 0.05:
                await kinesis.restart()
        expected |= told(records, receipt)
        assert await stored(kinesis) == expected
