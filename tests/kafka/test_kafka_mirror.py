"""`headrace stream mirror` between a topic of a real Kafka and a stream, in both directions, killed under load."""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import sys
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from click.testing import CliRunner

from connectors.kafka_mirror import TopicMirror
from connectors.kafka_topic import KafkaTopicSource
from connectors.kinesis import SourceRefused
from connectors.mirror import Mirror, MirrorError
from gateway.app import App
from gateway.cli import main
from streams import LATEST, TRIM_HORIZON, Consumer, HttpClient
from streams.core.brokers import brokers_of
from streams.core.records import Records
from streams.core.settings import Settings
from tests.aws import session
from tests.kafka.kafka_broker import Broker

PARTITIONS = 3


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with await App.start(Settings(data=str(tmp_path / "data"), port=0)) as started:
        yield started


@pytest.fixture
async def topic(kafka_broker: Broker) -> str:
    name = f"mirror-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.address)
    await admin.start()
    await admin.create_topics([NewTopic(name, PARTITIONS, 1)])
    await admin.close()
    return name


async def in_topic(broker: Broker, topic: str) -> dict[bytes, list[bytes]]:
    """What was committed, by key."""
    found: dict[bytes, list[bytes]] = defaultdict(list)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.address, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    async with consumer:
        places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        for place, end in ends.items():
            while await consumer.position(place) < end:
                for one in (await consumer.getmany(place, timeout_ms=500)).get(place, []):
                    found[one.key].append(one.value)
    return found


async def in_stream(client: HttpClient, stream: str, count: int) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = defaultdict(list)
    read = 0
    consumer = Consumer(client, stream, start=TRIM_HORIZON)
    async for batch in consumer:
        for key, data in zip(batch.records.partition_key.to_pylist(), batch.records.data.to_pylist(), strict=True):
            found[key].append(data)
        read += len(batch)
        if read >= count:
            break
    await consumer.close()
    return found


async def killed(
    randomness: random.Random, arguments: list[str], folder: Path, count: Callable[[], Awaitable[int]]
) -> None:
    """The command, killed a random moment after it has put something: `count` says how much is there."""
    before = await count()
    command = [sys.executable, "-m", "gateway.cli", "stream", "mirror", *arguments]
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stderr=asyncio.subprocess.DEVNULL)
    async with asyncio.timeout(90):
        while await count() <= before:
            assert process.returncode is None, "it ended by itself"
            await asyncio.sleep(0.02)
    await asyncio.sleep(randomness.uniform(0, 0.5))
    process.send_signal(signal.SIGKILL)
    await process.wait()


async def finished(arguments: list[str], folder: Path) -> None:
    """The command, until everything that is there has been put."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", "stream", "mirror", *arguments, "--no-follow"),
        cwd=folder,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    _, told = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, told.decode()


async def test_a_topic_into_a_stream_exactly_once_through_kills(
    app: App, topic: str, kafka_broker: Broker, tmp_path: Path, seed: int
) -> None:
    client = HttpClient(app.url)
    await client.create_stream("s", 2)
    sent: dict[str, list[bytes]] = defaultdict(list)
    done = asyncio.Event()

    async def produce() -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka_broker.address, enable_idempotence=True) as producer:
            number = 0
            while not done.is_set():
                for _ in range(100):
                    key, value = f"k{number % 13}", b"%d" % number
                    sent[key].append(value)
                    await producer.send(topic, value, key.encode())
                    number += 1
                await producer.flush()
                await asyncio.sleep(0.01)

    producing = asyncio.create_task(produce())
    arguments = [topic, "s", "--from-kafka", f"kafka://{kafka_broker.address}", "--endpoint", app.url]
    randomness = random.Random(seed)

    async def put() -> int:
        return sum((await client.find("s", LATEST)).values())

    for _ in range(3):
        await killed(randomness, arguments, tmp_path, put)
    done.set()
    await producing
    await finished(arguments, tmp_path)
    count = sum(map(len, sent.values()))
    assert await put() == count, "none lost, none twice"
    assert await in_stream(client, "s", count) == sent, "each once, and in order by key"
    await client.close()


async def test_a_stream_into_a_topic_exactly_once_through_kills_and_a_split(
    app: App, topic: str, kafka_broker: Broker, tmp_path: Path, seed: int
) -> None:
    client = HttpClient(app.url)
    await client.create_stream("s", 2)
    sent: dict[bytes, list[bytes]] = defaultdict(list)
    done = asyncio.Event()
    randomness = random.Random(seed)

    async def produce() -> None:
        number = 0
        while not done.is_set():
            keys, data = [], []
            for _ in range(randomness.randrange(1, 300)):
                keys.append(f"k{number % 13}")
                data.append(b"%d" % number)
                sent[keys[-1].encode()].append(data[-1])
                number += 1
            await client.put("s", Records.of(keys, data))
            await asyncio.sleep(0.01)

    producing = asyncio.create_task(produce())
    kinesis = session().client(
        "kinesis", endpoint_url=app.url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    arguments = ["s", topic, "--to-kafka", f"kafka://{kafka_broker.address}", "--endpoint", app.url]
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    async with AIOKafkaConsumer(bootstrap_servers=kafka_broker.address) as consumer:

        async def put() -> int:
            return sum((await consumer.end_offsets(places)).values())

        await killed(randomness, arguments, tmp_path, put)
        await asyncio.to_thread(
            kinesis.split_shard, StreamName="s", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126)
        )
        for _ in range(2):
            await killed(randomness, arguments, tmp_path, put)
    done.set()
    await producing
    await finished(arguments, tmp_path)
    assert await in_topic(kafka_broker, topic) == sent, "each once, and in order by key"
    await client.close()


async def test_a_broker_that_takes_its_time_is_not_the_end_of_a_topic(
    app: App, topic: str, kafka_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror that is to put what is there asks, and asks again before the first answer."""
    monkeypatch.setattr("connectors.kafka_topic.POLL_MS", 1)
    client = HttpClient(app.url)
    await client.create_stream("s", 1)
    brokers = brokers_of(f"kafka://{kafka_broker.address}")
    async with AIOKafkaProducer(bootstrap_servers=kafka_broker.address) as producer:
        await producer.send_and_wait(topic, b"1", b"k", partition=1)
    mirror = Mirror(
        KafkaTopicSource(brokers, topic), client, "s", tmp_path / "state.json", identity="kafka", stream=topic
    )
    await mirror.run(follow=False)
    assert mirror.progress.records == 1
    await client.close()


