"""A stream's records as one Arrow IPC stream, read by tools that know nothing of Headrace."""

from __future__ import annotations

import asyncio
import gc
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import msgspec
import polars as pl
import pyarrow as pa
import pytest

from gateway import native_records
from gateway.app import App
from streams.core.records import SCHEMA, Records
from streams.core.settings import Settings
from streams.sdk.http import HttpClient
from streams.sdk.tables import TABLE_SCHEMA
from streams.wire import native

SHARD = "shardId-000000000000"

BROKEN_OFF = "IncompleteRead|closed|reset"
"""What urllib says where an answer ends before its end: nobody takes it for the end of the stream."""


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with await App.start(Settings(port=0, data=str(tmp_path))) as app:
        yield app


@pytest.fixture
async def client(app: App) -> AsyncIterator[HttpClient]:
    client = HttpClient(app.url)
    await client.create_stream("orders", 2)
    yield client
    await client.close()


def numbered(first: int, count: int) -> Records:
    """Records for the first shard."""
    return Records.of(
        [f"key {i}" for i in range(count)], [b"%d" % (first + i) for i in range(count)], [b"\x00" * 16] * count
    )


def url(app: App, query: str) -> str:
    return f"{app.url}{native.stream_path('orders', 'records')}?{query}"


async def table(app: App, query: str) -> pa.Table:
    def read() -> pa.Table:
        with urllib.request.urlopen(url(app, query)) as answer:
            return pa.ipc.open_stream(answer).read_all()

    return await asyncio.to_thread(read)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what threads do sets no event
            await asyncio.sleep(0.001)


async def test_what_a_shard_holds_ends_at_its_tip(app: App, client: HttpClient) -> None:
    assert (await table(app, f"shard={SHARD}")).num_rows == 0
    await client.put("orders", numbered(0, 10))
    found = await table(app, f"shard={SHARD}")
    assert found.schema == SCHEMA
    assert found["data"].to_pylist() == [b"%d" % i for i in range(10)]
    assert found["offset"].to_pylist() == list(range(10))
    assert (await table(app, f"shard={SHARD}&from=7"))["offset"].to_pylist() == [7, 8, 9]
    assert (await table(app, f"shard={SHARD}&from=latest")).num_rows == 0
    assert (await table(app, f"shard={SHARD}&from=999")).num_rows == 0
    arrived = found["arrival"][0].as_py()
    since = f"timestamp:{int(arrived.timestamp() * 1000)}"
    assert (await table(app, f"shard={SHARD}&from={since}&follow=false")).num_rows == 10
    assert (await table(app, f"shard={SHARD}&from=timestamp:99999999999999")).num_rows == 0


async def test_all_shards_are_told_apart(app: App, client: HttpClient) -> None:
    await client.put("orders", Records.of([f"key {i}" for i in range(100)], [b"x"] * 100))
    found = await table(app, "from=trim_horizon")
    assert found.schema == TABLE_SCHEMA == native_records.SHARDED_SCHEMA
    counts = found.group_by("shard").aggregate([("offset", "count")]).sort_by("shard")
    tips = await client.find("orders", native.parse_start("latest"))
    assert dict(zip(*counts.to_pydict().values(), strict=True)) == tips


async def test_a_large_shard_comes_in_batches(app: App, client: HttpClient) -> None:
    for _ in range(3):
        await client.put("orders", Records.of(["k"] * 1000, [bytes(1000)] * 1000, [b"\x00" * 16] * 1000))
    found = await table(app, f"shard={SHARD}")
    assert found["offset"].to_pylist() == list(range(3000))
    assert max(batch.nbytes for batch in found.to_batches()) < 2 * native_records.BATCH_SIZE_MAX


async def test_polars_reads_it(app: App, client: HttpClient) -> None:
    await client.put("orders", numbered(0, 3))
    frame = await asyncio.to_thread(lambda: pl.read_ipc_stream(urllib.request.urlopen(url(app, "")).read()))
    assert frame["data"].to_list() == [b"0", b"1", b"2"]
    back = Records(frame["data"].to_arrow(), frame["partition_key"].to_arrow())
    assert len(back) == 3


