"""Queues: records received, acknowledged, received again, dead, restored; over streams that are split, age out and go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streams.control import resharding, store
from streams.core.errors import (
    ExpiredNextToken,
    HeadraceError,
    InvalidArgument,
    LimitExceeded,
    RequestError,
    ResourceInUse,
    ResourceNotFound,
    Throttling,
    ValidationError,
)
from streams.core.scope import Scope
from streams.queues import dispatcher, supply

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"


@pytest.fixture
async def stream(kinesis: Any) -> Any:
    """With an on-demand stream "s" of one shard."""
    await make_stream(kinesis)
    return kinesis


async def make_stream(kinesis: Any, name: str = "s", shards: int = 1) -> None:
    await kinesis.ask("CreateStream", StreamName=name, ShardCount=shards)
    arn = f"arn:aws:kinesis:us-east-1:000000000000:stream/{name}"
    await kinesis.ask("UpdateStreamMode", StreamARN=arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})


async def create(kinesis: Any, name: str = "q", start: Any = "TRIM_HORIZON", stream: str = ARN, **members: Any) -> str:
    configuration = {"StreamARN": stream, "StartingPosition": {"Type": start} if isinstance(start, str) else start}
    reply = await kinesis.ask("CreateQueue", QueueName=name, StreamConfigurationList=[configuration], **members)
    return reply["QueueDescription"]["QueueARN"]


async def describe(kinesis: Any, arn: str) -> Any:
    return (await kinesis.ask("DescribeQueue", QueueARN=arn))["QueueDescription"]


async def receive(kinesis: Any, arn: str, *, dead: bool = False, **members: Any) -> list[dict[str, Any]]:
    """What is there now: a clock that stands still never ends a wait, so one is ended when the pump sleeps."""
    operation = "ReceiveDeadLetterQueueRecords" if dead else "ReceiveQueueRecords"
    task = asyncio.create_task(kinesis.ask(operation, QueueARN=arn, **{"WaitTimeSeconds": 1} | members))
    for _ in range(400):
        await asyncio.sleep(0)
        if task.done():
            break
    else:
        done, _ = await asyncio.wait([task], timeout=0.3)
        if not done:
            kinesis.clock.advance(1)
    return (await task)["QueueRecords"]


def keys(records: list[dict[str, Any]]) -> list[str]:
    return [record["PartitionKey"] for record in records]


async def each(kinesis: Any, operation: str, arn: str, records: list[dict[str, Any]], **members: Any) -> list[str]:
    """Of each record "" where it succeeded, the error code where it did not."""
    entries = [{"ReceiptHandle": record["ReceiptHandle"]} | members for record in records]
    reply = await kinesis.ask(operation, QueueARN=arn, Entries=entries)
    codes = {one["ReceiptHandle"]: "" for one in reply["Successful"]}
    codes |= {one["ReceiptHandle"]: one["ErrorCode"] for one in reply["Failed"]}
    assert len(reply["Successful"]) + len(reply["Failed"]) == len(entries)
    return [codes[entry["ReceiptHandle"]] for entry in entries]


async def acknowledge(kinesis: Any, arn: str, records: list[dict[str, Any]]) -> list[str]:
    return await each(kinesis, "AcknowledgeQueueRecords", arn, records)


async def test_records_are_received_acknowledged_and_received_again_also_over_a_restart(stream: Any) -> None:
    await stream.put("a", "b", "c", data=b"data")
    queue = await create(stream)
    now_s = stream.clock.now_ms() / 1000
    first = await receive(stream, queue)
    assert keys(first) == ["a", "b", "c"]
    assert first[1] | {"ReceiptHandle": ""} == {
        "ReceiptHandle": "",
        "RecordId": f"{0:08x}{1:016x}",
        "PartitionKey": "b",
        "Data": "ZGF0YQ==",
        "ApproximateArrivalTimestamp": now_s,
        "FirstReceiveTimestamp": now_s,
        "ReceiveCount": 1,
    }
    assert await receive(stream, queue) == []
    assert await acknowledge(stream, queue, first[:1]) == [""]
    stream.clock.advance(27)
    await stream.restart()
    assert await receive(stream, queue) == [], "what is in flight stays so"
    stream.clock.advance(1)
    second = await receive(stream, queue)
    assert keys(second) == ["b", "c"]
    assert [one["ReceiveCount"] for one in second] == [2, 2]
    assert [one["FirstReceiveTimestamp"] for one in second] == [now_s, now_s]
    assert [one["RecordId"] for one in second] == [one["RecordId"] for one in first[1:]]
    assert not {one["ReceiptHandle"] for one in second} & {one["ReceiptHandle"] for one in first}
    assert await acknowledge(stream, queue, [second[0], first[2]]) == ["", "InvalidArgumentException"]
    await stream.restart()
    stream.clock.advance(31)
    third = await receive(stream, queue)
    assert keys(third) == ["c"]
    assert await acknowledge(stream, queue, third) == [""]
    assert await acknowledge(stream, queue, [*third, first[0]]) == ["", ""], "twice is as once"
    await stream.put("d")
    assert keys(await receive(stream, queue)) == ["d"]


async def test_a_wait_ends_with_the_first_record_and_workers_share(stream: Any) -> None:
    queue = await create(stream, start="LATEST")
    await stream.put("early")
    waits = [
        asyncio.create_task(stream.ask("ReceiveQueueRecords", QueueARN=queue, WaitTimeSeconds=20, Limit=1))
        for _ in range(3)
    ]
    (done, _waiting) = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    await stream.put("b", "c")
    replies = [await wait for wait in waits]
    assert [len(reply["QueueRecords"]) for reply in replies] == [1, 1, 1]
    assert sorted(reply["QueueRecords"][0]["PartitionKey"] for reply in replies) == ["b", "c", "early"]


async def test_a_worker_that_goes_away_while_it_waits_takes_nothing_along(stream: Any) -> None:
    queue = await create(stream)
    gone = asyncio.create_task(stream.ask("ReceiveQueueRecords", QueueARN=queue))
    await asyncio.sleep(0.01)
    gone.cancel()
    await stream.put("a")
    assert keys(await receive(stream, queue)) == ["a"]


@pytest.mark.parametrize("start", ["LATEST", "TRIM_HORIZON", "AT_TIMESTAMP", None])
async def test_delivery_begins_where_the_queue_says(stream: Any, start: str | None) -> None:
    clock = stream.clock
    await stream.put("before")
    clock.advance(10)
    moment = clock.now_ms() / 1000
    await stream.put("between")
    clock.advance(10)
    position = {"Type": start, "Timestamp": moment} if start == "AT_TIMESTAMP" else start
    if start is None:
        reply = await stream.ask("CreateQueue", QueueName="q", StreamConfigurationList=[{"StreamARN": ARN}])
        queue = reply["QueueDescription"]["QueueARN"]
    else:
        queue = await create(stream, start=position)
    described = (await describe(stream, queue))["StreamConfigurationList"][0]["StartingPosition"]
    expected = {"TRIM_HORIZON": moment - 10, "AT_TIMESTAMP": moment}.get(start or "", moment + 10)
    assert described == {"Type": start or "LATEST", "Timestamp": expected}
    await stream.put("after")
    wanted = {"TRIM_HORIZON": ["before", "between", "after"], "AT_TIMESTAMP": ["between", "after"]}
    for _ in range(2):
        found = await receive(stream, queue, VisibilityTimeoutSeconds=0)
        assert sorted(keys(found)) == sorted(wanted.get(start or "", ["after"]))
        await stream.restart()


async def test_a_timestamp_to_come_holds_records_back_until_then(stream: Any) -> None:
    queue = await create(stream, start={"Type": "AT_TIMESTAMP", "Timestamp": stream.clock.now_ms() / 1000 + 60})
    await stream.put("early")
    assert await receive(stream, queue) == []
    stream.clock.advance(60)
    await stream.put("late")
    assert keys(await receive(stream, queue)) == ["late"]


async def test_every_record_reaches_a_worker_through_splits_and_merges(
    kinesis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An on-demand stream is not split by its users.
    monkeypatch.setattr(resharding, "_check_provisioned", lambda stream: None)
    await make_stream(kinesis, shards=2)
    queue = await create(kinesis)
    put = [f"k{number}" for number in range(60)]
    await kinesis.put(*put[:20])
    found: list[str] = []

    async def drain() -> None:
        while records := await receive(kinesis, queue):
            found.extend(keys(records))
            assert set(await acknowledge(kinesis, queue, records)) == {""}

    found += keys(await receive(kinesis, queue, Limit=3))
    await kinesis.ask("SplitShard", StreamName="s", ShardToSplit="0", NewStartingHashKey=str(1 << 120))
    await kinesis.put(*put[20:40])
    waiting = asyncio.create_task(drain())
    await kinesis.ask("MergeShards", StreamName="s", ShardToMerge="3", AdjacentShardToMerge="1")
    await kinesis.put(*put[40:])
    await waiting
    await drain()
    assert sorted(found) == sorted(put)


async def test_dead_letters_are_received_apart_acknowledged_postponed_and_restored(stream: Any) -> None:
    attributes = {
        "VisibilityTimeoutSeconds": 10,
        "DeadLetterConfiguration": {"TargetType": "BUILT_IN", "MaxReceiveCount": 2},
    }
    queue = await create(stream, QueueAttributes=attributes)
    await stream.put("a", "b", "c")
    for _ in range(2):
        last = await receive(stream, queue)
        assert len(last) == 3
        assert await receive(stream, queue, dead=True) == []
        stream.clock.advance(10)
    assert await receive(stream, queue) == []
    await stream.restart()
    assert await acknowledge(stream, queue, last[:1]) == ["InvalidArgumentException"], "it is dead by now"
    dead = await receive(stream, queue, dead=True)
    assert keys(dead) == ["a", "b", "c"]
    assert {one["ReceiveCount"] for one in dead} == {3}
    assert await receive(stream, queue, dead=True) == []
    a, b, c = ([one] for one in dead)
    assert await each(stream, "AcknowledgeQueueRecords", queue, a) == ["InvalidArgumentException"]
    assert await each(stream, "AcknowledgeDeadLetterQueueRecords", queue, a) == [""]
    postpone = "UpdateDeadLetterQueueRecordsVisibility"
    assert await each(stream, postpone, queue, b, VisibilityTimeoutSeconds=100) == [""]
    assert await each(stream, "RestoreDeadLetterQueueRecords", queue, [*c, *last[:1]]) == [
        "",
        "ResourceNotFoundException",
    ]
    restored = await receive(stream, queue)
    assert keys(restored) == ["c"]
    assert restored[0]["ReceiveCount"] == 1
    assert await each(stream, "RestoreDeadLetterQueueRecords", queue, restored) == ["InvalidArgumentException"]
    assert await each(stream, "AcknowledgeDeadLetterQueueRecords", queue, restored) == ["InvalidArgumentException"]
    stream.clock.advance(50)
    assert await receive(stream, queue, dead=True) == []
    stream.clock.advance(50)
    await stream.restart()
    assert keys(await receive(stream, queue, dead=True)) == ["b"]


async def test_without_dead_letters_a_record_is_received_until_it_is_acknowledged(stream: Any) -> None:
    none = {"DeadLetterConfiguration": {"TargetType": "NONE"}}
    queue = await create(stream, QueueAttributes=none)
    assert (await describe(stream, queue))["QueueAttributes"] == {"VisibilityTimeoutSeconds": 30} | none
    await stream.put("a")
    for count in range(1, 20):
        (record,) = await receive(stream, queue, VisibilityTimeoutSeconds=0)
        assert record["ReceiveCount"] == count


async def test_visibility_is_changed_for_a_record_in_flight(stream: Any) -> None:
    queue = await create(stream)
    await stream.put("a", "b")
    a, b = ([one] for one in await receive(stream, queue))
    assert await each(stream, "UpdateQueueRecordsVisibility", queue, a, VisibilityTimeoutSeconds=0) == [""]
    assert await each(stream, "UpdateQueueRecordsVisibility", queue, b, VisibilityTimeoutSeconds=300) == [""]
    (again,) = await receive(stream, queue)
    assert again["PartitionKey"] == "a"
    stream.clock.advance(200)
    assert keys(await receive(stream, queue)) == ["a"]
    assert await acknowledge(stream, queue, b) == [""]
    assert await each(stream, "UpdateQueueRecordsVisibility", queue, b, VisibilityTimeoutSeconds=1) == [
        "ResourceNotFoundException"
    ]


async def test_a_wait_ends_when_a_record_in_flight_becomes_visible(stream: Any) -> None:
    queue = await create(stream)
    await stream.put("a")
    (first,) = await receive(stream, queue, VisibilityTimeoutSeconds=5)
    waiting = asyncio.create_task(stream.ask("ReceiveQueueRecords", QueueARN=queue, WaitTimeSeconds=20))
    await asyncio.sleep(0.05)
    stream.clock.advance(5)
    assert keys((await waiting)["QueueRecords"]) == ["a"]
    waiting = asyncio.create_task(stream.ask("ReceiveQueueRecords", QueueARN=queue, WaitTimeSeconds=20))
    await asyncio.sleep(0.05)
    stream.clock.advance(20)
    assert (await waiting)["QueueRecords"] == []
    assert first["ReceiveCount"] == 1


async def test_retention_bounds_a_queue(stream: Any) -> None:
    queue = await create(stream)
    await stream.put("flying", "old")
    (flying,) = await receive(stream, queue, Limit=1, VisibilityTimeoutSeconds=43200)
    stream.clock.advance(24 * 3600 + 1)
    await stream.put("young")
    found = await receive(stream, queue)
    assert keys(found) == ["young"]
    assert await each(stream, "UpdateQueueRecordsVisibility", queue, [flying], VisibilityTimeoutSeconds=9) == [
        "ResourceNotFoundException"
    ]


async def test_several_queues_of_a_stream_do_not_know_of_each_other(stream: Any) -> None:
    queues = [await create(stream, name) for name in ("one", "two")]
    await stream.put("a")
    (one,), (two,) = [await receive(stream, queue) for queue in queues]
    assert one["RecordId"] == two["RecordId"]
    assert await acknowledge(stream, queues[0], [two]) == ["InvalidArgumentException"]
    assert await acknowledge(stream, queues[0], [one]) == [""]
    stream.clock.advance(31)
    assert await receive(stream, queues[0]) == []
    assert keys(await receive(stream, queues[1])) == ["a"]
    listed = await stream.ask("ListQueues", MaxResults=1)
    assert [one["QueueName"] for one in listed["QueueSummaries"]] == ["one"]
    rest = await stream.ask("ListQueues", NextToken=listed["NextToken"])
    assert [one["QueueName"] for one in rest["QueueSummaries"]] == ["two"]
    assert "NextToken" not in rest
    with pytest.raises(InvalidArgument, match="NextToken"):
        await stream.ask("ListQueues", NextToken=listed["NextToken"], StreamFilter=[{"StreamARN": ARN}])
    created = rest["QueueSummaries"][0]["Streams"][0]["StreamCreationTimestamp"]
    for at_s, count in ((created, 2), (created + 5, 0)):
        try:
            filtered = {"StreamARN": ARN, "StreamCreationTimestamp": at_s}
            summaries = (await stream.ask("ListQueues", StreamFilter=[filtered]))["QueueSummaries"]
        except ResourceNotFound:
            summaries = []
        assert len(summaries) == count
    stream.clock.advance(301)
    with pytest.raises(ExpiredNextToken):
        await stream.ask("ListQueues", NextToken=listed["NextToken"])
    summary = (await stream.ask("DescribeStreamSummary", StreamName="s"))["StreamDescriptionSummary"]
    assert summary["QueueCount"] == 2


async def test_states_take_their_time_and_decide_what_is_possible(opened: Any, clock: Any) -> None:
    kinesis = await opened(create_ms=2000, update_ms=3000, delete_ms=4000)
    await kinesis.ask("CreateStream", StreamName="s", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    clock.advance(2)
    reply = await kinesis.ask(
        "CreateQueue", QueueName="q", StreamConfigurationList=[{"StreamARN": ARN}], Tags={"team": "a"}
    )
    described = reply["QueueDescription"]
    queue = described["QueueARN"]
    assert queue.startswith("arn:aws:kinesis:us-east-1:000000000000:queue/")
    assert described["QueueStatus"] == "CREATING"
    assert described["StreamConfigurationList"] == [{"StreamARN": ARN, "StartingPosition": {"Type": "LATEST"}}]
    assert await describe(kinesis, queue) == described
    await kinesis.put("a")
    with pytest.raises(ResourceNotFound, match="not ACTIVE, instead in state CREATING"):
        await receive(kinesis, queue)
    with pytest.raises(ResourceInUse, match="not ACTIVE, instead in state CREATING"):
        await kinesis.ask("UpdateQueue", QueueARN=queue, QueueAttributes={"VisibilityTimeoutSeconds": 1})
    clock.advance(2)
    attributes = {"VisibilityTimeoutSeconds": 1}
    updated = (await kinesis.ask("UpdateQueue", QueueARN=queue, QueueAttributes=attributes))["QueueDescription"]
    assert updated["QueueStatus"] == "UPDATING"
    assert updated["QueueAttributes"] == {
        "VisibilityTimeoutSeconds": 1,
        "DeadLetterConfiguration": {"TargetType": "BUILT_IN", "MaxReceiveCount": 6},
    }
    assert keys(await receive(kinesis, queue)) == ["a"]
    clock.advance(1)
    (record,) = await receive(kinesis, queue)
    assert record["ReceiveCount"] == 2
    await kinesis.restart()
    clock.advance(2)
    assert (await describe(kinesis, queue))["QueueStatus"] == "ACTIVE"
    assert (await kinesis.ask("ListTagsForResource", ResourceARN=queue))["Tags"] == [{"Key": "team", "Value": "a"}]
    await kinesis.ask("TagResource", ResourceARN=queue, Tags={"more": "b"})
    waiting = asyncio.create_task(kinesis.ask("ReceiveQueueRecords", QueueARN=queue, Limit=1))
    await acknowledge(kinesis, queue, (await waiting)["QueueRecords"])
    waiting = asyncio.create_task(kinesis.ask("ReceiveQueueRecords", QueueARN=queue))
    await asyncio.sleep(0.05)
    for _ in range(2):
        await kinesis.ask("DeleteQueue", QueueARN=queue)
    with pytest.raises(ResourceNotFound):
        await waiting
    assert (await describe(kinesis, queue))["QueueStatus"] == "DELETING"
    for operation in ("ReceiveQueueRecords", "ReceiveDeadLetterQueueRecords"):
        with pytest.raises(ResourceNotFound, match="DELETING"):
            await kinesis.ask(operation, QueueARN=queue)
    with pytest.raises(ResourceInUse, match="already exists"):
        await create(kinesis)
    clock.advance(4)
    with pytest.raises(ResourceNotFound):
        await describe(kinesis, queue)
    await create(kinesis)
    assert len((await kinesis.ask("ListQueues"))["QueueSummaries"]) == 1


async def test_a_stream_outlives_its_queues_and_stays_on_demand(stream: Any) -> None:
    queue = await create(stream)
    with pytest.raises(ResourceInUse, match="has queues"):
        await stream.ask("DeleteStream", StreamName="s", EnforceConsumerDeletion=True)
    with pytest.raises(ResourceInUse, match="has queues"):
        await stream.ask("UpdateStreamMode", StreamARN=ARN, StreamModeDetails={"StreamMode": "PROVISIONED"})
    await stream.put("a")
    (record,) = await receive(stream, queue)
    assert any(name.startswith("queues/") for name in await stream.log.shards())
    await stream.ask("DeleteQueue", QueueARN=queue)
    assert not any(name.startswith("queues/") for name in await stream.log.shards())
    with pytest.raises(ResourceNotFound):
        await acknowledge(stream, queue, [record])
    assert await stream.read(await stream.iterator()) == ["a"], "the stream does not lose what the queue delivered"
    await stream.ask("DeleteStream", StreamName="s")


@pytest.mark.parametrize(
    ("members", "error", "match"),
    [
        ({"start": {"Type": "AT_TIMESTAMP"}}, ValidationError, "must have a Timestamp"),
        ({"start": {"Type": "LATEST", "Timestamp": 1}}, ValidationError, "must not have a Timestamp"),
        ({"start": "SOON"}, ValidationError, r"startingPosition\.type"),
        ({"stream": ARN + "x"}, ResourceNotFound, "Stream sx"),
        ({"stream": ARN.replace("kinesis", "firehose")}, RequestError, "ARN"),
        ({"name": "no/slash"}, ValidationError, "queueName"),
        ({"QueueAttributes": {"VisibilityTimeoutSeconds": 43201}}, ValidationError, "43200"),
        ({"QueueAttributes": {"DeadLetterConfiguration": {"TargetType": "BUILT_IN"}}}, ValidationError, "required"),
        (
            {"QueueAttributes": {"DeadLetterConfiguration": {"TargetType": "NONE", "MaxReceiveCount": 1}}},
            ValidationError,
            "must not",
        ),
        ({"Tags": {"aws:x": ""}}, InvalidArgument, "aws:"),
    ],
    ids=repr,
)
async def test_what_cannot_be_a_queue_is_refused(stream: Any, members: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        await create(stream, **members)
    assert (await stream.ask("ListQueues"))["QueueSummaries"] == []


async def test_limits(stream: Any) -> None:
    await stream.ask("CreateStream", StreamName="provisioned", ShardCount=1)
    with pytest.raises(ValidationError, match="On-Demand"):
        await create(stream, stream=ARN[:-1] + "provisioned")
    with pytest.raises(InvalidArgument, match="exactly one"):
        await stream.ask("CreateQueue", QueueName="q", StreamConfigurationList=[{"StreamARN": ARN}] * 2)
    with pytest.raises(InvalidArgument, match="takes one"):
        await stream.ask("ListQueues", StreamFilter=[{"StreamARN": ARN}] * 2)
    for number in range(20):
        await create(stream, f"q{number}")
    with pytest.raises(LimitExceeded, match="20 registered consumers"):
        await create(stream)
    with pytest.raises(LimitExceeded, match="20 registered consumers"):
        await stream.ask("RegisterStreamConsumer", StreamARN=ARN, ConsumerName="c")
    with pytest.raises(ResourceInUse, match="already exists"):
        await create(stream, "q1")
    elsewhere = Scope(region="eu-west-1")
    assert (await stream.ask("ListQueues", scope=elsewhere))["QueueSummaries"] == []


async def test_entries_that_are_no_handles_fail_alone(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = await create(stream)
    await stream.put("a")
    (record,) = await receive(stream, queue)
    iterator = await stream.iterator()
    entries = [record, {"ReceiptHandle": "nonsense"}, {"ReceiptHandle": iterator}]
    assert await acknowledge(stream, queue, entries) == ["", *["InvalidArgumentException"] * 2]
    with pytest.raises(ResourceNotFound, match="not found"):
        await receive(stream, queue + "0")
    with pytest.raises(ValidationError):
        await receive(stream, ARN)
    monkeypatch.setattr(dispatcher, "WAITERS_MAX", 0)
    with pytest.raises(Throttling, match="receives are waiting"):
        await receive(stream, queue)


async def test_so_many_records_are_out_at_a_time_and_answers_have_their_size(
    stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supply, "OUT_MAX", 3)
    monkeypatch.setattr(supply, "ANSWER_SIZE_MAX", 2000)
    queue = await create(stream)
    await stream.put("a", "b", "c", "d", "e", data=bytes(900))
    first = await receive(stream, queue)
    assert keys(first) == ["a", "b"]
    second = await receive(stream, queue)
    assert keys(second) == ["c", "d"], "the bound is looked at before the answer, not within"
    waiting = asyncio.create_task(stream.ask("ReceiveQueueRecords", QueueARN=queue, WaitTimeSeconds=20))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert await acknowledge(stream, queue, first) == ["", ""]
    assert keys((await waiting)["QueueRecords"]) == ["e"]
    stream.clock.advance(30)
    assert keys(await receive(stream, queue)) == ["c", "d"]
    assert keys(await receive(stream, queue)) == ["e"]


async def test_a_full_disk_loses_nothing_and_repeats_what_could_not_be_answered(stream: Any) -> None:
    queue = await create(stream)
    assert await receive(stream, queue) == [], "it is open: where processes share the log, opening writes too"
    await stream.put("a", "b")
    stream.log.full.add("queues/")
    with pytest.raises(HeadraceError, match="no space left"):
        await receive(stream, queue, Limit=1)
    stream.log.full.clear()
    (b,) = await receive(stream, queue)
    stream.log.full.add("queues/")
    with pytest.raises(HeadraceError, match="no space left"):
        await acknowledge(stream, queue, [b])
    stream.log.full.clear()
    stream.clock.advance(31)
    (again,) = await receive(stream, queue)
    assert again["PartitionKey"] == "a"
    assert again["ReceiveCount"] == 2
    await stream.restart()
    stream.clock.advance(31)
    assert keys(await receive(stream, queue)) == ["a"], "the snapshot made up for what the journal had not taken"


async def test_snapshots_keep_the_journal_short(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SNAPSHOT_EVENTS", 5)
    queue = await create(stream)
    for number in range(20):
        await stream.put(f"k{number}")
        found = await receive(stream, queue)
        assert keys(found) == [f"k{number}"]
        if number % 3:
            assert await acknowledge(stream, queue, found) == [""]
    (name,) = [one for one in await stream.log.shards() if one.startswith("queues/")]
    first, end = await stream.log.bounds(name)
    assert end - first <= 7
    await stream.restart()
    stream.clock.advance(31)
    found = await receive(stream, queue)
    assert keys(found) == [f"k{number}" for number in range(0, 20, 3)]


async def test_records_that_a_crash_took_from_the_log_do_not_hide_those_that_follow(stream: Any) -> None:
    queue = await create(stream)
    await stream.put("a", "b", "c")
    assert len(await receive(stream, queue)) == 3
    # As under a sync policy that lets the log fall behind its journals: the queue knows more offsets than there are.
    (shard,) = [one for one in await stream.log.shards() if one.startswith("streams/")]
    await stream.service.close()
    bounds = stream.log.bounds

    async def short(name: str) -> tuple[int, int]:
        return (0, 1) if name == shard else await bounds(name)

    stream.log.bounds = short
    from streams.service import Service

    stream.service = Service(stream.log, clock=stream.clock, settings=stream.settings, random=stream.random)
    await stream.service.open()
    stream.clock.advance(31)
    assert keys(await receive(stream, queue)) == ["a"], "b and c are gone, and forgotten"
    del stream.log.bounds
    assert keys(await receive(stream, queue)) == ["b", "c"]


async def test_closing_ends_waits_and_what_comes_after_is_answered_at_once(stream: Any) -> None:
    queue = await create(stream)
    waiting = asyncio.create_task(stream.ask("ReceiveQueueRecords", QueueARN=queue, WaitTimeSeconds=20))
    await asyncio.sleep(0.05)
    stream.service.end_subscriptions()
    assert (await waiting)["QueueRecords"] == []
    assert (await stream.ask("ReceiveQueueRecords", QueueARN=queue))["QueueRecords"] == []
