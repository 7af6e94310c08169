"""The state of an application for whoever runs it next: in the depot, under the name that the journal says.

The journal takes the name of a copy only from the application's owner. So a process that was away and goes on for a while
keeps copies that nobody looks at, hears so, and delivers nothing of what it made.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import uuid
from pathlib import Path

from analytics.api.book import Book
from analytics.api.catalog import Application
from analytics.api.events import StateKept
from analytics.api.specification import state_folder, state_path
from streams.control.depot import Depot
from streams.core.clock import Clock
from streams.core.errors import LogUnreachable
from streams.core.settings import Settings

log = logging.getLogger("headrace.applications")

PAUSE_S = 1.0
"""After brokers that did not answer."""


def shelf_of(application: Application) -> str:
    return f"applications/{application.number}"


class Kept:
    """`analytics.worker.supervisor.Handover` of one application."""

    def __init__(self, application: Application, book: Book, depot: Depot, settings: Settings, clock: Clock) -> None:
        self._application = application
        self._book = book
        self._depot = depot
        self._settings = settings
        self._clock = clock

    async def recall(self) -> None:
        """What is here from another time is not looked at, since what was not kept has reached nobody; but where nothing was
        ever kept, the application ran here before processes shared the log."""
        application = self._application
        if not application.state:
            return
        folder = state_folder(application, self._settings)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        path = Path(state_path(application, self._settings))
        if not await self._depot.get(shelf_of(application), application.state, path):
            log.error(
                "application %s: its state %s is not in the depot any more; it begins anew from its starting position",
                application.name,
                application.state,
            )

    async def keep(self) -> None:
        application, shelf, name = self._application, shelf_of(self._application), uuid.uuid4().hex
        while True:
            try:
                await self._depot.put(shelf, name, Path(state_path(application, self._settings)))
                break
            except (LogUnreachable, OSError) as error:
                log.warning("application %s: its state is not kept yet: %s", application.name, error)
                await self._clock.sleep(PAUSE_S)
        before = application.state
        await self._book.commit(StateKept(application.number, self._clock.now_ms(), name))
        if before:
            await self._depot.remove(shelf, [before])
