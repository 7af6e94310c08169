from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest

from streams.core.clock import ManualClock
from streams.core.errors import DryRunOperation, InternalFailure, InvalidArgument, ResourceNotFound, ValidationError
from streams.core.sequence import SequenceNumber
from streams.core.shards import HASH_KEY_MAX

MIB = 1 << 20


async def records(kinesis: Any, iterator: str, **members: Any) -> list[dict[str, Any]]:
    return (await kinesis.ask("GetRecords", ShardIterator=iterator, **members))["Records"]


async def test_a_record_there_and_back(stream: Any) -> None:
    put = await stream.ask("PutRecord", StreamName="s", PartitionKey="ключ", Data=b"\x00\xff")
    assert put == {
        "ShardId": "shardId-000000000000",
        "SequenceNumber": "49646437577108476416916876405827138351405044305449975810",
    }
    reply = await stream.ask("GetRecords", ShardIterator=await stream.iterator())
    assert reply["Records"] == [
        {
            "SequenceNumber": put["SequenceNumber"],
            "ApproximateArrivalTimestamp": 1_700_000_000.0,
            "Data": base64.b64encode(b"\x00\xff").decode(),
            "PartitionKey": "ключ",
        }
    ]
    assert reply["MillisBehindLatest"] == 0
    assert "ChildShards" not in reply


async def test_a_batch_is_answered_in_its_order(kinesis: Any, clock: ManualClock) -> None:
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=4)
    keys = [f"key-{number}" for number in range(50)]
    reply = await kinesis.ask(
        "PutRecords",
        StreamName="s",
        Records=[
            {"PartitionKey": key, "Data": key.encode()} | ({"ExplicitHashKey": str(HASH_KEY_MAX)} if place == 7 else {})
            for place, key in enumerate(keys)
        ],
    )
    assert reply["FailedRecordCount"] == 0
    assert reply["Records"][7]["ShardId"] == "shardId-000000000003"
    found = {}
    for shard in range(4):
        iterator = await kinesis.iterator(shard=str(shard))
        for record in await records(kinesis, iterator):
            found[record["PartitionKey"]] = (f"shardId-{shard:012}", record["SequenceNumber"])
    assert [found[key] for key in keys] == [(entry["ShardId"], entry["SequenceNumber"]) for entry in reply["Records"]]


@pytest.mark.parametrize("jump", [0, 0.999, 1, 5, -5, -0.001])
async def test_both_ends_print_the_same_sequence_number_whatever_the_clock_does(
    stream: Any, clock: ManualClock, jump: float
) -> None:
    written = []
    for _ in range(3):
        written += await stream.put("a", "b")
        clock.advance(jump)
        written.append((await stream.ask("PutRecord", StreamName="s", PartitionKey="c", Data=b""))["SequenceNumber"])
        stream.log.held = asyncio.Event()
        pending = asyncio.create_task(stream.put("late", "later"))
        for _ in range(5):
            await asyncio.sleep(0)
        clock.advance(jump)
        stream.log.held.set()
        written += await pending
        await stream.restart()
    read = [record["SequenceNumber"] for record in await records(stream, await stream.iterator())]
    assert read == written
    assert read == sorted(read, key=int)
    assert len(set(read)) == len(read)


async def test_missing_partition_keys(stream: Any) -> None:
    with pytest.raises(ValidationError) as one:
        await stream.ask("PutRecord", StreamName="s", Data=b"x")
    assert one.value.message == (
        "1 validation error detected: Value null at 'partitionKey' failed to satisfy constraint: Member must not be null"
    )
    with pytest.raises(ValidationError) as many:
        await stream.ask(
            "PutRecords", StreamName="s", Records=[{"Data": b"x"}, {"Data": b"x", "PartitionKey": "k"}, {"Data": b""}]
        )
    assert many.value.message == (
        "2 validation errors detected: Value null at 'records.1.member.partitionKey' failed to satisfy constraint: Member"
        " must not be null; Value null at 'records.3.member.partitionKey' failed to satisfy constraint: Member must not be"
        " null"
    )


