"""`kill -9` of the real server under load, at random moments, again and again.

What must hold afterwards: every acknowledged record is read back once and in order per shard; every delivered file is
whole; every record is in exactly one file. Records that were never acknowledged may or may not be there, at most once,
unless their producer repeats them with its mark, which makes them exactly once too.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from streams import TRIM_HORIZON, Consumer, HttpClient, Producer
from tests.system.process import ServerProcess

KILLS = 50
REPLIED_S_MAX = 60.0
SHARDS = 4
STREAM = "events"
DELIVERY = "archive"
FAILURES = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)


class Load:
    """Threads that put numbered records through boto3 and note what was acknowledged, in the order of the replies."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.acknowledged: dict[str, list[str]] = {}
        self.delivered: list[str] = []
        self.sequence: dict[str, list[str]] = {}
        self.replied = threading.Event()
        """Something of the stream was acknowledged since `start`."""
        self._numbers = Counter[str]()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._stopped.clear()
        self.replied.clear()
        self._threads = [
            threading.Thread(target=self._records, args=("a",)),
            threading.Thread(target=self._records, args=("b",)),
            threading.Thread(target=self._single, args=("c",)),
            threading.Thread(target=self._direct, args=("d",)),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _ids(self, who: str, count: int) -> list[str]:
        first = self._numbers[who]
        self._numbers[who] += count
        return [f"{who}-{number:08d}" for number in range(first, first + count)]

    def _records(self, who: str) -> None:
        client = self.server.client("kinesis")
        while not self._stopped.is_set():
            ids = self._ids(who, 40)
            entries = [{"Data": id_.encode(), "PartitionKey": f"{who}{i % 8}"} for i, id_ in enumerate(ids)]
            try:
                reply = client.put_records(StreamName=STREAM, Records=entries)
            except FAILURES:
                return
            for id_, entry in zip(ids, reply["Records"], strict=True):
                if "SequenceNumber" in entry:
                    self._acknowledge(id_, entry)

    def _single(self, who: str) -> None:
        client = self.server.client("kinesis")
        while not self._stopped.is_set():
            (id_,) = self._ids(who, 1)
            try:
                self._acknowledge(id_, client.put_record(StreamName=STREAM, Data=id_.encode(), PartitionKey=who))
            except FAILURES:
                return

    def _acknowledge(self, id_: str, entry: dict[str, Any]) -> None:
        self.replied.set()
        self.acknowledged.setdefault(entry["ShardId"], []).append(id_)
        self.sequence.setdefault(entry["ShardId"], []).append(entry["SequenceNumber"])

    def _direct(self, who: str) -> None:
        client = self.server.client("firehose")
        while not self._stopped.is_set():
            ids = self._ids(who, 20)
            try:
                reply = client.put_record_batch(
                    DeliveryStreamName=DELIVERY, Records=[{"Data": id_.encode()} for id_ in ids]
                )
            except FAILURES:
                return
            self.delivered += [
                id_ for id_, entry in zip(ids, reply["RequestResponses"], strict=True) if "RecordId" in entry
            ]


async def produce_through_kills(url: str, stop: asyncio.Event) -> list[str]:
    """A native producer that rides through every kill: what it was given must be there once, acknowledged or not."""
    client = HttpClient(url)
    sent: list[str] = []
    try:
        async with Producer(client, STREAM) as producer:
            while not stop.is_set():
                sent.append(f"n-{len(sent):08d}")
                await producer.put(sent[-1], f"n{len(sent) % 8}")
                if len(sent) % 50 == 0:
                    await producer.flush()
    finally:
        await client.close()
    return sent


async def read_all(url: str) -> dict[str, list[str]]:
    client = HttpClient(url)
    description = await client.describe_stream(STREAM)
    tips = (await client.fetch(STREAM, {shard.id: 0 for shard in description.shards})).tips
    read: dict[str, list[str]] = {shard.id: [] for shard in description.shards}
    async with Consumer(client, STREAM, start=TRIM_HORIZON) as consumer:
        left = sum(tips.values())
        async for batch in consumer:
            read[batch.shard] += [data.decode() for data in batch.records.data.to_pylist()]
            left -= len(batch)
            if left <= 0:
                break
    await client.close()
    return read


def read_files(bucket: Path) -> Counter[str]:
    """Every record of every delivered object; a torn gzip member fails here."""
    found = Counter[str]()
    for path in bucket.rglob("*"):
        if path.is_file():
            found.update(gzip.decompress(path.read_bytes()).decode().split())
    return found


async def test_nothing_acknowledged_is_lost_or_doubled_through_fifty_kills(tmp_path: Path, seed: int) -> None:
    await kill_again_and_again(tmp_path, seed, KILLS)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_nor_through_a_thousand(tmp_path: Path, seed: int) -> None:
    await kill_again_and_again(tmp_path, seed, 1000)


async def kill_again_and_again(tmp_path: Path, seed: int, kills: int) -> None:
    with ServerProcess(tmp_path / "data") as server:
        await load_and_kill(server.start(), random.Random(seed), kills)


async def load_and_kill(
    server: ServerProcess, moments: random.Random, kills: int, tags: dict[str, str] | None = None
) -> None:
    port = server.port
    server.client("kinesis").create_stream(StreamName=STREAM, ShardCount=SHARDS, **({"Tags": tags} if tags else {}))
    for name, source in ((DELIVERY, {"DeliveryStreamType": "DirectPut"}), ("copy", _from_stream())):
        server.client("firehose").create_delivery_stream(
            DeliveryStreamName=name,
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::000000000000:role/firehose",
                "BucketARN": f"arn:aws:s3:::{name}",
                "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1},
                "CompressionFormat": "GZIP",
                "ProcessingConfiguration": {
                    "Enabled": True,
                    "Processors": [{"Type": "AppendDelimiterToRecord", "Parameters": []}],
                },
            },
            **source,
        )
    load = Load(server)
    stop = asyncio.Event()
    native = asyncio.create_task(produce_through_kills(server.url, stop))
    for turn in range(kills):
        load.start()
        if turn % 2 == 0:
            # On a machine that is busy with other things, all kills would come before the first reply.
            await asyncio.to_thread(load.replied.wait, REPLIED_S_MAX)
        # How long the load runs is the random moment of the kill.
        await asyncio.sleep(moments.uniform(0.02, 0.8))
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(load.stop)
        await asyncio.to_thread(server.start, port)
    stop.set()
    sent = await asyncio.wait_for(native, 60)

    read = await read_all(server.url)
    everything = Counter(id_ for ids in read.values() for id_ in ids)
    doubled = [id_ for id_, count in everything.items() if count > 1]
    assert not doubled, f"read twice: {doubled[:5]}"
    assert sum(map(len, load.acknowledged.values())) > kills, "the load put something between the kills"
    for shard, ids in load.acknowledged.items():
        lost = [id_ for id_ in ids if id_ not in everything]
        assert not lost, f"acknowledged and lost in {shard}: {lost[:5]}"
    _assert_order(read)
    assert {id_ for id_ in everything if id_.startswith("n-")} == set(sent), "the native producer's records, each once"

    archive, copy = await delivered(server.data / "buckets", set(load.delivered), set(everything))
    assert server.stop() == 0, server.tail()
    assert (read_files(server.data / "buckets" / DELIVERY), read_files(server.data / "buckets" / "copy")) == (
        archive,
        copy,
    ), "a stop delivers nothing twice"
    for name, found in ((DELIVERY, archive), ("copy", copy)):
        twice = [id_ for id_, count in found.items() if count > 1]
        assert not twice, f"{name}: in two files: {twice[:5]}"
    assert not set(load.delivered) - set(archive), "acknowledged by the delivery stream and in no file"
    assert set(copy) == set(everything), "every record of the stream is in a file, and nothing else"
    with contextlib.suppress(FileNotFoundError):
        server.log.unlink()


