"""`headrace stream mirror`: exactly once and in order, from our own endpoint and from another implementation's, through
splits, merges and kills."""

from __future__ import annotations

import json
import os
import random
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from moto.server import ThreadedMotoServer

import streams
from streams.sdk.blocking import BlockingClient
from streams.sdk.client import LATEST
from tests.aws import session
from tests.cli.cli_server import HEADRACE, Headrace, Server

KILLS = 6


def kinesis(url: str) -> Any:
    return session().client(
        "kinesis", endpoint_url=url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )


@pytest.fixture
def source(server: Server) -> Any:
    return kinesis(server.url)


@pytest.fixture
def into() -> str:
    return f"into-{uuid.uuid4().hex[:8]}"


def put(client: Any, name: str, numbers: range) -> None:
    """Numbers under seven keys; every fifth with an explicit hash key, the same for its key."""
    records = [
        {"PartitionKey": f"key-{number % 7}", "Data": str(number).encode()}
        | ({"ExplicitHashKey": str((number % 7) << 124)} if number % 7 == 3 else {})
        for number in numbers
    ]
    for first in range(0, len(records), 100):
        assert client.put_records(StreamName=name, Records=records[first : first + 100])["FailedRecordCount"] == 0


def held(headrace: Headrace, name: str, folder: Path) -> dict[str, list[int]]:
    """Numbers by key in the order in which the stream has them."""
    file = folder / f"{uuid.uuid4().hex}.ndjson"
    assert headrace("stream", "export", name, str(file)).exit_code == 0
    found: dict[str, list[int]] = {}
    for line in map(json.loads, file.read_text().splitlines()):
        found.setdefault(line["partition_key"], []).append(int(line["data"]))
    return found


def expected(numbers: range) -> dict[str, list[int]]:
    return {f"key-{key}": [number for number in numbers if number % 7 == key] for key in range(7)}


def test_a_mirror_goes_on_where_it_was(
    headrace: Headrace, server: Server, source: Any, stream: str, into: str, tmp_path: Path
) -> None:
    state = tmp_path / "mirror.json"

    def mirror(*options: str) -> int:
        command = ("stream", "mirror", stream, into, "--source-endpoint", server.url, "--state", str(state))
        done = headrace(*command, "--no-follow", "--json", *options)
        assert done.exit_code == 0, done.output
        return int(json.loads(done.stdout)["records"])

    put(source, stream, range(150))
    assert mirror("--create") == 150
    assert held(headrace, into, tmp_path) == expected(range(150))
    source.split_shard(StreamName=stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(1 << 126))
    put(source, stream, range(150, 400))
    source.merge_shards(
        StreamName=stream, ShardToMerge="shardId-000000000003", AdjacentShardToMerge="shardId-000000000001"
    )
    put(source, stream, range(400, 500))
    assert mirror() == 350
    assert mirror() == 0
    assert held(headrace, into, tmp_path) == expected(range(500))
    target = kinesis(server.url).describe_stream(StreamName=into)["StreamDescription"]["Shards"]
    assert len(target) == 2, "as many as the source had open"