async def test_explicit_hash_keys_have_a_range(stream: Any) -> None:
    for operation, members in (
        ("PutRecord", {"PartitionKey": "k", "Data": b"", "ExplicitHashKey": str(HASH_KEY_MAX + 1)}),
        ("PutRecords", {"Records": [{"PartitionKey": "k", "Data": b"", "ExplicitHashKey": str(HASH_KEY_MAX + 1)}]}),
    ):
        with pytest.raises(InvalidArgument) as caught:
            await stream.ask(operation, StreamName="s", **members)
        assert caught.value.message == (
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was"
            f" {HASH_KEY_MAX + 1}"
        )


async def test_a_record_may_have_a_mebibyte_with_its_key(stream: Any) -> None:
    await stream.put("k", data=bytes(MIB - 1))
    with pytest.raises(ValidationError) as too_long:
        await stream.put("k", data=bytes(MIB + 1))
    assert too_long.value.message == (
        "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=1048577 cap=1048577]' at"
        " 'records.1.member.data' failed to satisfy constraint: Member must have length less than or equal to 1048576"
    )
    with pytest.raises(InvalidArgument) as with_key:
        await stream.ask("PutRecord", StreamName="s", PartitionKey="k", Data=bytes(MIB))
    assert with_key.value.message == (
        "Data and partition key of 1048577 bytes exceed the maximum record size of 1024 KiB of stream s under account"
        " 000000000000."
    )


async def test_a_stream_may_take_larger_records(kinesis: Any) -> None:
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1, MaxRecordSizeInKiB=10240)
    await kinesis.put("k", data=bytes(10 * MIB - 1))
    await kinesis.put("tail")
    iterator = await kinesis.iterator()
    assert await kinesis.read(iterator) == ["k"]
    with pytest.raises(InvalidArgument, match=r"^Records size exceeds 10 MiB limit$"):
        await kinesis.put("k", "l", data=bytes(5 * MIB))


async def test_what_the_log_refuses_fails_record_by_record(kinesis: Any) -> None:
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=2)
    kinesis.log.full = {"shardId-000000000001"}
    keys = [f"key-{number}" for number in range(20)]
    entries = [{"PartitionKey": key, "Data": b"x"} for key in keys]
    reply = await kinesis.ask("PutRecords", StreamName="s", Records=entries)
    failed = [key for key, entry in zip(keys, reply["Records"], strict=True) if "ErrorCode" in entry]
    assert 0 < len(failed) == reply["FailedRecordCount"] < 20
    assert next(entry for entry in reply["Records"] if "ErrorCode" in entry) == {
        "ErrorCode": "InternalFailure",
        "ErrorMessage": "Internal Service Failure: no space left",
    }
    taken = await kinesis.read(await kinesis.iterator())
    assert sorted(taken + failed) == sorted(keys)
    with pytest.raises(InternalFailure) as caught:
        await kinesis.ask("PutRecord", StreamName="s", PartitionKey="k", Data=b"", ExplicitHashKey=str(HASH_KEY_MAX))
    assert (caught.value.status, caught.value.retry) == (500, True)


async def test_sequence_number_for_ordering(stream: Any) -> None:
    first = (await stream.put("a"))[0]
    put = {"StreamName": "s", "PartitionKey": "a", "Data": b""}
    second = (await stream.ask("PutRecord", **put, SequenceNumberForOrdering=first))["SequenceNumber"]
    assert int(second) > int(first)
    foreign = str(SequenceNumber(1_600_000_000, 0, 1, 1_600_000_000))
    for number in ("1", foreign):
        with pytest.raises(InvalidArgument) as caught:
            await stream.ask("PutRecord", **put, SequenceNumberForOrdering=number)
        assert caught.value.message == (
            f"ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream s under account 000000000000 is invalid."
        )


