"""Producer: every record once and in order, whatever fails; memory is bounded; no error is lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from typing import Any

import pytest

from streams.core.clock import ManualClock, SystemClock
from streams.core.errors import LogFull, ResourceNotFound, ServiceUnavailable, ValidationError
from streams.core.records import ProducerMark, Records
from streams.log.memory import MemoryLog
from streams.sdk.client import Client, Receipt
from streams.sdk.local import LocalClient
from streams.sdk.producer import RECORD_OVERHEAD, Producer
from streams.sdk.tables import read_table
from streams.service import Service
from tests.sdk.conftest import HastyClock, until


class Held:
    """A client whose puts stand still until released, and are counted."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.released = asyncio.Event()
        self.puts: list[Records] = []

    async def put(self, stream: str, records: Records, mark: ProducerMark | None = None) -> Receipt:
        self.puts.append(records)
        await self.released.wait()
        return await self._client.put(stream, records, mark)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class Failing:
    """A client that fails with `error` as often as told."""

    def __init__(self, client: Client, error: Exception, times: int) -> None:
        self._client = client
        self._error = error
        self.left = times

    async def put(self, stream: str, records: Records, mark: ProducerMark | None = None) -> Receipt:
        if self.left > 0:
            self.left -= 1
            raise self._error
        return await self._client.put(stream, records, mark)


class FaultyLog(MemoryLog):
    """A log that fails before or after the effect of an append, from a seed, once it is armed."""

    armed = False

    def __init__(self, seed: int) -> None:
        super().__init__(SystemClock())
        self._choose = random.Random(seed)

    async def append(self, shard: str, records: Records, mark: ProducerMark | None = None) -> int:
        fault = self._choose.random() if self.armed and not shard.startswith("control/") else 1.0
        if fault < 0.2:
            raise LogFull("the disk is full, for a moment")
        offset = await super().append(shard, records, mark)
        if fault < 0.4:
            raise LogFull("the answer got lost")
        return offset


async def stored(client: Client, stream: str) -> list[tuple[str, bytes]]:
    table = await read_table(client, stream)
    return list(zip(table["partition_key"].to_pylist(), table["data"].to_pylist(), strict=True))


async def test_a_ticket_says_where_the_record_is(client: Client) -> None:
    await client.create_stream("s", 2)
    async with Producer(client, "s") as producer:
        first = await producer.put("eins", "k")
        second = await producer.put(b"zwei", "k")
        lower = await producer.put(b"low", "k", explicit_hash_key=0)
        upper = await producer.put(b"high", "k", explicit_hash_key=str(2**128 - 1))
        shard, offset = await first
        assert await second == (shard, offset + 1)
        assert first.done()
    assert {(await lower).shard, (await upper).shard} == {"shardId-000000000000", "shardId-000000000001"}
    assert sorted(await stored(client, "s")) == [("k", b"eins"), ("k", b"high"), ("k", b"low"), ("k", b"zwei")]


async def test_what_arrives_during_a_put_becomes_the_next_one(client: Client) -> None:
    await client.create_stream("s")
    held = Held(client)
    async with Producer(held, "s") as producer:
        await producer.put("0")
        await asyncio.sleep(0)
        tickets = await producer.put_many((None, str(i)) for i in range(1, 100))
        held.released.set()
        await tickets[-1]
        assert [len(records) for records in held.puts] == [1, 99]


async def test_linger_is_waited_for_by_the_clock_alone(client: Client) -> None:
    await client.create_stream("s")
    clock = ManualClock()
    producer = Producer(client, "s", linger_ms=500, clock=clock)
    ticket = await producer.put("a")
    await until(lambda: clock.sleeping == 1)
    clock.advance(0.499)
    await asyncio.sleep(0)
    assert not ticket.done()
    await producer.put("b")
    clock.advance(0.001)
    assert (await ticket).offset == 0
    await producer.close()
    assert len(await stored(client, "s")) == 2


