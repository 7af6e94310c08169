"""Waiters: those that give up are forgotten, and many that do not cost each other nothing."""

from __future__ import annotations

import asyncio

from streams.log.waiting import CROWD_MIN, Waiters


async def test_waiters_that_gave_up_do_not_pile_up() -> None:
    waiters = Waiters()
    for _ in range(20 * CROWD_MIN):
        waiting = asyncio.create_task(waiters.until(1_000_000))
        await asyncio.sleep(0)
        waiting.cancel()
    assert len(waiters._heap) <= 2 * CROWD_MIN


async def test_each_is_woken_by_its_offset_in_a_crowd() -> None:
    waiters = Waiters()
    waiting = [asyncio.create_task(waiters.until(offset % 10)) for offset in range(10 * CROWD_MIN)]
    await asyncio.sleep(0)
    for next_ in range(1, 11):
        waiters.wake(next_)
        await asyncio.sleep(0)
        assert [task.done() for task in waiting[:10]] == [offset < next_ for offset in range(10)]
    await asyncio.gather(*waiting)
