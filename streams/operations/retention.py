"""The janitor: trims what has aged out and forgets what is over, as the clock says."""

from __future__ import annotations

import asyncio
import logging

from streams.core.errors import LogError, ShardUnknown
from streams.operations.context import Context

_logger = logging.getLogger(__name__)


class Janitor:
    """Looks every `retention_check_s`. Nobody sees it late: what has aged out or been deleted is hidden by the time, and
    only its space waits for the janitor."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._context.clock.sleep(self._context.settings.retention_check_s)
            try:
                await self._context.sweep()
                await self._trim()
            except LogError as error:
                # A full disk must not end the only thing that frees space.
                _logger.warning("retention: %s; next try in %g s", error, self._context.settings.retention_check_s)
            except Exception:
                # A bug in one round is seen in the log of the process, not in a disk that fills up silently.
                _logger.exception("retention")

    async def _trim(self) -> None:
        """Offsets below the horizon are gone; the log frees whole segments."""
        context = self._context
        for stream in list(context.catalog.streams.values()):
            horizon_ms = stream.horizon_ms(context.now_ms())
            if stream.created_ms > horizon_ms:
                continue
            for name in stream.logs():
                try:
                    await context.log.trim(name, await context.log.find(name, horizon_ms))
                except ShardUnknown:
                    continue  # deleted meanwhile
