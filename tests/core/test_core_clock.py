from __future__ import annotations

import asyncio

from streams.core.clock import ManualClock, SystemClock


async def test_sleepers_wake_when_their_time_has_come_and_in_order() -> None:
    clock = ManualClock(0)
    woken: list[str] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("late", 2))
        group.create_task(sleeper("early", 1))
        await asyncio.sleep(0)
        assert clock.sleeping == 2
        clock.advance(0.5)
        await asyncio.sleep(0)
        assert woken == []
        clock.advance(1.5)
    assert woken == ["early", "late"]
    assert clock.now_ms() == 2000


async def test_a_cancelled_sleeper_does_no_harm() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    clock.advance(2)
    assert clock.sleeping == 0


async def test_no_time_is_no_wait() -> None:
    await ManualClock().sleep(0)
    await SystemClock().sleep(0)
    assert SystemClock().now_ms() > 1_700_000_000_000