async def test_of_two_mirrors_into_a_topic_the_older_one_ends(app: App, topic: str, kafka_broker: Broker) -> None:
    client = HttpClient(app.url)
    await client.create_stream("s", 1)
    brokers = brokers_of(f"kafka://{kafka_broker.address}")
    older = asyncio.create_task(TopicMirror(client, "s", brokers, topic).run())
    await client.put("s", Records.of(["k"], [b"1"]))
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka_broker.address, auto_offset_reset="earliest")
    async with consumer:
        await asyncio.wait_for(consumer.getone(), 60)
    await client.put("s", Records.of(["k"], [b"2"]))
    await TopicMirror(client, "s", brokers, topic).run(follow=False)
    await client.put("s", Records.of(["k"], [b"3"]))
    with pytest.raises(MirrorError, match="another mirror of s into"):
        await asyncio.wait_for(older, 60)
    await TopicMirror(client, "s", brokers, topic).run(follow=False)
    assert await in_topic(kafka_broker, topic) == {b"k": [b"1", b"2", b"3"]}
    await client.delete_stream("s")
    await client.create_stream("s", 1)
    with pytest.raises(MirrorError, match="is the mirror of"):
        await TopicMirror(client, "s", brokers, topic).run(follow=False)
    await client.close()
    # aiokafka leaves futures of a fenced producer unasked, and says so when they go: here, and not in the next test.
    gc.collect()


async def test_what_keys_become_and_what_is_not_there(
    app: App, topic: str, kafka_broker: Broker, tmp_path: Path
) -> None:
    client = HttpClient(app.url)
    await client.create_stream("s", 1)
    brokers = brokers_of(f"kafka://{kafka_broker.address}")
    async with AIOKafkaProducer(bootstrap_servers=kafka_broker.address, transactional_id=f"t-{topic}") as producer:
        async with producer.transaction():
            for key, value in ((b"a", b"1"), (None, b"2"), (b"\xff\xfe", b"3"), (b"b" * 300, b"4"), (b"d", None)):
                await producer.send_and_wait(topic, value, key, partition=1)
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted", b"a", partition=1)
        await producer.abort_transaction()
    source = KafkaTopicSource(brokers, topic)
    mirror = Mirror(source, client, "s", tmp_path / "state.json", identity="kafka", stream=topic)
    await mirror.run(follow=False)
    assert await in_stream(client, "s", 5) == {
        "a": [b"1"],
        "partition-1": [b"2"],
        "//4=": [b"3"],
        "b" * 256: [b"4"],
        "d": [b""],
    }
    with pytest.raises(SourceRefused, match="there is no topic nowhere"):
        await KafkaTopicSource(brokers, "nowhere").created()
    await client.close()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--from-kafka", "kafka://127.0.0.1:1", "--create"], "no broker of 127.0.0.1:1 answers"),
        (["--from-kafka", "127.0.0.1:9092"], "it is written kafka://host:9092"),
        (["--from-kafka", "kafka://k:1?password=hunter2&user=u"], "a user needs security=sasl_ssl"),
        (["--from-kafka", "kafka://k:1", "--to-kafka", "kafka://k:1"], "do not go together"),
        (["--to-kafka", "kafka://k:1", "--create"], "--create and --state are of mirrors into a stream"),
    ],
)
async def test_what_is_wrong_is_said(app: App, arguments: list[str], why: str) -> None:
    found = await asyncio.to_thread(
        CliRunner().invoke, main, ["stream", "mirror", "t", "s", *arguments, "--endpoint", app.url]
    )
    assert (found.exit_code, why in found.output) == (1, True), (found.output, found.exception)
    assert "hunter2" not in found.output
