"""A clock that runs as the machine's does, and that a test may set forward."""

from __future__ import annotations

import asyncio
import time


class TestClock:
    """Time passes by itself; `advance` adds to it, and whoever has slept long enough by then wakes up.

    It is used in the loop of a server; `advance` is for that loop, and `TestServer.advance` for any other thread.
    """

    __test__ = False  # not a test, whatever its name says

    def __init__(self) -> None:
        self._ahead_ms = 0
        self._moved = asyncio.Event()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._ahead_ms

    async def sleep(self, seconds: float) -> None:
        end_ms = self.now_ms() + seconds * 1000
        while (left_ms := end_ms - self.now_ms()) > 0:
            try:
                await asyncio.wait_for(self._moved.wait(), left_ms / 1000)
            except TimeoutError:
                continue

    def advance(self, seconds: float) -> None:
        self._ahead_ms += round(seconds * 1000)
        self._moved.set()
        self._moved = asyncio.Event()