async def test_dry_runs_do_nothing_and_say_so(stream: Any) -> None:
    entry = {"PartitionKey": "k", "Data": b"x"}
    iterator = await stream.iterator()
    for operation, members in (
        ("PutRecord", {"StreamName": "s"} | entry),
        ("PutRecords", {"StreamName": "s", "Records": [entry]}),
        ("GetRecords", {"ShardIterator": iterator}),
        ("GetShardIterator", {"StreamName": "s", "ShardId": "0", "ShardIteratorType": "LATEST"}),
    ):
        with pytest.raises(DryRunOperation, match=r"^Request would have succeeded, but DryRun flag is set\.$"):
            await stream.ask(operation, **members, DryRun=True)
    assert await stream.read(iterator) == []


async def test_put_into_a_stream_that_is_not_there(kinesis: Any) -> None:
    with pytest.raises(ResourceNotFound, match=r"^Stream s under account 000000000000 not found\.$"):
        await kinesis.put("k")


async def test_an_answer_has_so_many_records_as_asked(stream: Any) -> None:
    await stream.put(*(f"k{number}" for number in range(10)))
    iterator = await stream.iterator()
    seen: list[str] = []
    for _ in range(4):
        reply = await stream.ask("GetRecords", ShardIterator=iterator, Limit=3)
        seen += [record["PartitionKey"] for record in reply["Records"]]
        assert (reply["MillisBehindLatest"] > 0) == (len(seen) < 10)
        iterator = reply["NextShardIterator"]
    assert seen == [f"k{number}" for number in range(10)]


async def test_a_few_long_records(stream: Any) -> None:
    await stream.put(*(f"k{number}" for number in range(9)), data=bytes(100_000))
    assert len(await stream.read(await stream.iterator(), Limit=7)) == 7


async def test_an_answer_has_ten_mebibytes_at_most(stream: Any) -> None:
    for number in range(12):
        await stream.put(f"k{number:02}", data=bytes(MIB - 3))
    iterator = await stream.iterator()
    assert len(await stream.read(iterator)) == 10
    await stream.put("small")
    assert len(await stream.read(iterator)) == 10


async def test_an_answer_has_ten_thousand_records_at_most(stream: Any) -> None:
    for batch in range(21):
        await stream.put(*(f"k{batch}-{number}" for number in range(500)))
    reply = await stream.ask("GetRecords", ShardIterator=await stream.iterator())
    assert len(reply["Records"]) == 10_000
    assert len(await stream.read(reply["NextShardIterator"])) == 500


async def test_how_far_behind_a_reader_is(stream: Any, clock: ManualClock) -> None:
    await stream.put("a")
    clock.advance(2)
    await stream.put("b")
    clock.advance(3)
    iterator = await stream.iterator()
    reply = await stream.ask("GetRecords", ShardIterator=iterator, Limit=1)
    assert reply["MillisBehindLatest"] == 3000
    assert (await stream.ask("GetRecords", ShardIterator=iterator))["MillisBehindLatest"] == 0


async def test_a_caller_that_goes_away_leaves_the_stream_whole(opened: Callable[..., Any]) -> None:
    kinesis = await opened()
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    kinesis.log.held = asyncio.Event()
    put = asyncio.create_task(kinesis.put("a"))
    for _ in range(5):
        await asyncio.sleep(0)
    put.cancel()
    await asyncio.gather(put, return_exceptions=True)
    split = asyncio.create_task(
        kinesis.ask("SplitShard", StreamName="s", ShardToSplit="0", NewStartingHashKey=str(2**127))
    )
    for _ in range(10):
        await asyncio.sleep(0)
    assert not split.done(), "the log is still writing into the shard"
    kinesis.log.held.set()
    await split
    reply = await kinesis.ask("GetRecords", ShardIterator=await kinesis.iterator())
    assert [record["PartitionKey"] for record in reply["Records"]] == ["a"]
    assert len(reply["ChildShards"]) == 2
