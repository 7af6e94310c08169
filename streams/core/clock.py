"""Time is a parameter: whoever needs it is given a `Clock`."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time in milliseconds since the epoch, and a way to wait for it to pass."""

    def now_ms(self) -> int:
        """Wall-clock time, UTC milliseconds since 1970. May jump; never used to order records."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds` of this clock's time."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ShiftedClock(SystemClock):
    """The machine's own clock, set ahead (or back) by `ahead_ms`, which may change."""

    def __init__(self, ahead_ms: int = 0) -> None:
        self.ahead_ms = ahead_ms

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


class ManualClock:
    """A clock that stands still until a test moves it.

    `advance` moves it and wakes the sleepers whose time has come, in order of their times; one turn of the event loop
    later they run.
    """

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._tie = itertools.count()

    def now_ms(self) -> int:
        return self._now_ms

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_ms + seconds * 1000, next(self._tie), done))
        await done

    def advance(self, seconds: float) -> None:
        """Move time forward (or back, for a clock that jumps) and wake whoever was waiting for it."""
        self._now_ms += round(seconds * 1000)
        while self._sleepers and self._sleepers[0][0] <= self._now_ms:
            _, _, done = heapq.heappop(self._sleepers)
            if not done.done():
                done.set_result(None)

    @property
    def sleeping(self) -> int:
        """How many sleepers wait: a test may spin the loop until the machine under test sleeps again."""
        return sum(not done.done() for _, _, done in self._sleepers)
