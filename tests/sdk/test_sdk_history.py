"""A reading that ends: everything that was there, children after parents, up to a time."""

from __future__ import annotations

from gateway.testing import TestServer
from streams.core.records import Records
from streams.sdk.client import LATEST, TRIM_HORIZON
from streams.sdk.history import history
from streams.sdk.http import HttpClient


async def test_everything_that_was_there_through_a_scaling(headrace: TestServer) -> None:
    kinesis = headrace.client()
    kinesis.create_stream(StreamName="s", ShardCount=1)
    client = HttpClient(headrace.url)
    keys = [f"k{number}" for number in range(7)]
    try:
        for round_ in range(12):
            await client.put("s", Records.of(keys, [str(round_).encode()] * len(keys)))
            if round_ % 4 == 3:
                target = (2, 4, 2)[round_ // 4]
                kinesis.update_shard_count(StreamName="s", TargetShardCount=target, ScalingType="UNIFORM_SCALING")
        seen: dict[str, list[int]] = {}
        late = False
        async for batch in history(client, "s", TRIM_HORIZON):
            if not late:
                await client.put("s", Records.of(keys, [b"99"] * len(keys)))  # not there when it began
                late = True
            for key, data in zip(batch.records.partition_key.to_pylist(), batch.records.data.to_pylist(), strict=True):
                seen.setdefault(key, []).append(int(data))
        assert seen == {key: list(range(12)) for key in keys}
        assert [batch async for batch in history(client, "s", LATEST)] == []
        assert [batch async for batch in history(client, "s", TRIM_HORIZON, until_ms=0)] == []
    finally:
        await client.close()


async def test_up_to_a_time(headrace: TestServer) -> None:
    headrace.client().create_stream(StreamName="s", ShardCount=1)
    client = HttpClient(headrace.url)
    try:
        await client.put("s", Records.of(["a"], [b"1"]))
        headrace.advance(10)
        middle_ms = headrace.now_ms() - 5000
        await client.put("s", Records.of(["a"], [b"2"]))
        batches = [batch async for batch in history(client, "s", TRIM_HORIZON, middle_ms)]
        assert [one for batch in batches for one in batch.records.data.to_pylist()] == [b"1"]
    finally:
        await client.close()
