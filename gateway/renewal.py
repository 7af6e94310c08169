"""What is read again while the server runs: certificates and credentials, on SIGHUP and every hour."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from streams.core.clock import Clock
from streams.core.errors import SettingsError

_logger = logging.getLogger("headrace.gateway")

PERIOD_S = 3600.0
"""How often, without being asked: certificates are renewed days before they end."""


class Renewal:
    """Calls each of `reloads`; one that raises `SettingsError` is logged, and the others go on."""

    def __init__(self, reloads: list[Callable[[], None]], clock: Clock) -> None:
        self._reloads = reloads
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def reload(self) -> None:
        for one in self._reloads:
            try:
                one()
            except SettingsError as error:
                _logger.error("what was in force stays: %s", error)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(PERIOD_S)
            self.reload()
