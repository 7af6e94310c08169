"""This process's share of the work of a log: what it wins begins, what it loses ends.

What is lost is ended first and given up then; what is won is claimed first and begun then, so that of two processes that
take themselves for the owner one can do nothing. Nothing here gives up: what cannot be begun now is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Collection, Sequence
from typing import Protocol

from streams.core.clock import Clock
from streams.core.errors import LogClosed

log = logging.getLogger("headrace.work")

PAUSE_S = 1.0
"""Before what could not be begun is tried again."""


class Room(Protocol):
    """A service that does work."""

    async def take(self, parts: Collection[int]) -> None: ...

    async def release(self, parts: Collection[int]) -> None: ...


class Sharing:
    """`moved` is told of changes of the parts that are this process's."""

    def __init__(self, rooms: Sequence[Room], clock: Clock) -> None:
        self._rooms = rooms
        self._clock = clock

    async def moved(self, lost: frozenset[int], won: frozenset[int]) -> None:
        """Returns when the lost ones have ended and the won ones have begun. Never raises."""
        if lost:
            log.info("%d parts of the work go to other processes", len(lost))
            await asyncio.gather(*(self._ended(room.release(lost)) for room in self._rooms))
        if won:
            await asyncio.gather(*(self._begin(room, won) for room in self._rooms))
            log.info("%d parts of the work are this process's now", len(won))

    async def _ended(self, ending: Awaitable[None]) -> None:
        try:
            await ending
        except Exception:
            log.exception("what other processes take over did not end in order; the journals keep it apart")

    async def _begin(self, room: Room, won: frozenset[int]) -> None:
        while True:
            try:
                await room.take(won)
                return
            except LogClosed:
                return
            except Exception as error:
                log.warning("%s cannot be taken over yet, again in %g s: %r", type(room).__name__, PAUSE_S, error)
            await self._clock.sleep(PAUSE_S)
            await self._ended(room.release(won))
