"""Copies of logs: from a folder into Kafka and back, killed and resumed; and a server that goes on where another stopped."""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.app import App
from gateway.cli import main
from streams import TRIM_HORIZON, Consumer, HttpClient, Producer, copying
from streams.core.clock import ManualClock
from streams.core.errors import LogError, OffsetOutOfRange
from streams.core.records import ProducerMark, Records
from streams.core.settings import Settings
from streams.kafka.address import parse
from streams.kafka.filling import KafkaTarget
from streams.kafka.log import KafkaLog
from streams.log.copying import Copied, Part, Source, Sum, copy, summed
from streams.log.embedded import EmbeddedLog
from tests.aws import session
from tests.log.engines import rows

SHARDS = ["streams/s1/shardId-000000000000", "streams/s1/shardId-000000000002", "control/other", "queues/q-1"]
NEVER = "streams/s1/shardId-000000000001"


async def filled(path: Path, seed: int, *, trim: bool = True) -> None:
    """A log with records of all kinds, of which two shards begin later than 0."""
    randomness = random.Random(seed)
    clock = ManualClock()
    log = await EmbeddedLog.open(path, clock=clock, segment_size_max=20_000, compress=True)
    for shard in SHARDS:
        await log.create(shard)
        for turn in range(40):
            count = randomness.choice([1, 1, 3, 200])
            keys = [f"ü{randomness.randrange(9)}" for _ in range(count)]
            data = [randomness.randbytes(randomness.randrange(60)) for _ in range(count)]
            hash_keys = [randomness.choice([None, randomness.randbytes(16)]) for _ in range(count)]
            mark = randomness.choice([None, ProducerMark(f"p{turn % 3}", turn)])
            await log.append(shard, Records.of(keys, data, hash_keys if turn % 2 else None), mark)
            clock.advance(randomness.random())
    await log.create("control/empty")
    if trim:
        await log.trim(SHARDS[0], 777)
        _, next_ = await log.bounds(SHARDS[1])
        await log.trim(SHARDS[1], next_)
    await log.close()


async def sums(source: Source) -> dict[str, Sum]:
    try:
        return {shard: await summed(source, shard) for shard in await source.shards()}
    finally:
        await source.close()


async def of(url: str) -> dict[str, Sum]:
    """Without the partition of a shard that there never was: a topic's partitions have no gaps."""
    found = await sums(await copying.open_source(Settings(), url))
    assert not found.pop(NEVER, Sum(0, 0, 0)).records
    return found


async def copied(
    source: str, target: str, told: Callable[[str, Copied | None], None] = lambda *_: None
) -> list[Copied]:
    reading = await copying.open_source(Settings(), source)
    try:
        writing = await copying.open_target(Settings(), target)
        try:
            identity = copying.identity(source)
            return await copy(reading, writing, identity, wanted=NEVER.__ne__, packed=["streams/"], told=told)
        finally:
            await writing.close()
    finally:
        await reading.close()


async def test_round_trip(tmp_path: Path, kafka_url: str, seed: int) -> None:
    await filled(tmp_path / "one" / "log", seed)
    one, other = f"file://{tmp_path / 'one'}", f"file://{tmp_path / 'two'}"
    wanted = await of(one)
    assert wanted[SHARDS[0]].first == 777
    assert wanted[SHARDS[1]].records == 0
    await copied(one, kafka_url)
    assert await of(kafka_url) == wanted
    await copied(kafka_url, other)
    assert await of(other) == wanted

    before = await EmbeddedLog.open(tmp_path / "one" / "log", clock=ManualClock())
    logs = [
        await KafkaLog.open(parse(kafka_url), clock=ManualClock()),
        await EmbeddedLog.open(tmp_path / "two" / "log", clock=ManualClock()),
    ]
    for log in logs:
        assert set(await log.shards()) - {NEVER} == set(await before.shards())
        for shard in await before.shards():
            first, next_ = await before.bounds(shard)
            assert await log.bounds(shard) == (first, next_)
            batch, wanted_batch = await log.read(shard, first, 2000), await before.read(shard, first, 2000)
            count = min(len(batch), len(wanted_batch))
            assert rows(batch.records)[:count] == rows(wanted_batch.records)[:count]
            if first:
                with pytest.raises(OffsetOutOfRange, match=rf"holds \[{first}, {next_}\)"):
                    await log.read(shard, first - 1, 100)
            for seconds in (0, 3, 8, 15):
                time_ms = ManualClock().now_ms() + 1000 * seconds
                assert await log.find(shard, time_ms) == await before.find(shard, time_ms)
            if first < next_:
                for producer in ("p0", "p1", "p2"):
                    for sequence in (0, 20, 38, 39, 40):
                        mark = ProducerMark(producer, sequence)
                        assert await log.seen(shard, mark) == await before.seen(shard, mark), (shard, mark)
            waiting = asyncio.create_task(log.wait(shard, next_))
            assert await log.append(shard, Records.of(["k"], [b"new"])) == next_
            await asyncio.wait_for(waiting, 60)
            await log.trim(shard, next_)
            assert await log.bounds(shard) == (next_, next_ + 1)
            assert rows((await log.read(shard, next_, 100)).records) == [("k", b"new")]
    for log in [before, *logs]:
        await log.close()


