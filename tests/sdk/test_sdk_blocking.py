"""The blocking faces: a program without an event loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import streams
from streams.core.errors import ResourceNotFound
from streams.core.records import Records
from streams.sdk.blocking import BlockingClient


@pytest.fixture
def client(tmp_path: Path) -> Iterator[BlockingClient]:
    with streams.open(tmp_path / "data") as client:
        yield client


def test_put_consume_and_read(client: BlockingClient) -> None:
    client.create_stream("s", shards=2)
    with client.producer("s", linger_ms=1) as producer:
        shard, offset = producer.put("eins", "k").result()
        assert producer.put_many([("k", "zwei")])[0].result() == (shard, offset + 1)
        producer.put("drei", "k")
        producer.flush()
    with client.consumer("s", name="report") as consumer:
        seen: list[bytes] = []
        for batch in consumer:
            seen += batch.records.data.to_pylist()
            consumer.checkpoint()
            if len(seen) == 3:
                consumer.stop()
        assert seen == [b"eins", b"zwei", b"drei"]
        assert sum(consumer.positions.values()) == 3
    assert client.read_table("s")["data"].to_pylist() == seen
    assert sum(client.load_checkpoint("s", "report").values()) == 3
    client.delete_stream("s")
    assert client.list_streams() == []


def test_errors_come_through(client: BlockingClient) -> None:
    with pytest.raises(ResourceNotFound):
        client.describe_stream("nowhere")
    producer = client.producer("nowhere")
    producer.put("x")
    with pytest.raises(ResourceNotFound):
        producer.close()


def test_records_survive_in_the_directory(tmp_path: Path) -> None:
    for index in range(3):
        with streams.connect(tmp_path) as client:
            if index == 0:
                client.create_stream("s")
            client.put("s", Records.of(["k"], [b"%d" % index]))
    with streams.connect(tmp_path) as client:
        assert client.read_table("s")["data"].to_pylist() == [b"0", b"1", b"2"]


def test_many_threads_share_a_client(client: BlockingClient) -> None:
    client.create_stream("s")
    with client.producer("s") as producer:
        threads = [
            threading.Thread(target=lambda: [producer.put(str(index), "k") for index in range(50)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(client.read_table("s")) == 200


def test_a_closed_client_says_so(tmp_path: Path) -> None:
    client = streams.connect(tmp_path)
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.list_streams()
    assert not [thread for thread in threading.enumerate() if thread.name == "headrace client"]


def test_a_failed_opening_leaves_no_thread(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(OSError, match=r".+"):
        streams.connect(tmp_path / "file")
    assert not [thread for thread in threading.enumerate() if thread.name == "headrace client"]


async def test_the_same_directory_from_an_event_loop(tmp_path: Path) -> None:
    async with streams.open(tmp_path / "data") as client:
        await client.create_stream("s")
        async with streams.Producer(client, "s") as producer:
            await producer.put("x")
        assert len(await streams.read_table(client, "s")) == 1


def test_a_group_shares_and_puts_once(client: BlockingClient) -> None:
    for stream in ("s", "out"):
        client.create_stream(stream, shards=2)
    with client.producer("s") as producer:
        producer.put_many((f"k{number}", f"{number}") for number in range(20))
        producer.flush()
        assert producer.metrics.records == 20
    seen: list[bytes] = []
    with client.group_consumer("s", "g", member="one") as group:
        assert group.member == "one"
        for batch in group:
            seen += batch.records.data.to_pylist()
            group.put("out", Records(batch.records.data, batch.records.partition_key))
            group.commit()
            if len(seen) == 20:
                break
        assert len(group.shards) == 2
        (described,) = client.describe_groups("s")
        assert {shard.member for shard in described.shards} == {"one"}
    assert sorted(seen) == sorted(client.read_table("out")["data"].to_pylist()) == sorted(b"%d" % n for n in range(20))
    client.forget_group("s", "g")
    assert client.describe_groups("s") == []
