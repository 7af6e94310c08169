"""A broker that is killed, stands still or stays away: what was acknowledged is there, once, and the rest says so."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Iterator

import pytest

from streams.core.errors import LogUnreachable
from streams.core.records import ProducerMark
from streams.kafka.address import parse
from streams.kafka.log import KafkaLog
from tests.kafka.kafka_broker import Broker
from tests.log.engines import PackedKafkaLog, read_all, records

SHARDS = [f"streams/8c1f/shardId-{index:012d}" for index in range(3)]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One of its own, to be killed."""
    broker = Broker(tmp_path_factory.mktemp("kafka")).start()
    yield broker
    broker.kill()


KINDS = [KafkaLog, PackedKafkaLog]


@pytest.fixture(params=["either", *(pytest.param(kind, marks=pytest.mark.soak) for kind in KINDS)])
async def log(broker: Broker, request: pytest.FixtureRequest, seed: int) -> AsyncIterator[KafkaLog]:
    prefix = re.sub("[^a-zA-Z0-9]+", "-", request.node.name)[-60:].strip("-")
    kind = random.Random(seed).choice(KINDS) if request.param == "either" else request.param
    log = await kind.open(parse(f"kafka://{broker.address}/{prefix}"))
    for shard in SHARDS:
        await log.create(shard)
    yield log
    await log.close()


async def test_every_append_once_through_kills(log: KafkaLog, broker: Broker, seed: int) -> None:
    """Producers that repeat what failed, under its mark, while the broker is killed twice."""
    randomness = random.Random(seed)
    stop = asyncio.Event()
    put: dict[str, list[tuple[str, bytes]]] = {shard: [] for shard in SHARDS}
    grown = {shard: asyncio.Event() for shard in SHARDS}

    async def produce(shard: str) -> None:
        sequence = 0
        while not stop.is_set():
            sequence += 1
            rows = [(f"{sequence}", b"%d" % place) for place in range(randomness.randrange(1, 20))]
            while True:
                try:
                    first = await log.append(shard, records(rows), ProducerMark("p", sequence))
                except LogUnreachable:
                    continue
                assert first == len(put[shard])
                put[shard] += rows
                grown[shard].set()
                break

    producing = [asyncio.create_task(produce(shard)) for shard in SHARDS]
    reading = asyncio.create_task(log.wait(SHARDS[0], 10**9))
    for _ in range(2):
        await asyncio.sleep(0.2 + randomness.random() / 4)
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.start)
    for event in grown.values():
        event.clear()
        await asyncio.wait_for(event.wait(), 60)
    stop.set()
    await asyncio.gather(*producing)
    reading.cancel()
    for shard in SHARDS:
        assert await read_all(log, shard) == put[shard]


async def test_while_no_broker_answers_calls_fail_in_time_and_then_go_on(
    log: KafkaLog, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.kafka.cluster.PATIENCE_S", 1.0)
    monkeypatch.setattr("streams.kafka.appends.PATIENCE_S", 1.0)
    await log.append(SHARDS[0], records([("k", b"1")]))
    await asyncio.to_thread(broker.kill)
    waiting = asyncio.create_task(log.wait(SHARDS[1], 0))
    with pytest.raises(LogUnreachable, match="not taken records within 1 s"):
        await asyncio.wait_for(log.append(SHARDS[0], records([("k", b"2")]), ProducerMark("p", 1)), 30)
    with pytest.raises(LogUnreachable, match="has not answered for 1 s"):
        await asyncio.wait_for(log.bounds(SHARDS[1]), 30)
    assert len(await log.read(SHARDS[0], 0, 100)) == 1, "what was appended here lately is here"
    with pytest.raises(LogUnreachable):
        await waiting
    await asyncio.to_thread(broker.start)
    monkeypatch.undo()
    assert await log.append(SHARDS[0], records([("k", b"2")]), ProducerMark("p", 1)) == 1
    assert await read_all(log, SHARDS[0]) == [("k", b"1"), ("k", b"2")]
    waiting = asyncio.create_task(log.wait(SHARDS[1], 0))
    await log.append(SHARDS[1], records([("k", b"3")]))
    await asyncio.wait_for(waiting, 60)


async def test_a_broker_that_stands_still_for_a_while_costs_time_only(log: KafkaLog, broker: Broker) -> None:
    await log.append(SHARDS[0], records([("k", b"1")]))
    broker.pause()
    try:
        append = asyncio.create_task(log.append(SHARDS[0], records([("k", b"2")])))
        read = asyncio.create_task(log.bounds(SHARDS[0]))
        await asyncio.sleep(0.5)
        assert not append.done()
    finally:
        broker.resume()
    assert await asyncio.wait_for(append, 60) == 1
    assert (await asyncio.wait_for(read, 60))[0] == 0
