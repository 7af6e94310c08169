"""Records put one by one in one turn of the event loop: one append a shard, and each gets its own offset."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from streams.core.errors import LogClosed, LogFull
from streams.core.records import Records
from streams.log.log import Appended, Appends
from streams.operations import gathering
from streams.operations.gathering import Gathering


class Asked(NamedTuple):
    routes: list[int]
    ends: list[int]
    records: Records
    done: asyncio.Future[Appends]


class Log:
    """Takes appends and answers them when told to."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def __call__(self, routes: Sequence[int], ends: Sequence[int], records: Records) -> asyncio.Future[Appends]:
        future: asyncio.Future[Appends] = asyncio.get_running_loop().create_future()
        self.asked.append(Asked(list(routes), list(ends), records, future))
        return future


async def test_one_append_a_shard_in_the_order_of_the_puts() -> None:
    log = Log()
    gathered = Gathering(log)
    puts = [gathered.put(n % 2, f"key{n}", b"%d" % n, None) for n in range(6)]
    assert log.asked == []
    await asyncio.sleep(0)
    ((routes, ends, records, done),) = log.asked
    assert (routes, ends) == ([0, 1], [3, 6])
    assert records.data.to_pylist() == [b"0", b"2", b"4", b"1", b"3", b"5"]
    assert records.partition_key.to_pylist() == ["key0", "key2", "key4", "key1", "key3", "key5"]
    assert records.hash_key is None
    done.set_result([Appended(10, 1000), Appended(7, 2000)])
    assert await asyncio.gather(*puts) == [(10, 1000), (7, 2000), (11, 1000), (8, 2000), (12, 1000), (9, 2000)]


async def test_explicit_hash_keys_stand_beside_others() -> None:
    log = Log()
    gathered = Gathering(log)
    gathered.put(0, "a", b"", None)
    gathered.put(0, "b", b"", bytes(16))
    gathered.flush()
    hash_key = log.asked[0].records.hash_key
    assert hash_key is not None
    assert hash_key.to_pylist() == [None, bytes(16)]


async def test_a_failed_append_fails_each_of_its_records_and_no_others() -> None:
    log = Log()
    gathered = Gathering(log)
    puts = [gathered.put(n % 2, "key", b"", None) for n in range(4)]
    gathered.flush()
    log.asked[0].done.set_result([LogFull("no room"), Appended(5, 0)])
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    assert [getattr(one, "message", one) for one in outcomes] == ["no room", (5, 0), "no room", (6, 0)]


async def test_what_fails_all_appends_fails_all_records() -> None:
    log = Log()
    gathered = Gathering(log)
    puts = [gathered.put(n, "key", b"", None) for n in range(2)]
    gathered.flush()
    log.asked[0].done.set_exception(LogClosed("the log was closed"))
    assert [type(error) for error in await asyncio.gather(*puts, return_exceptions=True)] == [LogClosed] * 2


async def test_who_goes_away_takes_nobody_along() -> None:
    log = Log()
    gathered = Gathering(log)
    gone, stays = (gathered.put(0, "key", b"", None) for _ in range(2))
    gone.cancel()
    gathered.flush()
    assert log.asked[0].ends == [2]
    log.asked[0].done.set_result([Appended(4, 0)])
    assert (await stays).first == 5


async def test_a_full_group_is_appended_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "GATHERED_SIZE_MAX", 10)
    log = Log()
    gathered = Gathering(log)
    for _ in range(5):
        gathered.put(0, "key", b"12345", None)
    assert [asked.ends for asked in log.asked] == [[2], [2]]
    gathered.flush()
    assert [asked.ends for asked in log.asked] == [[2], [2], [1]]