async def test_records_without_a_key_spread(client: Client) -> None:
    await client.create_stream("s", 4)
    async with Producer(client, "s", randomness=random.Random(7)) as producer:
        await producer.put_many((None, "x") for _ in range(100))
    assert len(set((await read_table(client, "s"))["shard"].to_pylist())) == 4


@pytest.mark.parametrize("attempt", range(8))
async def test_every_record_once_and_in_order_whatever_fails(
    attempt: int, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Appends fail before or after their effect, in some shards of a put and not in others."""
    caplog.set_level(logging.CRITICAL)
    log = FaultyLog(seed + attempt)
    service = Service(log, clock=SystemClock())
    await service.open()
    client = LocalClient(service)
    await client.create_stream("s", 3)
    log.armed = True
    choose = random.Random(seed + attempt)
    expected: dict[str, list[bytes]] = defaultdict(list)
    tickets = []
    async with Producer(
        client, "s", batch_count_max=7, buffer_size_max=8000, clock=HastyClock(), randomness=choose, deadline_s=1e9
    ) as producer:
        for index in range(300):
            key, data = f"key{choose.randrange(5)}", b"%d" % index
            expected[key].append(data)
            tickets.append((data, await producer.put(data, key)))
            if choose.random() < 0.1:
                await asyncio.sleep(0)
    log.armed = False
    found: dict[str, list[bytes]] = defaultdict(list)
    for key, data in await stored(client, "s"):
        found[key].append(data)
    assert found == expected
    table = await read_table(client, "s")
    places = dict(
        zip(
            table["data"].to_pylist(),
            zip(table["shard"].to_pylist(), table["offset"].to_pylist(), strict=True),
            strict=True,
        )
    )
    for data, ticket in tickets:
        assert await ticket == places[data]
    await service.close()
    await log.close()


async def test_back_pressure_bounds_what_is_held(client: Client) -> None:
    await client.create_stream("s")
    held = Held(client)
    bound = 50 * (RECORD_OVERHEAD + 110)
    producer = Producer(held, "s", buffer_size_max=bound)
    accepted = 0

    async def pour() -> None:
        nonlocal accepted
        for _ in range(500):
            await producer.put(bytes(100), "0123456789")
            accepted += 1
            assert producer.buffered <= bound

    pouring = asyncio.create_task(pour())
    for _ in range(20):
        await asyncio.sleep(0)
    assert accepted == 50
    held.released.set()
    await pouring
    await producer.close()
    assert len(await stored(client, "s")) == 500
    assert producer.buffered == 0


async def test_an_error_reaches_the_ticket_and_is_then_known(client: Client) -> None:
    await client.create_stream("s")
    failing = Failing(client, ResourceNotFound("no such stream"), 1)
    async with Producer(failing, "s") as producer:
        ticket = await producer.put("lost")
        with pytest.raises(ResourceNotFound):
            await ticket
        with pytest.raises(ResourceNotFound):
            await ticket
        await producer.put("kept")
    assert [data for _, data in await stored(client, "s")] == [b"kept"]


async def test_an_error_that_nobody_saw_is_raised_by_flush(client: Client) -> None:
    await client.create_stream("s")
    producer = Producer(Failing(client, ResourceNotFound("no such stream"), 1), "s")
    lost = await producer.put_many([("k", "1"), ("k", "2"), ("k", "3")])
    await producer.put("4", "k")
    with pytest.raises(ResourceNotFound):
        await lost[0]
    with pytest.raises(ResourceNotFound) as caught:
        await producer.flush()
    assert caught.value.__notes__ == ["3 records given to the producer were not delivered"]
    with pytest.raises(ResourceNotFound):
        await lost[1]
    await producer.close()


async def test_an_error_that_nobody_saw_is_raised_by_close(client: Client) -> None:
    await client.create_stream("s")
    with pytest.raises(ResourceNotFound):
        async with Producer(Failing(client, ResourceNotFound("no such stream"), 1), "s") as producer:
            await producer.put("lost")


async def test_the_error_of_the_block_is_not_hidden_by_that_of_the_producer(client: Client) -> None:
    await client.create_stream("s")

    async def block() -> None:
        async with Producer(Failing(client, ResourceNotFound("no such stream"), 1), "s") as producer:
            await producer.put("lost")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        await block()
    assert "no such stream" in caught.value.__notes__[0]


async def test_retries_end_at_the_deadline(client: Client) -> None:
    await client.create_stream("s")
    clock = HastyClock()
    began_ms = clock.now_ms()
    failing = Failing(client, ServiceUnavailable("down"), 10**9)
    async with Producer(failing, "s", deadline_s=60, clock=clock) as producer:
        ticket = await producer.put("x")
        with pytest.raises(ServiceUnavailable):
            await ticket
    assert 60_000 <= clock.now_ms() - began_ms <= 65_000


async def test_a_lost_connection_is_tried_again(client: Client) -> None:
    await client.create_stream("s")
    async with Producer(Failing(client, ConnectionResetError(), 3), "s", clock=HastyClock()) as producer:
        assert (await (await producer.put("x"))).offset == 0


async def test_cancelling_one_waiter_leaves_the_others(client: Client) -> None:
    await client.create_stream("s")
    held = Held(client)
    async with Producer(held, "s") as producer:
        ticket = await producer.put("x")

        async def wait() -> int:
            return (await ticket).offset

        first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        first.cancel()
        held.released.set()
        assert await second == 0


async def test_a_close_that_is_cut_short_settles_every_ticket(client: Client) -> None:
    await client.create_stream("s")
    producer = Producer(Held(client), "s", batch_count_max=1)
    tickets = await producer.put_many([("k", "1"), ("k", "2")])
    closing = asyncio.create_task(producer.close())
    await asyncio.sleep(0)
    closing.cancel()
    for ticket in tickets:
        with pytest.raises(RuntimeError, match="stopped"):
            await ticket
    with pytest.raises(RuntimeError, match="closed"):
        await producer.put("3", "k")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("x", ""), ValidationError),
        (("x", "k" * 257), ValidationError),
        (("x", "k", 2**128), ValidationError),
        (("x", "k", -1), ValidationError),
        (("x", "k", "zero"), ValidationError),
        ((b"x" * (1 << 20), "k"), ValidationError),
        (("x", "\ud800"), UnicodeEncodeError),
        (({"a": 1}, "k"), TypeError),
    ],
)
async def test_what_no_stream_would_take_is_refused_at_once(
    client: Client, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    """A record like that would spoil the put of its neighbours."""
    await client.create_stream("s")
    async with Producer(client, "s") as producer:
        with pytest.raises(error):
            await producer.put(*arguments)
        await producer.put(bytearray(b"fine"), "k" * 256)
    assert len(await stored(client, "s")) == 1


async def test_a_name_that_is_too_long_for_a_mark(client: Client) -> None:
    with pytest.raises(ValidationError):
        Producer(client, "s", name="n" * 40)


async def test_metrics_count_what_was_done_tried_again_and_given_up(client: Client) -> None:
    await client.create_stream("s")
    failing = Failing(client, ServiceUnavailable("down"), 3)
    async with Producer(failing, "s", clock=HastyClock()) as producer:
        await (await producer.put("12345", "key"))
        failing._error, failing.left = ResourceNotFound("gone"), 1
        ticket = await producer.put("x", "k")
        assert producer.metrics.buffered_bytes == 2 + RECORD_OVERHEAD
        with pytest.raises(ResourceNotFound):
            await ticket
        metrics = producer.metrics
    assert (metrics.records, metrics.bytes, metrics.puts) == (1, 8, 1)
    assert (metrics.retries, metrics.failed_records) == (3, 1)
    assert metrics.put_ms == metrics.put_ms_max > 0
    assert producer.metrics.buffered_bytes == 0