async def test_refusals_come_before_the_stream(app: App, client: HttpClient) -> None:
    for query, code in (
        ("shard=shardId-000000000007", "ResourceNotFoundException"),
        ("shard=shardId-000000000007&from=3", "ResourceNotFoundException"),
        ("from=3", "InvalidArgumentException"),
        (f"shard={SHARD}&from=99999999999999999999", "InvalidArgumentException"),
    ):
        with pytest.raises(HTTPError) as raised:
            await table(app, query)
        assert msgspec.json.decode(raised.value.read())["__type"] == code
        raised.value.close()


class Follower:
    """A thread that reads the endless stream as pyarrow does."""

    def __init__(self, address: str) -> None:
        self.schema: pa.Schema = None
        self.rows: list[dict[str, Any]] = []
        self._answer: Any = None
        self._reading = asyncio.create_task(asyncio.to_thread(self._read, address))

    def _read(self, address: str) -> None:
        self._answer = urllib.request.urlopen(address)
        with self._answer:
            reader = pa.ipc.open_stream(self._answer)
            self.schema = reader.schema
            for batch in reader:
                self.rows += batch.to_pylist()

    async def ended(self) -> None:
        await self._reading


async def operate(app: App, operation: str, members: dict[str, str]) -> None:
    """What an operator does to a stream meanwhile."""
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"Kinesis_20131202.{operation}"}
    headers["authorization"] = "AWS4-HMAC-SHA256 Credential=a/20261125/us-east-1/kinesis/aws4_request, Signature=0"
    asked = urllib.request.Request(app.url, msgspec.json.encode(members), headers)
    await asyncio.to_thread(lambda: urllib.request.urlopen(asked).close())


async def test_a_follower_gets_what_arrives_and_ends_with_its_shard(app: App, client: HttpClient) -> None:
    await client.put("orders", numbered(0, 2))
    shard = Follower(url(app, f"shard={SHARD}&from=1&follow=true"))
    stream = Follower(url(app, "follow=true"))
    await until(lambda: len(shard.rows) == 1 and len(stream.rows) == 2)
    await client.put("orders", numbered(2, 2))
    await until(lambda: len(shard.rows) == 3 and len(stream.rows) == 4)
    members = {"StreamName": "orders", "ShardToSplit": SHARD, "NewStartingHashKey": "99"}
    await operate(app, "SplitShard", members)
    await shard.ended()
    assert [row["data"] for row in shard.rows] == [b"1", b"2", b"3"]
    await client.put("orders", numbered(4, 1))
    await until(lambda: len(stream.rows) == 5)
    assert (stream.rows[-1]["shard"], stream.rows[-1]["data"]) == ("shardId-000000000002", b"4")
    await client.delete_stream("orders")
    with pytest.raises(Exception, match=BROKEN_OFF):
        await stream.ended()


async def test_a_stream_that_is_deleted_breaks_off(app: App, client: HttpClient) -> None:
    await client.put("orders", numbered(0, 2))
    follower = Follower(url(app, f"shard={SHARD}&follow=true"))
    await until(lambda: len(follower.rows) == 2)
    await client.delete_stream("orders")
    with pytest.raises(Exception, match=BROKEN_OFF):
        await follower.ended()


async def test_a_follower_of_all_shards_knows_the_columns_before_the_first_record(app: App, client: HttpClient) -> None:
    follower = Follower(url(app, "from=latest&follow=true"))
    await until(lambda: follower.schema is not None)
    assert follower.schema == TABLE_SCHEMA
    await client.put("orders", Records.of(["a", "b"], [b"1", b"2"], [b"\x00" * 16, b"\xff" * 16]))
    await until(lambda: len(follower.rows) == 2)
    assert {row["shard"] for row in follower.rows} == {SHARD, "shardId-000000000001"}
    await app.stop()
    with pytest.raises(Exception, match=BROKEN_OFF):
        await follower.ended()


@pytest.mark.parametrize("query", [f"shard={SHARD}&follow=true", "follow=true"])
async def test_a_follower_that_goes_away_leaves_nothing_behind(app: App, client: HttpClient, query: str) -> None:
    before = len(asyncio.all_tasks())
    streams = []
    for _ in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(app.url.rpartition(":")[2]))
        writer.write(f"GET {url(app, query).removeprefix(app.url)} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await reader.readuntil(b"partition_key")
        streams.append(writer)
    assert len(asyncio.all_tasks()) > before
    for writer in streams:
        writer.close()
    gc.collect()
    await until(lambda: len(asyncio.all_tasks()) <= before)
