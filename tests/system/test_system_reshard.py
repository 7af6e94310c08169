"""A stream that goes from 4 shards to 64 and back while producers put and a consumer reads: nothing is lost, doubled or out
of order by key."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from pathlib import Path

from streams import TRIM_HORIZON, Consumer, HttpClient, Producer
from tests.system.process import ServerProcess

STREAM = "s"
COUNTS = [8, 16, 32, 64, 32, 16, 8, 4]
KEYS = 97


class Puts:
    """PutRecords through boto3, in a thread, one after the other: what was acknowledged, by key, in order."""

    def __init__(self, server: ServerProcess) -> None:
        self.put: dict[str, list[str]] = defaultdict(list)
        self._client = server.client("kinesis")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stopped.is_set():
            pairs = [(f"b{place % KEYS}", f"{place:08d}") for place in range(number, number + 100)]
            number += 100
            records = [{"PartitionKey": key, "Data": data.encode()} for key, data in pairs]
            reply = self._client.put_records(StreamName=STREAM, Records=records)
            assert reply["FailedRecordCount"] == 0, "a reshard holds appends back, and fails none"
            for key, data in pairs:
                self.put[key].append(data)


async def test_scaling_up_and_down_under_load(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        server.start()
        client = HttpClient(server.url)
        await client.create_stream(STREAM, 4)
        read: dict[str, list[str]] = defaultdict(list)
        news = asyncio.Event()
        consumer = Consumer(client, STREAM, start=TRIM_HORIZON)

        async def follow() -> None:
            async for batch in consumer:
                rows = zip(batch.records.partition_key.to_pylist(), batch.records.data.to_pylist(), strict=True)
                for key, data in rows:
                    read[key].append(data.decode())
                news.set()

        following = asyncio.create_task(follow())
        puts = await asyncio.to_thread(Puts, server)
        put: dict[str, list[str]] = defaultdict(list)
        number = 0
        async with Producer(client, STREAM) as producer:
            for count in COUNTS:
                scaling = asyncio.create_task(asyncio.to_thread(scale, server, count))
                while not scaling.done():
                    for _ in range(50):
                        key, data = f"n{number % KEYS}", f"{number:08d}"
                        await producer.put(data, key)
                        put[key].append(data)
                        number += 1
                    await producer.flush()
                await scaling
        await asyncio.to_thread(puts.stop)
        put |= puts.put
        wanted = sum(map(len, put.values()))
        async with asyncio.timeout(60):
            while sum(map(len, read.values())) < wanted:
                news.clear()
                await news.wait()
        consumer.stop()
        await consumer.close()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await client.close()
        assert wanted > 100 * len(COUNTS), "there was a load"
        assert read == put


def scale(server: ServerProcess, count: int) -> None:
    kinesis = server.client("kinesis")
    kinesis.update_shard_count(StreamName=STREAM, TargetShardCount=count, ScalingType="UNIFORM_SCALING")
    summary = kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == count
