"""A clock that runs as the machine's does, and that a test may set."""

from __future__ import annotations

import asyncio
import time


class TestClock:
    """Time passes by itself; `advance` adds to it, and whoever has slept long enough by then wakes up. A clock that is set
    back (less than nothing is added) lets nobody sleep longer.

    It is used in the loop of a server; `advance` is for that loop, and `TestServer.advance` for any other thread.
    """

    __test__ = False  # not a test, whatever its name says

    def __init__(self) -> None:
        self.ahead_ms = 0
        """Of the machine's clock."""
        self._skipped_s = 0.0
        self._moved = asyncio.Event()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms

    async def sleep(self, seconds: float) -> None:
        end_s = time.monotonic() + self._skipped_s + seconds
        while (left_s := end_s - time.monotonic() - self._skipped_s) > 0:
            try:
                await asyncio.wait_for(self._moved.wait(), left_s)
            except TimeoutError:
                continue

    def advance(self, seconds: float) -> None:
        self.ahead_ms += round(seconds * 1000)
        self._skipped_s += max(0.0, seconds)
        self._moved.set()
        self._moved = asyncio.Event()
