"""Faults on purpose strike what their patterns name, as often as asked, and the same way each run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streams.core import settings
from streams.core.errors import ExpiredIterator, InternalFailure, LimitExceeded, SettingsError
from streams.core.settings import Fault


async def start(opened: Any, *faults: Fault, seed: int = 0) -> Any:
    kinesis = await opened(faults=faults, faults_seed=seed)
    for name in ("s", "t"):
        await kinesis.ask("CreateStream", StreamName=name, ShardCount=2)
    return kinesis


async def test_an_error_for_an_operation_and_a_stream(opened: Any) -> None:
    kinesis = await start(opened, Fault(operation="Describe*", stream="s", error="LimitExceededException"))
    with pytest.raises(LimitExceeded, match=r"Injected fault: DescribeStream s\."):
        await kinesis.ask("DescribeStream", StreamName="s")
    with pytest.raises(LimitExceeded):
        await kinesis.ask("DescribeStreamSummary", StreamARN="arn:aws:kinesis:us-east-1:000000000000:stream/s")
    await kinesis.ask("DescribeStream", StreamName="t")
    await kinesis.ask("ListShards", StreamName="s")


async def test_an_error_for_a_shard(opened: Any) -> None:
    kinesis = await start(
        opened,
        Fault(operation="GetRecords", shard="*1", error="ExpiredIteratorException", message="late"),
        Fault(operation="PutRecord", shard="*0", error="InternalFailure"),
        Fault(operation="GetRecords", stream="t", error="InternalFailure"),
    )
    await kinesis.read(await kinesis.iterator(shard="0"))
    with pytest.raises(ExpiredIterator, match=r"^late$"):
        await kinesis.read(await kinesis.iterator(shard="1"))
    with pytest.raises(InternalFailure):
        await kinesis.read(await kinesis.iterator(shard="0", stream="t"))
    await kinesis.ask("PutRecord", StreamName="s", PartitionKey="k", Data="", ExplicitHashKey=str(2**128 - 1))
    with pytest.raises(InternalFailure, match="PutRecord s/shardId-000000000000"):
        await kinesis.ask("PutRecord", StreamName="s", PartitionKey="k", Data="", ExplicitHashKey="0")


async def failed_places(kinesis: Any) -> list[int]:
    records = [{"PartitionKey": f"k{number}", "Data": ""} for number in range(200)]
    reply = await kinesis.ask("PutRecords", StreamName="s", Records=records)
    failed = [place for place, record in enumerate(reply["Records"]) if "ErrorCode" in record]
    assert reply["FailedRecordCount"] == len(failed)
    keys = await kinesis.read(await kinesis.iterator()) + await kinesis.read(await kinesis.iterator(shard="1"))
    assert sorted(keys) == sorted(f"k{place}" for place in range(200) if place not in failed)
    return failed


async def test_some_records_of_a_batch_fail_and_the_seed_says_which(opened: Any) -> None:
    fault = Fault(records=True, probability=0.3, error="ProvisionedThroughputExceededException")
    kinesis = await start(opened, fault)
    failed = await failed_places(kinesis)
    assert 20 < len(failed) < 120
    await kinesis.ask("DeleteStream", StreamName="s")
    await kinesis.restart()
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=2)
    assert await failed_places(kinesis) == failed


async def test_all_records_of_a_batch_may_fail(opened: Any) -> None:
    kinesis = await start(opened, Fault(records=True))
    assert await failed_places(kinesis) == list(range(200))


async def test_latency_is_the_clocks(opened: Any, clock: Any) -> None:
    kinesis = await start(opened, Fault(operation="ListShards", latency_ms=250))
    call = asyncio.create_task(kinesis.ask("ListShards", StreamName="s"))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not call.done()
    clock.advance(0.25)
    assert len((await call)["Shards"]) == 2


async def test_faults_come_from_the_environment(opened: Any) -> None:
    text = '[{"operation": "Put*", "probability": 0.5, "error": "InternalFailure"}]'
    chosen = settings.load(environment={"HEADRACE_FAULTS": text})
    assert chosen.faults == (Fault(operation="Put*", probability=0.5, error="InternalFailure"),)
    for wrong, why in (('[{"op": 1}]', "unknown field `op`"), ('[{"probability": 2}]', "<= 1.0"), ("[", "is not JSON")):
        with pytest.raises(SettingsError, match=why):
            settings.load(environment={"HEADRACE_FAULTS": wrong})
    with pytest.raises(SettingsError, match="there is no error Oops; there are AccessDeniedException"):
        await opened(faults=(Fault(error="Oops"),))
