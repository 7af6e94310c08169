"""Packed: many records in one Kafka record, and for everybody else a log like any other."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.record.default_records import DefaultRecordBatch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from streams.core.clock import ManualClock
from streams.core.errors import LogCorrupt
from streams.core.records import HASH_KEY, ProducerMark, Records
from streams.kafka.address import COMPRESSIONS, parse
from streams.kafka.codec import decode, plain
from streams.kafka.log import KafkaLog
from streams.kafka.packing import packed
from streams.kafka.producers import Producers
from streams.log.memory import MemoryLog
from tests.kafka.kafka_broker import Broker
from tests.log.engines import PackedKafkaLog, read_all, records, rows
from tests.log.test_log_model import MARKS, OFFSETS, ROWS, answer

SHARD = "streams/8c1f/shardId-000000000000"
KINDS = [None if one == "none" else one for one in COMPRESSIONS]

Opener = Callable[..., Awaitable[KafkaLog]]

_turns = itertools.count()


@pytest.fixture
async def opened(kafka_url: str) -> AsyncIterator[Opener]:
    logs: list[KafkaLog] = []

    async def start(kind: type[KafkaLog] = PackedKafkaLog, options: str = "") -> KafkaLog:
        log = await kind.open(parse(kafka_url + options), clock=ManualClock())
        logs.append(log)
        return log

    yield start
    for log in logs:
        await log.close()


@given(
    lengths=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 300)), min_size=1, max_size=80),
    hashed=st.booleans(),
    spread=st.sampled_from([0, 1, 70, 10**5, 10**12]),
    compression=st.sampled_from(KINDS),
    form=st.sampled_from([packed, plain]),
)
@settings(max_examples=80)
def test_a_batch_is_read_as_it_was_written_and_kafkas_own_form_is_kept(
    lengths: list[tuple[int, int]], hashed: bool, spread: int, compression: str | None, form: Any
) -> None:
    count = len(lengths)
    given_ = Records.of(["ü" * size for size, _ in lengths], [b"x" * size for _, size in lengths])
    hash_keys = [None if index % 3 else bytes([index]) * 16 for index in range(count)]
    arrivals = 1_700_000_000_000 + spread * np.arange(count)
    one = Records(given_.data, given_.partition_key, pa.array(hash_keys, HASH_KEY) if hashed else None)
    times: Any = int(arrivals[0])
    if spread:
        one = one.with_arrival(arrivals)
        times = (int(arrivals[0]), int(arrivals[-1])) if form is packed else arrivals
    marks = [(ProducerMark("p", 1), 0), (ProducerMark("q", 2), count - 1)]
    batch = form(one, times, marks, compression)
    batch._set_producer_state(7, 1, 42)
    data = batch._build()
    (part,) = decode(data + data[:70], "shard")
    assert rows(part.records) == rows(one)
    assert part.records.arrival_ms().tolist() == arrivals.tolist()
    found = [None] * count if part.records.hash_key is None else part.records.hash_key.to_pylist()
    assert found == (hash_keys if hashed else [None] * count)
    assert part.marks == [(mark, place) for mark, place in marks]
    theirs = DefaultRecordBatch(bytearray(data))
    assert theirs.validate_crc()
    assert [record.offset for record in theirs] == list(range(count))
    assert [record.timestamp for record in DefaultRecordBatch(bytearray(data))] == arrivals.tolist()


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 8191, 8192, 8193, 70_000])
def test_as_many_kafka_records_as_records(count: int) -> None:
    data = packed(Records.of(["k"] * count, [b"x"] * count), 5, [], None)._build()
    assert [record.offset for record in DefaultRecordBatch(bytearray(data))] == list(range(count))
    (part,) = decode(data, "shard")
    assert len(part.records) == count


def test_damage_is_said() -> None:
    data = bytearray(packed(records([("k", b"1")] * 10), 5, [], None)._build())
    for place in range(21, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        with pytest.raises(LogCorrupt, match="is not what was written"):
            list(decode(bytes(damaged), "shard"))


@pytest.mark.parametrize("compression", COMPRESSIONS)
async def test_a_broker_takes_and_numbers_them(opened: Opener, compression: str) -> None:
    log = await opened(options=f"?compression={compression}")
    await log.create(SHARD)
    wanted = [(f"{place}", b"%d" % place * (place % 50)) for place in range(9000)]
    for first in range(0, 9000, 3000):
        assert await log.append(SHARD, records(wanted[first : first + 3000]), ProducerMark("p", first + 1)) == first
    other = await opened()
    assert await other.bounds(SHARD) == (0, 9000)
    assert await read_all(other, SHARD, 20_000) == wanted
    assert rows((await other.read(SHARD, 4711, 1)).records) == [wanted[4711]]
    assert await other.seen(SHARD, ProducerMark("p", 6001)) == 6000
    await other.trim(SHARD, 4000)
    assert await read_all(await opened(), SHARD) == wanted[4000:]


async def test_both_kinds_share_a_shard_and_many_processes_append_at_once(opened: Opener, seed: int) -> None:
    randomness = random.Random(seed)
    logs = [await opened(), await opened(KafkaLog), await opened()]
    await logs[0].create(SHARD)
    placed: dict[int, tuple[str, bytes]] = {}

    async def work(number: int, log: KafkaLog) -> None:
        for turn in range(20):
            some = [(f"{number}", b"%d %d" % (turn, place)) for place in range(randomness.randint(1, 40))]
            first = await log.append(SHARD, records(some), ProducerMark(f"{number}", turn))
            placed.update(enumerate(some, first))

    await asyncio.gather(*(work(number, log) for number, log in enumerate(logs)))
    assert sorted(placed) == list(range(len(placed)))
    assert await read_all(await opened(), SHARD, 500) == [placed[offset] for offset in range(len(placed))]


async def test_what_is_put_singly_at_once_is_one_frame(opened: Opener, kafka_broker: Broker, kafka_url: str) -> None:
    log = await opened()
    await log.create(SHARD)
    await log.append(SHARD, records([("k", b"0")]))
    firsts = await asyncio.gather(*(log.append(SHARD, records([("k", b"%d" % turn)])) for turn in range(1, 50)))
    assert firsts == list(range(1, 50))
    place = TopicPartition(f"{kafka_url.rpartition('/')[2]}.streams.8c1f", 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_broker.address, auto_offset_reset="earliest")
    async with consumer:
        consumer.assign([place])
        found = [await consumer.getone() for _ in range(50)]
    assert [record.offset for record in found] == list(range(50))
    carriers = [record.offset for record in found if record.value is not None]
    assert carriers[:2] == [0, 1]
    assert len(carriers) <= 4


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.just("a"), ROWS, MARKS),
        st.tuples(st.just("read"), st.just("a"), OFFSETS, st.integers(1, 1000)),
        st.tuples(st.just("find"), st.just("a"), st.integers(0, 20)),
        st.tuples(st.just("trim"), st.just("a"), OFFSETS),
        st.tuples(st.just("advance"), st.floats(0, 5)),
        st.tuples(st.just("reopen")),
    ),
    max_size=25,
)


def over_a_network(examples: int) -> settings:
    return settings(
        max_examples=examples,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking would take an hour
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


@pytest.mark.parametrize("kind", [KafkaLog, PackedKafkaLog])
@given(steps=STEPS)
@over_a_network(6)
def test_every_answer_is_the_oracles(kafka_broker: Broker, kind: type[KafkaLog], steps: list[Any]) -> None:
    asyncio.run(compare(kafka_broker, kind, steps))


@pytest.mark.soak
@pytest.mark.parametrize("kind", [KafkaLog, PackedKafkaLog])
@given(steps=STEPS)
@over_a_network(100)
def test_every_answer_is_the_oracles_at_length(kafka_broker: Broker, kind: type[KafkaLog], steps: list[Any]) -> None:
    asyncio.run(compare(kafka_broker, kind, steps))


async def compare(kafka_broker: Broker, kind: type[KafkaLog], steps: list[Any]) -> None:
    clock = ManualClock()
    oracle = MemoryLog(clock)
    url = parse(f"kafka://{kafka_broker.address}/model{next(_turns)}")
    log = await kind.open(url, clock=clock)
    for each in (log, oracle):
        await each.create("a")
    trimmed = forgotten = False
    for step in steps:
        if step[0] == "advance":
            clock.advance(step[1])
        elif step[0] == "reopen":
            await log.close()
            log = await kind.open(url, clock=clock)
            forgotten = trimmed
        else:
            trimmed = trimmed or step[0] == "trim"
            if step[0] == "append" and forgotten:
                step = (*step[:3], None)  # a mark lies in its records, and these may be gone
            assert await answer(log, clock, step) == await answer(oracle, clock, step), step
        assert await log.bounds("a") == await oracle.bounds("a")
    await log.drop("a")
    await log.close()


async def test_a_producer_whose_numbers_come_to_an_end_is_followed_by_another(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.kafka.producers.NUMBERS", 10)
    log = await opened()
    await log.create(SHARD)
    first_one = await log._producers._producer()
    started = []
    start = Producers._start

    async def counted(self: Producers) -> Any:
        started.append(self)
        return await start(self)

    monkeypatch.setattr(Producers, "_start", counted)
    log._producers.spoiled(first_one)
    for turn in range(8):
        assert await log.append(SHARD, records([("k", b"x")] * 4)) == 4 * turn
    assert len(started) == 4
