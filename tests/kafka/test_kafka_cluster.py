"""Three brokers, every record on all of them: leaders that move and die, all of them away for a minute.

What was acknowledged is there once; what is not acknowledged was refused within its deadline, and may be tried again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from streams.core.errors import LogUnreachable
from streams.core.records import ProducerMark
from streams.kafka.address import parse
from streams.kafka.cluster import PATIENCE_S, REQUEST_S
from streams.kafka.log import KafkaLog
from streams.kafka.places import place_of
from tests.kafka.kafka_broker import Broker
from tests.kafka.kafka_cluster import Cluster
from tests.log.engines import read_all, records

SHARDS = [f"streams/8c1f/shardId-{index:012d}" for index in range(3)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield cluster.start()
    finally:
        cluster.kill()


class Load:
    """Producers that repeat what was refused, under its mark, one for each shard."""

    def __init__(self, log: KafkaLog, seed: int) -> None:
        self.put: dict[str, list[tuple[str, bytes]]] = {shard: [] for shard in SHARDS}
        self.refused = 0
        self.slowest_s = 0.0
        self._log = log
        self._random = random.Random(seed)
        self._stop = asyncio.Event()
        self._grown = {shard: asyncio.Event() for shard in SHARDS}
        self._tasks = [asyncio.create_task(self._produce(shard)) for shard in SHARDS]

    async def _produce(self, shard: str) -> None:
        sequence = 0
        while not self._stop.is_set():
            sequence += 1
            rows = [(f"{sequence}", b"%d" % place) for place in range(self._random.randrange(1, 20))]
            while True:
                began = time.monotonic()
                try:
                    first = await self._log.append(shard, records(rows), ProducerMark("p", sequence))
                except LogUnreachable:
                    self.refused += 1
                    self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                    continue
                assert first == len(self.put[shard])
                self.put[shard] += rows
                self._grown[shard].set()
                await asyncio.sleep(0.01)
                break

    async def grow(self) -> None:
        """Every shard takes something again."""
        for event in self._grown.values():
            event.clear()
        async with asyncio.timeout(120):
            for event in self._grown.values():
                await event.wait()

    async def end(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)


@pytest.fixture
async def log(cluster: Cluster, request: pytest.FixtureRequest) -> AsyncIterator[KafkaLog]:
    prefix = request.node.name.replace("_", "-")[:40].strip("-")
    log = await KafkaLog.open(parse(f"kafka://{cluster.address}/{prefix}?replication=3"))
    for shard in SHARDS:
        await log.create(shard)
    yield log
    await log.close()


def leader(log: KafkaLog, cluster: Cluster) -> Broker:
    """Of the first shard."""
    found = log.cluster.leader(place_of(log.address.prefix, SHARDS[0]))
    assert found is not None
    return cluster.nodes[found - 1]


async def check(log: KafkaLog, load: Load, cluster: Cluster) -> None:
    """Also as a process reads it that was not there."""
    fresh = await KafkaLog.open(log.address)
    for shard in SHARDS:
        assert await read_all(fresh, shard) == load.put[shard]
    await fresh.close()


async def test_a_leader_is_killed_and_comes_back_under_load(log: KafkaLog, cluster: Cluster, seed: int) -> None:
    load = Load(log, seed)
    await load.grow()
    broker = leader(log, cluster)
    await asyncio.to_thread(broker.kill)
    async with asyncio.timeout(120):
        await load.grow()
        while leader(log, cluster) is broker:  # what this process knows of leaders is as old as its last question
            await load.grow()
    await asyncio.to_thread(broker.start)
    await load.grow()
    await load.end()
    await check(log, load, cluster)


@pytest.mark.soak
async def test_leadership_goes_round_in_order_and_out_of_it(log: KafkaLog, cluster: Cluster, seed: int) -> None:
    """Each broker is taken out as before maintenance (it hands its leadership on), and killed, in turn."""
    load = Load(log, seed)
    for end in (Broker.stop, Broker.kill) * 3:
        broker = leader(log, cluster)
        await asyncio.to_thread(end, broker)
        await load.grow()
        await asyncio.to_thread(broker.start)
        await load.grow()
    await load.end()
    await check(log, load, cluster)


@pytest.mark.soak
async def test_all_brokers_are_down_for_a_minute(log: KafkaLog, cluster: Cluster, seed: int) -> None:
    load = Load(log, seed)
    await load.grow()
    await asyncio.to_thread(cluster.kill)
    await asyncio.sleep(60)
    refused = load.refused
    await asyncio.to_thread(cluster.start)
    await load.grow()
    await load.end()
    assert refused >= 2 * len(SHARDS), "each producer was told, again and again"
    assert load.slowest_s < PATIENCE_S + REQUEST_S
    print(f"{refused} appends were refused in a minute without brokers, none after more than {load.slowest_s:.1f} s")
    await check(log, load, cluster)


@pytest.mark.soak
async def test_with_too_few_replicas_in_sync_nothing_is_acknowledged(log: KafkaLog, cluster: Cluster) -> None:
    """One broker of three is left: it has the records, and takes none that nobody else would have."""
    await log.append(SHARDS[0], records([("k", b"1")]), ProducerMark("p", 1))
    down = [node for node in cluster.nodes if node is not leader(log, cluster)]
    for node in down:
        await asyncio.to_thread(node.kill)
    with pytest.raises(LogUnreachable):
        await log.append(SHARDS[0], records([("k", b"2")]), ProducerMark("p", 2))
    for node in down:
        await asyncio.to_thread(node.start)
    async with asyncio.timeout(120):
        while True:
            try:
                assert await log.append(SHARDS[0], records([("k", b"2")]), ProducerMark("p", 2)) == 1
                break
            except LogUnreachable:
                continue
    assert await read_all(log, SHARDS[0]) == [("k", b"1"), ("k", b"2")]
