"""Following a journal that other processes write to: what they decide is applied here as soon as it is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from streams.control.journal import Journal, Replay
from streams.core.clock import Clock
from streams.core.errors import LogClosed, LogError

_logger = logging.getLogger(__name__)

PAUSE_S = 1.0
"""After brokers that did not answer."""


class Following:
    """`apply` is given what comes, in order. `start` it once the journal is open."""

    def __init__(self, journal: Journal, apply: Callable[[Replay], None], clock: Clock) -> None:
        self.change = asyncio.Event()
        """Set when something was applied, and then another one."""
        self.changed: Callable[[], None] = lambda: None
        """Called when something was applied."""
        self._journal = journal
        self._apply = apply
        self._clock = clock
        self._round: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def current(self) -> None:
        """Returns when all is applied that was in the journal when this was called. Those who call while one asks are
        answered together by the next question. Raises `LogError`."""
        if self._next is None:
            self._next = asyncio.create_task(self._ask(self._round))
        await asyncio.shield(self._next)

    async def catch_up(self) -> None:
        """Reads and applies what there is."""
        await self._journal.catch_up(self.applied)

    async def _ask(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        self._round, self._next = self._next, None
        if await self._journal.behind():
            await self.catch_up()

    def applied(self, replay: Replay) -> None:
        """What the journal was read for, whoever read it."""
        self._apply(replay)
        self.changed()
        self.change.set()
        self.change = asyncio.Event()

    async def _run(self) -> None:
        while True:
            try:
                await self._journal.wait()
                await self.catch_up()
            except LogClosed:
                return
            except LogError as error:
                _logger.warning("the control journal cannot be followed: %s", error)
                await self._clock.sleep(PAUSE_S)
