"""The native door of a running headrace, over a real socket: every method, every refusal, every scope."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from gateway.app import App
from gateway.http import Request
from gateway.native import NativeDoor, question
from streams.core.errors import (
    InvalidArgument,
    InvalidSignature,
    MissingAuthenticationToken,
    RequestError,
    ResourceInUse,
    ResourceNotFound,
    UnrecognizedClient,
    request_errors,
)
from streams.core.records import ProducerMark, Records
from streams.core.scope import Scope, delivery_source
from streams.core.settings import Settings
from streams.sdk.client import LATEST, TRIM_HORIZON, at_timestamp
from streams.sdk.http import HttpClient
from streams.sdk.producer import Producer
from streams.wire import native

SHARD = "shardId-000000000000"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with await App.start(Settings(port=0, data=str(tmp_path))) as app:
        yield app


@pytest.fixture
async def client(app: App) -> AsyncIterator[HttpClient]:
    client = HttpClient(app.url)
    yield client
    await client.close()


def records(count: int, first: int = 0) -> Records:
    return Records.of(
        [f"key {i}" for i in range(first, first + count)], [b"%d" % i for i in range(first, first + count)]
    )


async def test_a_stream_lives_and_dies(client: HttpClient) -> None:
    await client.create_stream("orders", 2, retention_hours=48)
    await client.create_stream("bills")
    assert await client.list_streams() == ["bills", "orders"]
    described = await client.describe_stream("orders")
    assert (described.name, described.status, described.retention_hours) == ("orders", "ACTIVE", 48)
    first, second = described.shards
    assert (first.hash_range.first, second.hash_range.last) == (0, 2**128 - 1)
    await client.delete_stream("orders")
    assert await client.list_streams() == ["bills"]
    with pytest.raises(ResourceNotFound):
        await client.describe_stream("orders")


async def test_records_go_in_and_come_out(client: HttpClient) -> None:
    await client.create_stream("orders", 3)
    put = records(1000)
    receipt = await client.put("orders", put)
    assert len(receipt.shard) == len(receipt.offset) == 1000
    positions = await client.find("orders", TRIM_HORIZON)
    assert positions == dict.fromkeys(receipt.shards, 0)
    fetch = await client.fetch("orders", positions)
    assert not fetch.ended
    assert fetch.tips == await client.find("orders", LATEST)
    found = {
        (batch.shard, batch.first + i): (key, data)
        for batch in fetch.batches
        for i, (key, data) in enumerate(
            zip(batch.records.partition_key.to_pylist(), batch.records.data.to_pylist(), strict=True)
        )
    }
    sent = zip(put.partition_key.to_pylist(), put.data.to_pylist(), strict=True)
    places = zip(receipt.shard.to_pylist(), receipt.offset.to_pylist(), strict=True)
    assert found == {
        (receipt.shards[shard], offset): record for (shard, offset), record in zip(places, sent, strict=True)
    }
    arrivals = fetch.batches[0].records.arrival_ms()
    assert (await client.find("orders", at_timestamp(int(arrivals[0])), (fetch.batches[0].shard,))).keys() == {
        fetch.batches[0].shard
    }


async def test_explicit_hash_keys_travel(client: HttpClient) -> None:
    await client.create_stream("orders", 2)
    put = Records.of(["a", "b", "c"], [b"1", b"2", b"3"], [b"\xff" * 16, None, b"\x00" * 16])
    receipt = await client.put("orders", put)
    assert (receipt.shard[0].as_py(), receipt.shard[2].as_py()) == (1, 0)
    fetch = await client.fetch("orders", await client.find("orders", TRIM_HORIZON))
    kept = {
        data: key
        for batch in fetch.batches
        if batch.records.hash_key is not None
        for data, key in zip(batch.records.data.to_pylist(), batch.records.hash_key.to_pylist(), strict=True)
    }
    assert kept.get(b"1") == b"\xff" * 16
    assert kept.get(b"3") == b"\x00" * 16


async def test_nothing_put_is_nothing_stored(client: HttpClient) -> None:
    await client.create_stream("orders")
    receipt = await client.put("orders", Records.empty())
    assert len(receipt.offset) == 0
    fetch = await client.fetch("orders", {SHARD: 0})
    assert (fetch.batches, fetch.tips) == ((), {SHARD: 0})


async def test_a_fetch_waits_for_the_first_record(client: HttpClient) -> None:
    await client.create_stream("orders")
    waiting = asyncio.create_task(client.fetch("orders", {SHARD: 0}, wait_ms=60_000))
    await client.put("orders", records(1))
    (batch,) = (await waiting).batches
    assert (batch.first, batch.next) == (0, 1)


async def test_a_put_is_repeated_under_its_mark_once(client: HttpClient) -> None:
    await client.create_stream("orders")
    mark = ProducerMark("Bürgeramt / Köln %41", 7)
    first = await client.put("orders", records(3), mark)
    assert (await client.put("orders", records(3), mark)).offset.equals(first.offset)
    assert (await client.find("orders", LATEST)) == {SHARD: 3}


async def test_checkpoints_are_kept_by_any_name(client: HttpClient) -> None:
    await client.create_stream("orders", 2)
    name = "büro/../1?x=%2F"
    assert await client.load_checkpoint("orders", name) == {}
    await client.save_checkpoint("orders", name, {SHARD: 5})
    await client.save_checkpoint("orders", name, {"shardId-000000000001": 6})
    assert await client.load_checkpoint("orders", name) == {SHARD: 5, "shardId-000000000001": 6}


async def test_hidden_streams_are_out_of_reach_from_outside(client: HttpClient) -> None:
    hidden = delivery_source("to-lake")
    for attempt in (
        client.create_stream(hidden),
        client.put("groups/orders", records(2)),
        client.describe_stream(hidden),
        client.fetch(hidden, {SHARD: 0}),
        client.save_checkpoint(hidden, "c", {SHARD: 1}),
        client.delete_stream(hidden),
    ):
        with pytest.raises(InvalidArgument, match="a slash marks those that Headrace keeps for itself"):
            await attempt
    with pytest.raises(ResourceNotFound, match="firehose/to-lake"):
        await client.put(hidden, records(2))  # may be put into, where there is one


def test_what_is_put_into_a_delivery_stream_needs_its_permission() -> None:
    def asked(method: str, path: str) -> tuple[str, str | None]:
        return question(Request(method, path, {}, b""), Scope())

    assert asked("POST", "/native/v1/streams/firehose%2Flake/records") == (
        "firehose:PutRecordBatch",
        "arn:aws:firehose:us-east-1:000000000000:deliverystream/lake",
    )
    assert asked("POST", "/native/v1/streams/lake/records") == (
        "kinesis:PutRecords",
        "arn:aws:kinesis:us-east-1:000000000000:stream/lake",
    )


async def test_refusals_arrive_as_the_errors_that_they_are(client: HttpClient) -> None:
    await client.create_stream("orders")
    with pytest.raises(ResourceInUse, match="orders"):
        await client.create_stream("orders")
    with pytest.raises(InvalidArgument, match="name"):
        await client.create_stream("no spaces")
    with pytest.raises(InvalidArgument, match="at least one shard"):
        await client.create_stream("none", 0)
    with pytest.raises(InvalidArgument, match=">= 0"):
        await client.fetch("orders", {SHARD: -1})
    with pytest.raises(InvalidArgument, match="body"):
        await client.fetch("orders", {SHARD: 1 << 63})
    with pytest.raises(ResourceNotFound):
        await client.fetch("orders", {"shardId-000000000009": 0})
    with pytest.raises(ResourceNotFound):
        await client.put("bills", records(1))
    with pytest.raises(InvalidArgument, match="1 to 256 characters"):
        await client.put("orders", Records.of(["k" * 257], [b""]))
    with pytest.raises(InvalidArgument, match="1 to 256 characters"):
        await client.put("orders", Records.of([""], [b""]))
    with pytest.raises(InvalidArgument, match="record size"):
        await client.put("orders", Records.of(["k"], [b"x" * (1 << 20)]))
    with pytest.raises(InvalidArgument, match="64 bytes"):
        await client.put("orders", records(1), ProducerMark("p" * 65, 0))
    with pytest.raises(RequestError, match="exceeds"):
        await client.put("orders", Records.of(["k"] * 70, [b"x" * (1 << 20)] * 70))
    assert await client.find("orders", LATEST) == {SHARD: 0}


@pytest.mark.parametrize("kind", request_errors().values())
def test_every_request_error_crosses_the_door_as_itself(kind: type[RequestError]) -> None:
    again = native.read_error(kind.status, native.write_error(kind("Because.")), "http://x")
    assert (type(again), again.message, again.retry) == (kind, "Because.", kind.retry)


async def test_regions_are_apart(app: App, client: HttpClient) -> None:
    north, south = (HttpClient(app.url, scope=Scope(region=region)) for region in ("eu-north-1", "sa-east-1"))
    await north.create_stream("orders")
    assert "eu-north-1" in (await north.describe_stream("orders")).arn
    assert await south.list_streams() == await client.list_streams() == []
    with pytest.raises(ResourceNotFound):
        await south.put("orders", records(1))
    for each in (north, south):
        await each.close()


async def test_where_signatures_are_checked_the_signature_rules(tmp_path: Path) -> None:
    async with await App.start(Settings(port=0, data=str(tmp_path), credentials={"AKID": "secret"})) as app:
        right = HttpClient(app.url, scope=Scope(region="eu-west-1"), credentials=("AKID", "secret"))
        await right.create_stream("orders")
        await right.put("orders", records(10), ProducerMark("p", 1))
        assert "eu-west-1" in (await right.describe_stream("orders")).arn
        assert await right.load_checkpoint("orders", "a b/c") == {}
        for credentials, error in (
            (None, MissingAuthenticationToken),
            (("AKID", "wrong"), InvalidSignature),
            (("NOBODY", "secret"), UnrecognizedClient),
        ):
            wrong = HttpClient(app.url, scope=Scope(region="eu-west-1"), credentials=credentials)
            with pytest.raises(error):
                await wrong.list_streams()
            await wrong.close()
        await right.close()


async def test_a_signed_region_is_not_overruled(app: App) -> None:
    authorization = (
        "AWS4-HMAC-SHA256 Credential=a/20261125/eu-west-1/kinesis/aws4_request, SignedHeaders=host, Signature=0"
    )
    headers = {"authorization": authorization, native.REGION_HEADER: "us-west-2"}
    for region, given in (("eu-west-1", headers), ("us-west-2", {native.REGION_HEADER: "us-west-2"})):
        client = HttpClient(app.url, scope=Scope(region=region))
        await client.create_stream("orders")
        await client.close()
        asked = urllib.request.Request(app.url + native.stream_path("orders"), headers=given)
        answer = await asyncio.to_thread(lambda asked=asked: urllib.request.urlopen(asked).read())
        assert region in msgspec.json.decode(answer)["arn"]


class Silent:
    """No service: whatever is asked of it fails as a bug would."""

    def __getattr__(self, name: str) -> object:
        raise KeyError(name)


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "code"),
    [
        ("GET", "/native/v1/", {}, b"", "UnknownOperationException"),
        ("GET", "/native/v1/streamsX", {}, b"", "UnknownOperationException"),
        ("GET", "/native/v1/streams/", {}, b"", "UnknownOperationException"),
        ("POST", "/native/v1/streams", {}, b"", "UnknownOperationException"),
        ("GET", "/native/v1/streams/a/CONSUMER", {}, b"", "UnknownOperationException"),
        ("GET", "/native/v1/streams/a/checkpoints/b/c", {}, b"", "UnknownOperationException"),
        ("GET", "/native/v1/streams/%FF", {}, b"", "InvalidArgumentException"),
        ("PUT", "/native/v1/streams/a", {}, b"[]", "InvalidArgumentException"),
        ("PUT", "/native/v1/streams/a", {}, b'{"shard": 1}', "InvalidArgumentException"),
        ("PUT", "/native/v1/streams/a", {}, b'{"shards": -1}', "InvalidArgumentException"),
        ("POST", "/native/v1/streams/a/find", {}, b'{"start": "noon"}', "InvalidArgumentException"),
        (
            "POST",
            "/native/v1/streams/a/find",
            {},
            b'{"start": "timestamp:99999999999999999999"}',
            "InvalidArgumentException",
        ),
        ("POST", "/native/v1/streams/a/fetch", {}, b"\xff", "InvalidArgumentException"),
        ("POST", "/native/v1/streams/a/fetch", {}, b"", "InvalidArgumentException"),
        ("PUT", "/native/v1/streams/a/checkpoints/b", {}, b'{"s": 1.5}', "InvalidArgumentException"),
        ("POST", "/native/v1/streams/a/records", {native.PRODUCER_HEADER: "p"}, b"", "InvalidArgumentException"),
        (
            *("POST", "/native/v1/streams/a/records"),
            {native.PRODUCER_HEADER: "%FF", native.SEQUENCE_HEADER: "1"},
            *(b"", "InvalidArgumentException"),
        ),
        (
            *("POST", "/native/v1/streams/a/records"),
            {native.PRODUCER_HEADER: "p", native.SEQUENCE_HEADER: "-1"},
            *(b"", "InvalidArgumentException"),
        ),
        ("GET", "/native/v1/streams/a/records?from=5", {}, b"", "InvalidArgumentException"),
        ("GET", "/native/v1/streams/a/records?from=later", {}, b"", "InvalidArgumentException"),
        ("GET", "/native/v1/streams/a/records?follow=1", {}, b"", "InvalidArgumentException"),
        ("GET", "/native/v1/streams/a/records?since=5", {}, b"", "InvalidArgumentException"),
        ("GET", "/native/v1/streams", {native.REGION_HEADER: "no region"}, b"", "InvalidArgumentException"),
        ("GET", "/native/v1/streams", {}, b"", "InternalFailure"),
    ],
)
async def test_what_is_not_asked_rightly_is_answered_with_a_sentence(
    method: str, path: str, headers: dict[str, str], body: bytes, code: str
) -> None:
    door = NativeDoor(Silent())  # type: ignore[arg-type]  # nothing may reach it
    response = await door.handle(Request(method, path, headers, body), Scope())
    assert isinstance(response.body, bytes)
    told = msgspec.json.decode(response.body)
    assert (told["__type"], response.status) == (code, request_errors()[code].status)
    assert told["message"]


async def test_a_server_that_restarts_is_found_again(tmp_path: Path) -> None:
    settings = Settings(port=0, data=str(tmp_path))
    app = await App.start(settings)
    client = HttpClient(app.url)
    await client.create_stream("orders")
    await client.put("orders", records(5))
    await app.stop()
    with pytest.raises(RequestError, match=app.url) as raised:
        await client.put("orders", records(5))
    assert raised.value.retry
    app = await App.start(msgspec.structs.replace(settings, port=int(app.url.rpartition(":")[2])))
    await client.put("orders", records(5))
    assert await client.find("orders", LATEST) == {SHARD: 10}
    await client.close()
    await app.stop()


async def test_a_producer_outlives_restarts_without_loss_or_repetition(tmp_path: Path) -> None:
    settings = Settings(port=0, data=str(tmp_path))
    app = await App.start(settings)
    settings = msgspec.structs.replace(settings, port=int(app.url.rpartition(":")[2]))
    client = HttpClient(app.url)
    await client.create_stream("orders", 2)
    async with Producer(client, "orders", batch_count_max=10) as producer:
        for i in range(300):
            await producer.put(b"%d" % i, partition_key=f"key {i}")
            if i % 100 == 50:
                await asyncio.sleep(0)
                await app.stop()
                app = await App.start(settings)
    fetch = await client.fetch("orders", await client.find("orders", TRIM_HORIZON))
    data = [int(one) for batch in fetch.batches for one in batch.records.data.to_pylist()]
    assert sorted(data) == list(range(300))
    await client.close()
    await app.stop()
