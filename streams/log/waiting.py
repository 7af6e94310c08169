"""Who waits for a record at an offset of one shard: woken by the append, never by a timer."""

from __future__ import annotations

import asyncio
import heapq
import itertools

CROWD_MIN = 64
"""Waiters up to which nobody looks for those that gave up; then at every doubling, so that it costs each the same."""


class Waiters:
    """Futures by offset. Cancelling a waiter costs nothing; it is forgotten when its turn comes."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tie = itertools.count()
        self._crowd = CROWD_MIN

    async def until(self, offset: int) -> None:
        """Returns at the first `wake` past `offset`; raises what `fail` is given."""
        if len(self._heap) >= self._crowd:
            # Waiters that gave up (long polls that timed out on an idle shard) must not pile up.
            self._heap = [entry for entry in self._heap if not entry[2].done()]
            heapq.heapify(self._heap)
            self._crowd = max(CROWD_MIN, 2 * len(self._heap))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._heap, (offset, next(self._tie), future))
        await future

    def wake(self, next_: int) -> None:
        """Records exist below `next_`."""
        while self._heap and self._heap[0][0] < next_:
            future = heapq.heappop(self._heap)[2]
            if not future.done():
                future.set_result(None)

    def fail(self, error: Exception) -> None:
        """Nobody will be woken any more."""
        for _, _, future in self._heap:
            if not future.done():
                future.set_exception(error)
        self._heap.clear()