def test_where_a_new_mirror_begins(
    headrace: Headrace, server: Server, source: Any, stream: str, into: str, tmp_path: Path
) -> None:
    def mirror(number: int, start: str) -> Result:
        return headrace(
            *("stream", "mirror", stream, f"{into}-{number}", "--source-endpoint", server.url, "--from", start),
            *("--state", str(tmp_path / f"{number}.json"), "--create", "--no-follow", "--json"),
        )

    put(source, stream, range(30))
    assert json.loads(mirror(1, "latest").stdout) == {"records": 0}
    put(source, stream, range(30, 50))
    assert json.loads(mirror(1, "latest").stdout) == {"records": 20}, "where it was, not where it would begin"
    assert json.loads(mirror(2, "-1h").stdout) == {"records": 50}
    future = mirror(3, "2099-01-01")
    assert future.exit_code == 1
    assert "InvalidArgumentException" in future.stderr


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_another_implementation_is_mirrored(headrace: Headrace, moto: str, into: str, tmp_path: Path) -> None:
    client = kinesis(moto)
    client.create_stream(StreamName="there", ShardCount=3)
    put(client, "there", range(300))
    shards = client.list_shards(StreamName="there")["Shards"]
    middle = (int(shards[0]["HashKeyRange"]["EndingHashKey"]) + 1) // 2
    client.split_shard(StreamName="there", ShardToSplit=shards[0]["ShardId"], NewStartingHashKey=str(middle))
    put(client, "there", range(300, 450))
    done = headrace(
        *("stream", "mirror", "there", into, "--source-endpoint", moto, "--state", str(tmp_path / "s.json")),
        *("--create", "--no-follow"),
    )
    assert done.exit_code == 0, done.output
    assert f"450 records of there put into {into}" in done.stderr
    assert {key: sorted(numbers) for key, numbers in held(headrace, into, tmp_path).items()} == expected(range(450))


def test_kills_lose_and_double_nothing(
    headrace: Headrace, server: Server, source: Any, stream: str, into: str, tmp_path: Path, seed: int
) -> None:
    randomness = random.Random(seed)
    assert headrace("stream", "create", into, "--shards", "3").exit_code == 0
    command = [*HEADRACE, "stream", "mirror", stream, into, "--source-endpoint", server.url]
    environment = {**os.environ, "HEADRACE_ENDPOINT": server.url}
    count = 0
    with streams.connect(server.url) as client:
        for turn in range(KILLS):
            process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE)
            seen = held_count(client, into)
            wanted = seen + randomness.randrange(1, 300)
            while (now := held_count(client, into)) < wanted:
                if count < now + 400:
                    put(source, stream, range(count, count + 100))
                    count += 100
            process.kill()
            process.communicate()
            if turn == 2:
                source.split_shard(
                    StreamName=stream, ShardToSplit="shardId-000000000001", NewStartingHashKey=str(3 << 126)
                )
    done = subprocess.run(
        [*command, "--no-follow"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert held(headrace, into, tmp_path) == expected(range(count))


def held_count(client: BlockingClient, name: str) -> int:
    return sum(client.find(name, LATEST).values())


def test_what_cannot_be_mirrored_is_told(
    headrace: Headrace, server: Server, source: Any, stream: str, into: str, tmp_path: Path, free_port: int
) -> None:
    state = tmp_path / "s.json"

    def told(name: str, target: str, endpoint: str, *options: str) -> str:
        done = headrace(
            *("stream", "mirror", name, target, "--source-endpoint", endpoint, "--state", str(state)),
            *("--no-follow", *options),
        )
        assert done.exit_code in (1, 2), done.output
        return done.stderr

    assert "cannot be mirrored into itself" in told(stream, stream, server.url)
    assert "the source has no stream absent: Stream absent under account" in told("absent", stream, server.url)
    assert f"there is no stream '{into}'" in told(stream, into, server.url)
    assert f"127.0.0.1:{free_port}" in told(stream, into, f"http://127.0.0.1:{free_port}", "--create")
    assert "Invalid endpoint" in told(stream, into, "nonsense", "--create")
    assert "The config profile (nobody) could not be found" in told(
        stream, into, server.url, "--source-profile", "nobody"
    )
    state.write_text("{}")
    assert f"{state} is no state of a mirror" in told(stream, into, server.url, "--create")
    state.unlink()
    assert (
        headrace(
            *("stream", "mirror", stream, into, "--source-endpoint", server.url, "--state", str(state), "--no-follow")
        ).exit_code
        == 0
    )
    other = f"{into}-other"
    assert f"{state} belongs to the mirror of {stream} at" in told(stream, other, server.url, "--create")
    source.delete_stream(StreamName=stream)
    source.create_stream(StreamName=stream, ShardCount=1)
    assert "was deleted and made anew" in told(stream, into, server.url)
