"""The register of enhanced fan-out keeps a bounded number of events to share, whatever is read."""

from __future__ import annotations

import asyncio

import pytest

from streams.operations.fanout import EVENTS_MAX, EVENTS_SIZE_MAX, SHARED_MS, Event, Fanout


async def nothing_new(log: str, offset: int) -> int | None:
    await asyncio.Event().wait()
    return None


async def share(fanout: Fanout, position: int, size: int, now_ms: int = 0) -> Event:
    async def make() -> Event:
        return Event({"Records": []}, position + 1, now_ms, size)

    return await fanout.share("log", position, now_ms, make)


async def test_events_are_kept_up_to_a_size_and_a_number() -> None:
    fanout = Fanout(nothing_new)
    for position in range(200):
        await share(fanout, position, 1 << 20)
    assert len(fanout._events) <= EVENTS_SIZE_MAX >> 20
    newest = await share(fanout, 199, 1 << 20)
    assert await share(fanout, 199, 1 << 20) is newest
    for position in range(1000, 1000 + 2 * EVENTS_MAX):
        await share(fanout, position, 10)
    assert len(fanout._events) <= EVENTS_MAX
    assert fanout._size == 10 * len(fanout._events)


async def test_an_event_is_made_again_when_it_is_old() -> None:
    fanout = Fanout(nothing_new)
    first = await share(fanout, 0, 10)
    assert await share(fanout, 0, 10, SHARED_MS - 1) is first
    assert await share(fanout, 0, 10, SHARED_MS) is not first
    assert fanout._size == 10


async def test_what_could_not_be_made_is_tried_again() -> None:
    fanout = Fanout(nothing_new)

    async def fail() -> Event:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await fanout.share("log", 0, 0, fail)
    assert (await share(fanout, 0, 10)).size == 10
    assert fanout._size == 10
