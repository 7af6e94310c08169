"""The Kinesis Producer Library 1.x with its native daemon, over verified TLS and with signatures checked."""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients_support import ENVIRONMENT, JAVA, installed

from gateway.testing import TestServer
from streams.core.hashing import hash_key
from streams.sdk.consumer import Consumer
from streams.sdk.http import HttpClient

HALF = 200
STREAM = "kpl"


@contextlib.contextmanager
def putter(server: TestServer, authority: Path, log: Path) -> Iterator[subprocess.Popen[str]]:
    package = installed("kpl")
    classes = f"{package / 'classes'}:{package / 'jars' / '*'}"
    port = server.url.rpartition(":")[2]
    # The daemon is unpacked once, beside its jar: it has 84 MB.
    command = [*JAVA, "-cp", classes, "Putter", port, str(authority), str(package / "native")]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        with process:
            try:
                yield process
            finally:
                process.kill()


def told(process: subprocess.Popen[str], log: Path) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, log.read_text()[-5000:]
    return dict(json.loads(line))


def stored(kinesis: Any) -> int:
    """Records of the stream, each of them of many that were put."""
    count = 0
    for shard in kinesis.list_shards(StreamName=STREAM)["Shards"]:
        at = {"StreamName": STREAM, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        count += len(kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(**at)["ShardIterator"])["Records"])
    return count


@pytest.mark.headrace(tls="auto", credentials={"test": "test", "k": "s"})
async def test_every_record_though_the_stream_is_split_behind_its_back(headrace: TestServer, tmp_path: Path) -> None:
    authority = Path(headrace.settings.data) / "tls" / "ca.pem"
    kinesis = headrace.client(verify=str(authority))
    kinesis.create_stream(StreamName=STREAM, ShardCount=2)
    log = tmp_path / "log"
    with putter(headrace, authority, log) as process:
        first, second = (shard["ShardId"] for shard in kinesis.list_shards(StreamName=STREAM)["Shards"])
        assert told(process, log) == {"shards": [first, second], "failed": 0}
        kinesis.split_shard(StreamName=STREAM, ShardToSplit=first, NewStartingHashKey=str(2**126))
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        after = told(process, log)
        assert process.wait(timeout=60) == 0, log.read_text()[-5000:]
    # Records in another shard than it foresaw are failures to it: it asks for the shards and puts them again.
    assert after["failed"] > 0
    assert after["shards"] == [second, "shardId-000000000002", "shardId-000000000003"]

    count = stored(kinesis)
    assert count < 2 * HALF
    trusted = ssl.create_default_context(cafile=authority)
    seen: Counter[int] = Counter()
    async with contextlib.AsyncExitStack() as stack:
        client = HttpClient(headrace.url, credentials=("k", "s"), tls=trusted)
        stack.push_async_callback(client.close)
        places = {shard.id: shard.hash_range for shard in (await client.describe_stream(STREAM)).shards}
        consumer = await stack.enter_async_context(Consumer(client, STREAM, deaggregate=True))
        async for batch in consumer:
            for row in batch.to_arrow().to_pylist():
                number = int(row["data"].decode().removeprefix("r"))
                assert row["partition_key"] == f"k{number}"
                assert int.from_bytes(hash_key(row["partition_key"])) in places[batch.shard]
                seen[number] += 1
            count -= batch.next - batch.first
            if count == 0:
                break
    assert set(seen) == set(range(2 * HALF))
    # Of what it put twice, consumers pass over what is in the wrong shard; the rest of that aggregate comes again.
    again = {number for number, times in seen.items() if times > 1}
    assert again <= set(range(HALF, 2 * HALF))
    assert len(again) < after["failed"]