async def delivered(buckets: Path, archived: set[str], copied: set[str]) -> tuple[Counter[str], Counter[str]]:
    """The files' records once they are all there: the buffers' intervals (1 s) must pass. After a minute, as they are."""
    archive, copy = read_files(buckets / DELIVERY), read_files(buckets / "copy")
    for _ in range(120):
        if archived <= set(archive) and copied <= set(copy):
            break
        # Another process delivers; its files are all that shows of it.
        await asyncio.sleep(0.5)
        archive, copy = read_files(buckets / DELIVERY), read_files(buckets / "copy")
    return archive, copy


def _assert_order(read: dict[str, list[str]]) -> None:
    """Within a shard, one producer's records of one key come in the order in which it put them."""
    for shard, ids in read.items():
        last: dict[str, str] = {}
        for id_ in ids:
            who = id_.partition("-")[0]
            assert last.get(who, "") < id_, f"{shard}: {id_} after {last[who]}"
            last[who] = id_


def _from_stream() -> dict[str, Any]:
    return {
        "DeliveryStreamType": "KinesisStreamAsSource",
        "KinesisStreamSourceConfiguration": {
            "KinesisStreamARN": f"arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}",
            "RoleARN": "arn:aws:iam::000000000000:role/firehose",
        },
    }
