"""SubscribeToShard over real sockets: boto3, aiobotocore, HTTP/2 by hand; readers who are slow, gone, or cut off."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import cbor2
import pytest
from aiobotocore.session import get_session
from botocore.config import Config
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import ClientError, EventStreamError
from gateway_support import Peer, until
from hyperframe.frame import GoAwayFrame

from gateway.app import App
from streams.core.settings import Settings
from streams.wire.cbor import plain

KEYS = {"region_name": "us-east-1", "aws_access_key_id": "k", "aws_secret_access_key": "s"}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with await App.start(Settings(data=str(tmp_path), port=0, log_sync="os")) as started:
        yield started


@pytest.fixture
def kinesis(app: App) -> Iterator[Any]:
    client = boto3.client("kinesis", endpoint_url=app.url, config=Config(retries={"total_max_attempts": 1}), **KEYS)
    yield client
    client.close()


async def made(kinesis: Any, shards: int = 1) -> str:
    """A stream "s" with a consumer, whose ARN it is."""

    def make() -> str:
        kinesis.create_stream(StreamName="s", ShardCount=shards)
        arn = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
        return kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]["ConsumerARN"]

    return await asyncio.to_thread(make)


def put(kinesis: Any, *data: bytes) -> None:
    kinesis.put_records(StreamName="s", Records=[{"PartitionKey": "k", "Data": one} for one in data])


async def test_boto3_reads_what_is_there_what_comes_and_the_children(kinesis: Any) -> None:
    arn = await made(kinesis)

    def read() -> tuple[list[bytes], list[str]]:
        put(kinesis, b"a", b"b")
        found, children = [], []
        start = {"Type": "TRIM_HORIZON"}
        for event in kinesis.subscribe_to_shard(ConsumerARN=arn, ShardId="0", StartingPosition=start)["EventStream"]:
            told = event["SubscribeToShardEvent"]
            found += [record["Data"] for record in told["Records"]]
            if len(found) == 2:
                put(kinesis, b"c")
            elif len(found) == 3 and "ChildShards" not in told:
                split = {"ShardToSplit": "0", "NewStartingHashKey": str(2**127)}
                kinesis.split_shard(StreamName="s", **split)
            children = [child["ShardId"] for child in told.get("ChildShards", [])]
        return found, children

    assert await asyncio.to_thread(read) == ([b"a", b"b", b"c"], ["shardId-000000000001", "shardId-000000000002"])


async def test_aiobotocore_reads_what_comes(app: App, kinesis: Any) -> None:
    arn = await made(kinesis)
    async with get_session().create_client("kinesis", endpoint_url=app.url, **KEYS) as client:
        answer = await client.subscribe_to_shard(ConsumerARN=arn, ShardId="0", StartingPosition={"Type": "LATEST"})
        await asyncio.to_thread(put, kinesis, b"a")
        async for event in answer["EventStream"]:
            assert [record["Data"] for record in event["SubscribeToShardEvent"]["Records"]] == [b"a"]
            break
        answer["EventStream"].close()
    await until(lambda: len(_fanout(app)) == 0)


async def test_an_error_in_the_stream_is_raised_by_the_client(app: App, kinesis: Any) -> None:
    arn = await made(kinesis)

    def read() -> None:
        start = {"Type": "LATEST"}
        answer = kinesis.subscribe_to_shard(ConsumerARN=arn, ShardId="0", StartingPosition=start)
        with pytest.raises(ClientError, match=r"ResourceInUseException.*Another active subscription"):
            kinesis.subscribe_to_shard(ConsumerARN=arn, ShardId="0", StartingPosition=start)
        kinesis.deregister_stream_consumer(ConsumerARN=arn)
        with pytest.raises(EventStreamError, match=r"ResourceNotFoundException.*not found"):
            for _ in answer["EventStream"]:
                pass

    await asyncio.to_thread(read)


async def test_a_reader_that_goes_away_leaves_nothing_behind(app: App, kinesis: Any) -> None:
    arn = await made(kinesis)
    before = len(asyncio.all_tasks())
    start = {"Type": "LATEST"}
    for _ in range(3):
        answer = await asyncio.to_thread(
            kinesis.subscribe_to_shard, ConsumerARN=arn, ShardId="0", StartingPosition=start
        )
        answer["EventStream"].close()
        await until(lambda: len(_fanout(app)) == 0)
    await until(lambda: len(asyncio.all_tasks()) <= before)


def body(arn: str) -> dict[str, Any]:
    return {"ConsumerARN": arn, "ShardId": "0", "StartingPosition": {"Type": "TRIM_HORIZON"}}


async def subscribe(peer: Peer, asked: bytes, kind: str = "json") -> int:
    number = peer.h2.get_next_available_stream_id()
    headers = [
        (":method", "POST"),
        (":path", "/"),
        (":scheme", "http"),
        (":authority", "h"),
        ("x-amz-target", "Kinesis_20131202.SubscribeToShard"),
        ("content-type", f"application/x-amz-{kind}-1.1"),
    ]
    peer.h2.send_headers(number, headers)
    peer.bodies[number] = b""
    await peer.send(number, asked)
    return number


def messages(data: bytes) -> list[Any]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return list(buffer)


@pytest.mark.parametrize("kind", ["json", "cbor"])
async def test_http2_with_prior_knowledge(app: App, kinesis: Any, kind: str) -> None:
    arn = await made(kinesis)
    await asyncio.to_thread(put, kinesis, b"a", b"b")
    peer = await Peer.connect(_port(app))
    asked = json.dumps(body(arn)).encode() if kind == "json" else cbor2.dumps(body(arn))
    number = await subscribe(peer, asked, kind)
    while len(messages(peer.bodies[number])) < 2:
        await peer.hear()
    assert peer.heads[number]["content-type"] == "application/vnd.amazon.eventstream"
    first, second = messages(peer.bodies[number])
    assert first.headers[":event-type"] == "initial-response"
    assert second.headers == {
        ":message-type": "event",
        ":event-type": "SubscribeToShardEvent",
        ":content-type": f"application/x-amz-{kind}-1.1",
    }
    told = json.loads(second.payload) if kind == "json" else plain(second.payload)
    assert [record["Data"] for record in told["Records"]] == (["YQ==", "Yg=="] if kind == "json" else [b"a", b"b"])
    await peer.close()
    await until(lambda: len(_fanout(app)) == 0)


async def test_a_peer_that_says_goaway_still_gets_what_it_has_begun(app: App, kinesis: Any) -> None:
    arn = await made(kinesis)
    peer = await Peer.connect(_port(app))
    number = await subscribe(peer, json.dumps(body(arn)).encode())
    peer.writer.write(GoAwayFrame(0, last_stream_id=0, error_code=0).serialize())
    while len(messages(peer.bodies[number])) < 1:
        await peer.hear()
    await asyncio.to_thread(put, kinesis, b"a")
    while len(messages(peer.bodies[number])) < 2:
        await peer.hear()
    await asyncio.to_thread(kinesis.deregister_stream_consumer, ConsumerARN=arn)
    assert (await peer.answer(number))[0] == "200"
    while await peer.hear():  # and then the connection ends
        pass
    await peer.close()


async def test_a_reader_who_takes_nothing_holds_back_only_itself(app: App, kinesis: Any) -> None:
    arn = await made(kinesis)
    stalled = await Peer.connect(_port(app), credits=False)
    number = await subscribe(stalled, json.dumps(body(arn)).encode())

    def run() -> int:
        arn = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
        other = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="d")["Consumer"]["ConsumerARN"]
        asked = {"ConsumerARN": other, "ShardId": "0", "StartingPosition": {"Type": "TRIM_HORIZON"}}
        answer = kinesis.subscribe_to_shard(**asked)
        seen = 0
        threading.Thread(target=lambda: [put(kinesis, *[bytes(100_000)] * 20) for _ in range(10)]).start()
        for event in answer["EventStream"]:
            seen += len(event["SubscribeToShardEvent"]["Records"])
            if seen == 200:
                break
        answer["EventStream"].close()
        return seen

    async def listen() -> None:
        while await stalled.hear():
            pass

    listening = asyncio.create_task(listen())
    assert await asyncio.to_thread(run) == 200
    # The windows are HTTP/2's own 64 KiB, and nobody opens them.
    assert len(stalled.bodies[number]) <= 65_535
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await stalled.close()
    await until(lambda: len(_fanout(app)) == 0)


async def test_a_server_that_stops_ends_the_stream_and_does_not_cut_it(tmp_path: Path) -> None:
    app = await App.start(Settings(data=str(tmp_path), port=0, log_sync="os"))
    client = boto3.client("kinesis", endpoint_url=app.url, **KEYS)
    arn = await made(client)
    peer = await Peer.connect(_port(app))
    number = await subscribe(peer, json.dumps(body(arn)).encode())
    answer = await asyncio.to_thread(
        client.subscribe_to_shard, ConsumerARN=await _second(client), ShardId="0", StartingPosition={"Type": "LATEST"}
    )
    reading = asyncio.create_task(asyncio.to_thread(lambda: list(answer["EventStream"])))
    while not peer.bodies[number]:
        await peer.hear()
    await app.stop()
    assert await reading == []
    assert (await peer.answer(number))[0] == "200"
    assert number not in peer.resets
    await peer.close()
    client.close()


async def _second(client: Any) -> str:
    arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
    reply = await asyncio.to_thread(client.register_stream_consumer, StreamARN=arn, ConsumerName="d")
    return reply["Consumer"]["ConsumerARN"]


def _port(app: App) -> int:
    return int(app.url.rpartition(":")[2])


def _fanout(app: App) -> Any:
    return app.service._context.fanout
