"""The log on a real Apache Kafka, beyond what every engine promises: several processes' logs over one cluster."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.core.clock import ManualClock
from streams.core.errors import LogClosed, LogUnreachable, ShardUnknown
from streams.core.records import ProducerMark, Records
from streams.kafka.address import parse
from streams.kafka.log import KafkaLog
from tests.kafka.kafka_broker import Broker
from tests.log.engines import read_all, records

SHARD = "streams/8c1f/shardId-000000000000"
OTHER = "streams/8c1f/shardId-000000000001"

Opener = Callable[[], Awaitable[KafkaLog]]


@pytest.fixture
async def opened(kafka_url: str) -> AsyncIterator[Opener]:
    """Opens the same log once more, as another process would."""
    logs: list[KafkaLog] = []

    async def start() -> KafkaLog:
        log = await KafkaLog.open(parse(kafka_url), clock=ManualClock())
        logs.append(log)
        return log

    yield start
    for log in logs:
        await log.close()


async def test_what_one_appends_all_read(opened: Opener) -> None:
    one, other = await opened(), await opened()
    await one.create(SHARD)
    assert await one.append(SHARD, records([("a", b"1")])) == 0
    assert await other.append(SHARD, records([("b", b"2")])) == 1
    assert await one.bounds(SHARD) == await other.bounds(SHARD) == (0, 2)
    assert await read_all(one, SHARD) == await read_all(other, SHARD) == [("a", b"1"), ("b", b"2")]
    assert await other.shards() == [SHARD]


async def test_whoever_waits_is_woken_by_anothers_append(opened: Opener) -> None:
    one, other = await opened(), await opened()
    await one.create(SHARD)
    waiting = asyncio.create_task(other.wait(SHARD, 1))
    for turn in range(2):
        await one.append(SHARD, records([("k", b"%d" % turn)]))
    await asyncio.wait_for(waiting, 60)
    assert len(await other.read(SHARD, 1, 100)) == 1


async def test_whoever_waits_hears_that_another_has_dropped_the_shard(opened: Opener) -> None:
    one, other = await opened(), await opened()
    await one.create(SHARD)
    waiting = asyncio.create_task(other.wait(SHARD, 0))
    await other.bounds(SHARD)
    await one.drop(SHARD)
    with pytest.raises(ShardUnknown):
        await asyncio.wait_for(waiting, 60)
    with pytest.raises(ShardUnknown):
        await other.bounds(SHARD)


async def test_a_mark_is_known_after_a_restart_and_to_others(opened: Opener) -> None:
    one, other = await opened(), await opened()
    await one.create(SHARD)
    await one.append(SHARD, records([("k", b"0")]))
    assert await one.append(SHARD, records([("k", b"1"), ("k", b"2")]), ProducerMark("p", 3)) == 1
    assert await other.append(SHARD, records([("k", b"1"), ("k", b"2")]), ProducerMark("p", 3)) == 1
    assert await other.append(SHARD, records([("k", b"3")]), ProducerMark("p", 4)) == 3
    assert await one.seen(SHARD, ProducerMark("p", 4)) == 3
    assert await one.append(SHARD, records([("k", b"3")]), ProducerMark("p", 4)) == 3
    assert await (await opened()).seen(SHARD, ProducerMark("p", 4)) == 3
    assert await one.bounds(SHARD) == (0, 4)


async def test_a_repeat_is_known_however_old_it_is(kafka_url: str) -> None:
    """Days later, in a process that was started since, behind records of others; written down or not when its own died."""
    clock = ManualClock()
    address = parse(kafka_url)
    first = await KafkaLog.open(address, clock=clock)
    await first.create(SHARD)
    await first.append(SHARD, records([("k", b"1")]), ProducerMark("early", 7))
    clock.advance(30)
    await first.append(SHARD, records([("k", b"2")]), ProducerMark("late", 1))  # only in the shard
    other = await KafkaLog.open(address, clock=clock)
    for _ in range(5):
        clock.advance(86_400)
        await other.append(SHARD, records([("k", b"x")]))
    fresh = await KafkaLog.open(address, clock=clock)
    assert await fresh.append(SHARD, records([("k", b"1")]), ProducerMark("early", 7)) == 0
    assert await fresh.append(SHARD, records([("k", b"2")]), ProducerMark("late", 1)) == 1
    assert await other.append(SHARD, records([("k", b"1")]), ProducerMark("early", 7)) == 0
    assert await fresh.append(SHARD, records([("k", b"3")]), ProducerMark("late", 2)) == 7
    for log in (first, other, fresh):
        assert await log.bounds(SHARD) == (0, 8)
        await log.close()


async def test_repeats_through_restarts_at_any_time(kafka_url: str, seed: int) -> None:
    """Against a table of what was appended last under each name. Processes die without a word."""
    randomness, clock, address = random.Random(seed), ManualClock(), parse(kafka_url)
    logs = [await KafkaLog.open(address, clock=clock) for _ in range(2)]
    opened = list(logs)
    await logs[0].create(SHARD)
    last: dict[str, tuple[int, int]] = {}
    count = 0
    for _ in range(120):
        clock.advance(randomness.choice((0.0, 1.0, 20.0, 70.0, 2_000.0)))
        place = randomness.randrange(2)
        if randomness.random() < 0.15:
            logs[place] = await KafkaLog.open(address, clock=clock)
            opened.append(logs[place])
        producer, log = f"p{randomness.randrange(3)}", logs[place]
        sequence, first = last.get(producer, (0, -1))
        match randomness.randrange(4):
            case 0:
                await log.append(SHARD, records([("k", b"unmarked")]))
                count += 1
            case 1 if sequence:
                assert await log.append(SHARD, records([("k", b"again")]), ProducerMark(producer, sequence)) == first
            case _:
                assert await log.append(SHARD, records([("k", b"new")]), ProducerMark(producer, sequence + 1)) == count
                last[producer] = sequence + 1, count
                count += 1
    assert await logs[0].bounds(SHARD) == (0, count)
    for log in opened:
        await log.close()


async def test_arrival_goes_on_where_it_was_after_a_restart(kafka_url: str) -> None:
    clock = ManualClock()
    for step in (5.0, -5.0):
        clock.advance(step)
        log = await KafkaLog.open(parse(kafka_url), clock=clock)
        await log.create(SHARD)
        await log.append(SHARD, records([("k", b"x")]))
        found = (await log.read(SHARD, 0, 100)).records.arrival_ms().tolist()
        await log.close()
    assert found[-1] == ManualClock().now_ms() + 5000


async def test_a_shard_that_is_dropped_leaves_the_other_shards_of_its_stream(opened: Opener) -> None:
    one = await opened()
    await asyncio.gather(one.create(SHARD), one.create(OTHER))
    await one.append(SHARD, records([("k", b"1")]))
    await one.append(OTHER, records([("k", b"2")]))
    await one.drop(SHARD)
    assert await one.shards() == [OTHER]
    assert await read_all(one, OTHER) == [("k", b"2")]
    with pytest.raises(ShardUnknown):
        await one.read(SHARD, 0, 100)
    again = await opened()
    assert await again.shards() == [SHARD, OTHER], "a partition cannot be taken from a topic"
    assert await again.bounds(SHARD) == (1, 1), "but its records are gone"
    await one.drop(OTHER)
    assert await again.shards() == []


async def test_new_shards_are_new_partitions(opened: Opener) -> None:
    one, other = await opened(), await opened()
    await one.create(SHARD)
    await other.create("streams/8c1f/shardId-000000000003")
    await asyncio.gather(one.create(OTHER), other.create(OTHER))
    await one.append(OTHER, records([("k", b"x")]))
    assert await other.shards() == [f"streams/8c1f/shardId-{index:012d}" for index in range(4)]


async def test_shards_that_are_made_at_once_are_one_request(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    log, other = await opened(), await opened()
    requests: list[int] = []
    create = log.cluster.create

    async def counted(topic: str, partitions: int, config: Mapping[str, str] | None = None) -> None:
        if not topic.endswith("-marks"):
            requests.append(partitions)
        await create(topic, partitions, config)

    monkeypatch.setattr(log.cluster, "create", counted)
    shards = [f"streams/8c1f/shardId-{index:012d}" for index in range(40)]
    await asyncio.gather(*map(log.create, shards), other.create(shards[7]))
    assert requests == [40]
    await log.append(shards[39], records([("k", b"x")]))
    assert await other.shards() == shards


async def test_any_kafka_tool_reads_a_stream(opened: Opener, kafka_broker: Broker, kafka_url: str) -> None:
    log = await opened()
    await asyncio.gather(log.create(SHARD), log.create(OTHER))
    await log.append(OTHER, Records.of(["ü"], [b"data"], [bytes(range(16))]), ProducerMark("p", 7))
    prefix = kafka_url.rpartition("/")[2]
    place = TopicPartition(f"{prefix}.streams.8c1f", 1)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_broker.address, auto_offset_reset="earliest")
    async with consumer:
        consumer.assign([place])
        found = await consumer.getone()
    assert (found.key, found.value, found.offset, found.timestamp) == ("ü".encode(), b"data", 0, ManualClock().now_ms())
    assert dict(found.headers) == {
        "headrace-producer": b"p",
        "headrace-sequence": b"7",
        "headrace-hash-key": bytes(range(16)),
    }


async def test_large_appends_and_reads_of_them_in_small_steps(opened: Opener) -> None:
    log = await opened()
    await log.create(SHARD)
    rows = [(f"{turn}", bytes([turn % 256]) * 100_000) for turn in range(100)]
    await log.append(SHARD, records(rows))
    assert await read_all(await opened(), SHARD, 250_000) == rows


async def test_without_a_broker_a_log_is_unavailable(tmp_path: object) -> None:
    with pytest.raises(LogUnreachable, match=r"no broker of 127\.0\.0\.1:1 answers"):
        await KafkaLog.open(parse("kafka://127.0.0.1:1"))


async def test_appends_under_way_end_before_the_log_is_closed(opened: Opener) -> None:
    log = await opened()
    await log.create(SHARD)
    under_way = [asyncio.create_task(log.append(SHARD, records([("k", b"x")]))) for _ in range(10)]
    await asyncio.sleep(0)
    await log.close()
    outcomes = await asyncio.gather(*under_way, return_exceptions=True)
    assert all(isinstance(outcome, int | LogClosed) for outcome in outcomes), outcomes
    assert (await (await opened()).bounds(SHARD))[1] == sum(isinstance(outcome, int) for outcome in outcomes)
