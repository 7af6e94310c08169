"""Back-pressure: bytes are bounded, and those who wait are served in order."""

from __future__ import annotations

import asyncio

from streams.sdk.buffer import Room


async def test_who_waits_is_served_in_order() -> None:
    room = Room(10)
    served: list[int] = []

    async def want(size: int) -> None:
        await room.take(size)
        served.append(size)

    await room.take(8)
    waiting = [asyncio.create_task(want(size)) for size in (5, 1, 2)]
    await asyncio.sleep(0)
    assert served == []
    assert not room.take_at_once(1), "nobody overtakes"
    room.give(8)
    await asyncio.gather(*waiting)
    assert (served, room.held) == ([5, 1, 2], 8)


async def test_a_piece_larger_than_the_room_gets_all_of_it() -> None:
    room = Room(10)
    await room.take(3)
    large = asyncio.create_task(room.take(25))
    await asyncio.sleep(0)
    assert not large.done()
    room.give(3)
    await large
    assert room.held == 25
    room.give(25)
    assert room.take_at_once(10)


async def test_a_cancelled_wait_holds_nothing() -> None:
    room = Room(10)
    await room.take(10)
    gives_up = asyncio.create_task(room.take(4))
    granted_too_late = asyncio.create_task(room.take(5))
    patient = asyncio.create_task(room.take(6))
    await asyncio.sleep(0)
    gives_up.cancel()
    await asyncio.sleep(0)
    room.give(10)
    granted_too_late.cancel()
    await patient
    await asyncio.wait([granted_too_late, gives_up])
    assert room.held == 6
