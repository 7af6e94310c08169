"""Rows leave an application once they are safe: with the commit, or where the state outlives the machine, once it is kept
elsewhere. Whoever goes on from there delivers the same rows again, and none in another form.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from analytics.delivery import Delivery
from analytics.journal import Entry
from analytics.state import State
from streams.core.clock import Clock

KEEP_MS = 1_000
"""How long rows wait for the state to be kept: each time costs a copy of it."""
KEEP_SHARE = 4
"""Keeping the state takes at most one part in five of the time, however large it is."""
KEEP_PAUSE_MS_MAX = 600_000
"""Not even a clock that jumps while the state is kept makes rows wait longer."""
KEEP_IDLE_MS = 30_000
"""How much is read again, at most, where no rows were made since the state was last kept."""


class Keeping:
    """Hands rows out to `delivery`. `keep` has the state safe elsewhere when it returns: it is called while the file of the
    state is whole and at rest. None: the commit is enough."""

    def __init__(self, delivery: Delivery, clock: Clock, keep: Callable[[], Awaitable[None]] | None) -> None:
        self._delivery = delivery
        self._clock = clock
        self._keep = keep
        self._changed = True
        self._kept_ms = 0
        self._took_ms = 0
        self._waiting: list[Entry] = []

    @property
    def waiting(self) -> bool:
        """Whether there are rows that are not handed out yet, which `hand_out` does when it is time."""
        return bool(self._waiting)

    def changed(self) -> None:
        """Something was committed."""
        self._changed = True

    async def hand_out(self, state: State, entries: Sequence[Entry], *, now: bool = False) -> None:
        """Delivers the rows of a commit, and those that wait. Where the state is kept elsewhere they may wait for that,
        unless it is to be `now`."""
        if self._keep is None:
            await self._delivery.deliver(entries)
            return
        self._waiting += entries
        begun_ms = self._clock.now_ms()
        pause_ms = max(KEEP_MS if self._waiting else KEEP_IDLE_MS, min(KEEP_SHARE * self._took_ms, KEEP_PAUSE_MS_MAX))
        # A clock that was set back since then says nothing about how long ago it was.
        if not self._changed or (not now and 0 <= begun_ms - self._kept_ms < pause_ms):
            return
        await asyncio.to_thread(state.settle)
        await self._keep()
        self._changed = False
        self._kept_ms = self._clock.now_ms()
        self._took_ms = self._kept_ms - begun_ms
        waiting, self._waiting = self._waiting, []
        await self._delivery.deliver(waiting)
