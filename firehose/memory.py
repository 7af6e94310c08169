"""How many bytes all delivery streams of the process hold. Who is over the bound stops reading; the log keeps the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Memory:
    """A bound over many holders.

    When the total passes it, the largest holder is asked to flush early (its `relieve` is called), so that many small
    buffers that wait for their intervals cannot stop everybody's reading.
    """

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._held: dict[object, int] = {}
        self._relieve: dict[object, Callable[[], None]] = {}
        self._freed = asyncio.Event()

    def register(self, holder: object, relieve: Callable[[], None]) -> None:
        self._held[holder] = 0
        self._relieve[holder] = relieve

    def forget(self, holder: object) -> None:
        """Whatever it held is free."""
        self._held.pop(holder, None)
        self._relieve.pop(holder, None)
        self._wake()

    def hold(self, holder: object, size: int) -> None:
        """`holder` holds `size` bytes now."""
        self._held[holder] = size
        self._wake()
        if self.full:
            largest = max(self._held, key=lambda one: self._held[one])
            self._relieve[largest]()

    @property
    def full(self) -> bool:
        return sum(self._held.values()) >= self._size_max

    async def room(self) -> None:
        """Returns once the total is below the bound."""
        while self.full:
            self._freed.clear()
            await self._freed.wait()

    def _wake(self) -> None:
        if not self.full:
            self._freed.set()
