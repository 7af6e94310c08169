"""`Room`: a bound on bytes that are held, with back-pressure in order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque


class Room:
    """`size_max` bytes. Whoever needs more than is free waits in line; a piece larger than all of it waits for all."""

    def __init__(self, size_max: int) -> None:
        assert size_max > 0, "a buffer without room"
        self.size_max = size_max
        self.held = 0
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take_at_once(self, size: int) -> bool:
        """Takes the bytes if nobody waits and they fit: the way that costs nothing."""
        if self._line or not self._fits(size):
            return False
        self.held += size
        return True

    async def take(self, size: int) -> None:
        """Returns when the bytes are the caller's. A cancelled caller holds nothing."""
        if self.take_at_once(size):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size)
            raise

    def give(self, size: int) -> None:
        """The bytes are free again."""
        self.held -= size
        assert self.held >= 0, "more room was given back than was taken"
        while self._line and (self._line[0][1].done() or self._fits(self._line[0][0])):
            wanted, turn = self._line.popleft()
            if not turn.done():
                self.held += wanted
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return self.held == 0 or self.held + size <= self.size_max