class Stopped(Exception):
    pass


@pytest.mark.parametrize("into", ["kafka", "file"])
async def test_a_copy_that_was_stopped_anywhere_goes_on(
    tmp_path: Path, kafka_url: str, seed: int, into: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.kafka.filling.SETTLE_S", 0.0)
    monkeypatch.setattr("streams.log.gathering.PART_SIZE", 3000)
    monkeypatch.setattr("streams.log.filling.SEGMENT_SIZE", 5000)
    randomness = random.Random(seed)
    await filled(tmp_path / "one" / "log", seed)
    source = f"file://{tmp_path / 'one'}"
    target = kafka_url if into == "kafka" else f"file://{tmp_path / 'two'}"
    stops = 0
    for turn in itertools.count(1):
        reading = await copying.open_source(Settings(), source)
        writing = await copying.open_target(Settings(), target)
        left = randomness.randrange(1, 6 + 2 * turn)
        add = writing.add

        async def counted(shard: str, part: Part, *, packed: bool) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise Stopped
            await add(shard, part, packed=packed)  # noqa: B023 - used before the next turn

        monkeypatch.setattr(writing, "add", counted)
        try:
            await copy(reading, writing, copying.identity(source))
            break
        except Stopped:
            stops += 1
        finally:
            await writing.close()
            await reading.close()
        with pytest.raises(LogError, match="is not finished"):
            await of(target)
    assert stops, "it was stopped at least once"
    assert await of(target) == await of(source)


async def test_kill_9_in_the_middle(tmp_path: Path, kafka_url: str, seed: int) -> None:
    await filled(tmp_path / "one" / "log", seed)
    source, target = f"file://{tmp_path / 'one'}", kafka_url
    await asyncio.to_thread(_killed_and_finished, source, target)
    found = await of(target)
    wanted = {shard: one for shard, one in (await of(source)).items() if not shard.startswith("streams/")}
    assert {shard: found[shard] for shard in wanted} == wanted


def _killed_and_finished(source: str, target: str) -> None:
    arguments = [sys.executable, "-m", "gateway.cli", "log", "copy", source, target]
    for killed in (1, 3):
        process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        for line in itertools.islice((line for line in process.stderr if line.startswith("copying ")), killed):
            assert line
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.fixture
async def source(tmp_path: Path) -> str:
    await filled(tmp_path / "one" / "log", 1)
    return f"file://{tmp_path / 'one'}"


def command(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["log", "copy", *arguments])


async def test_what_is_refused(tmp_path: Path, kafka_url: str, source: str) -> None:
    log = await EmbeddedLog.open(tmp_path / "one" / "log")
    found = await asyncio.to_thread(command, source, kafka_url)
    assert (found.exit_code, "in use by another process" in found.output) == (1, True), found.output
    await log.close()

    held = await KafkaLog.open(parse(kafka_url))
    await held.create("control/catalog")
    found = await asyncio.to_thread(command, source, kafka_url)
    assert (found.exit_code, "a copy needs a new place" in found.output) == (1, True), found.output
    await held.close()

    await filled(tmp_path / "two" / "log", 2)
    found = await asyncio.to_thread(command, source, f"file://{tmp_path / 'two'}")
    assert (found.exit_code, "is not empty" in found.output) == (1, True), found.output

    for wrong, why in (
        (f"file://{tmp_path / 'nowhere'}", "holds no log"),
        ("file://data", "three slashes"),
        ("s3://bucket", "is not the place of a log"),
    ):
        found = await asyncio.to_thread(command, wrong, f"file://{tmp_path / 'three'}")
        assert (found.exit_code, why in found.output) == (1, True), found.output


async def test_a_log_on_kafka_that_a_server_works_on_is_refused(tmp_path: Path, kafka_url: str) -> None:
    settings = Settings(data=str(tmp_path / "data"), port=0, log=kafka_url)
    target = f"file://{tmp_path / 'two'}"
    async with await App.start(settings):
        deadline = time.monotonic() + 60
        # Until the server is a member of its group, a copy succeeds, or notices that the source changes.
        while "is in use by 1 server" not in (found := await asyncio.to_thread(command, kafka_url, target)).output:
            assert time.monotonic() < deadline, found.output
            shutil.rmtree(tmp_path / "two", ignore_errors=True)
        assert found.exit_code == 1
        shutil.rmtree(tmp_path / "two", ignore_errors=True)
    found = await asyncio.to_thread(command, kafka_url, target)
    assert found.exit_code == 0, found.output


async def test_another_source_does_not_go_on_with_a_copy(tmp_path: Path, kafka_url: str, source: str) -> None:
    target = await KafkaTarget.open(parse(kafka_url))
    await target.begin("file:///somewhere/else", {"control/catalog": 3})
    await target.close()
    found = await asyncio.to_thread(command, source, kafka_url)
    assert (found.exit_code, "a copy of file:///somewhere/else" in found.output) == (1, True), found.output
    with pytest.raises(LogError, match="is not finished"):
        await KafkaLog.open(parse(kafka_url))


async def test_a_source_that_changes_meanwhile_is_noticed(tmp_path: Path, kafka_url: str) -> None:
    log = await KafkaLog.open(parse(kafka_url))
    await log.create("control/a")
    await log.append("control/a", Records.of(["k"], [b"1"]))
    pending: list[asyncio.Task[int]] = []

    def told(shard: str, done: Copied | None) -> None:
        if done is not None:
            pending.append(asyncio.create_task(log.append(shard, Records.of(["k"], [b"2"]))))

    reading = await copying.open_source(Settings(), kafka_url)
    writing = await copying.open_target(Settings(), f"file://{tmp_path / 'two'}")
    shards = reading.shards

    async def after_appends() -> dict[str, tuple[int, int]]:
        await asyncio.gather(*pending)
        return await shards()

    reading.shards = after_appends  # type: ignore[method-assign]
    with pytest.raises(LogError, match="the source has changed meanwhile"):
        await copy(reading, writing, "x", told=told)
    await writing.close()
    await reading.close()
    await log.close()


async def test_a_server_on_the_copy_goes_on_where_the_other_stopped(tmp_path: Path, kafka_url: str) -> None:
    """Streams, an iterator's sequence number, a consumer's position, a delivery stream and a producer's numbers: into Kafka,
    and back into a folder."""
    data, prefix = tmp_path / "data", kafka_url
    delivered = tmp_path / "bucket"
    sent = 0
    held: str | None = None

    def settings(log: str, folder: Path) -> Settings:
        return Settings(data=str(folder), port=0, log=log, buckets={"b": str(delivered)})

    async def work(app: App, *, first: bool) -> None:
        nonlocal sent, held
        kinesis = session().client(
            "kinesis", endpoint_url=app.url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
        )
        native = HttpClient(app.url)

        def make() -> None:
            kinesis.create_stream(StreamName="s", ShardCount=1)
            firehose = session().client(
                "firehose",
                endpoint_url=app.url,
                region_name="us-east-1",
                aws_access_key_id="k",
                aws_secret_access_key="s",
            )
            arn = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
            firehose.create_delivery_stream(
                DeliveryStreamName="d",
                DeliveryStreamType="KinesisStreamAsSource",
                KinesisStreamSourceConfiguration={
                    "KinesisStreamARN": arn,
                    "RoleARN": "arn:aws:iam::000000000000:role/r",
                },
                ExtendedS3DestinationConfiguration={
                    "RoleARN": "arn:aws:iam::000000000000:role/r",
                    "BucketARN": "arn:aws:s3:::b",
                    "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1},
                    "ProcessingConfiguration": {
                        "Enabled": True,
                        "Processors": [{"Type": "AppendDelimiterToRecord", "Parameters": []}],
                    },
                },
            )

        if first:
            await asyncio.to_thread(make)
        async with Producer(native, "s") as producer:
            for number in range(sent, sent + 50):
                await producer.put(b"%d" % number, "k")
        begin, sent = sent, sent + 50
        consumer = Consumer(native, "s", name="c", start=TRIM_HORIZON)
        got: list[int] = []
        async for batch in consumer:
            got += [int(data) for data in batch.records.data.to_pylist()]
            await consumer.checkpoint()
            if len(got) >= 50:
                break
        await consumer.close()
        assert got == list(range(begin, sent)), "it goes on where it was, and nothing comes twice"
        after = (
            {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": held}
            if held
            else {"ShardIteratorType": "TRIM_HORIZON"}
        )

        def read() -> str:
            iterator = kinesis.get_shard_iterator(StreamName="s", ShardId="shardId-000000000000", **after)
            records = kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
            assert [int(record["Data"]) for record in records] == list(range(begin, sent))
            return records[-1]["SequenceNumber"]

        held = await asyncio.to_thread(read)
        await asyncio.to_thread(_wait_delivered, delivered, sent)
        await native.close()

    async with await App.start(settings("", data)) as app:
        await work(app, first=True)
    await asyncio.to_thread(_copy, f"file://{data}", prefix)
    async with await App.start(settings(prefix, data)) as app:
        await work(app, first=False)
        await work(app, first=False)
    await asyncio.to_thread(_copy, prefix, f"file://{tmp_path / 'back'}")
    async with await App.start(settings("", tmp_path / "back")) as app:
        await work(app, first=False)
    assert _delivered(delivered) == Counter(range(sent)), "each record in exactly one object"


def _copy(source: str, target: str) -> None:
    found = command(source, target)
    assert found.exit_code == 0, found.output


def _wait_delivered(bucket: Path, count: int) -> None:
    """There is nothing to wait on but the files."""
    deadline = time.monotonic() + 120
    while sum(_delivered(bucket).values()) < count:
        assert time.monotonic() < deadline, f"{sum(_delivered(bucket).values())} of {count} are delivered"
        time.sleep(0.1)


def _delivered(bucket: Path) -> Counter[int]:
    found: Counter[int] = Counter()
    for path in bucket.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            found.update(int(line) for line in path.read_text().split())
    return found
