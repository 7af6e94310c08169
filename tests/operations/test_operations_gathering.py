"""Records put one by one in one turn of the event loop: one append a shard, and each gets its own offset."""

from __future__ import annotations

import asyncio

import pytest

from streams.core.errors import LogFull
from streams.core.records import Records
from streams.operations import gathering
from streams.operations.gathering import Gathering


class Appends:
    """Takes appends and answers them when told to."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, Records, asyncio.Future[int]]] = []

    def __call__(self, route: int, records: Records) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.taken.append((route, records, future))
        return future


async def test_one_append_a_shard_in_the_order_of_the_puts() -> None:
    appends = Appends()
    gathered = Gathering(appends)
    puts = [gathered.put(n % 2, f"key{n}", b"%d" % n, None) for n in range(6)]
    assert appends.taken == []
    await asyncio.sleep(0)
    (even, evens, even_done), (odd, odds, odd_done) = appends.taken
    assert (even, odd) == (0, 1)
    assert evens.data.to_pylist() == [b"0", b"2", b"4"]
    assert odds.partition_key.to_pylist() == ["key1", "key3", "key5"]
    assert evens.hash_key is None
    even_done.set_result(10)
    odd_done.set_result(7)
    assert await asyncio.gather(*puts) == [10, 7, 11, 8, 12, 9]


async def test_explicit_hash_keys_stand_beside_others() -> None:
    appends = Appends()
    gathered = Gathering(appends)
    gathered.put(0, "a", b"", None)
    gathered.put(0, "b", b"", bytes(16))
    gathered.flush()
    hash_key = appends.taken[0][1].hash_key
    assert hash_key is not None
    assert hash_key.to_pylist() == [None, bytes(16)]


async def test_a_failed_append_fails_each_of_its_records() -> None:
    appends = Appends()
    gathered = Gathering(appends)
    puts = [gathered.put(0, "key", b"", None) for _ in range(3)]
    gathered.flush()
    appends.taken[0][2].set_exception(LogFull("no room"))
    assert [type(error) for error in await asyncio.gather(*puts, return_exceptions=True)] == [LogFull] * 3


async def test_who_goes_away_takes_nobody_along() -> None:
    appends = Appends()
    gathered = Gathering(appends)
    gone, stays = (gathered.put(0, "key", b"", None) for _ in range(2))
    gone.cancel()
    gathered.flush()
    _, records, done = appends.taken[0]
    assert len(records) == 2
    done.set_result(4)
    assert await stays == 5


async def test_a_full_group_is_appended_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "GATHERED_SIZE_MAX", 10)
    appends = Appends()
    gathered = Gathering(appends)
    for _ in range(5):
        gathered.put(0, "key", b"12345", None)
    assert [len(records) for _, records, _ in appends.taken] == [2, 2]
    gathered.flush()
    assert [len(records) for _, records, _ in appends.taken] == [2, 2, 1]
