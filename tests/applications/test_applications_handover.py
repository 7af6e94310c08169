"""The state of an application for whoever runs it next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analytics.api.book import Book
from analytics.api.catalog import Application
from analytics.api.events import Configuration, Created
from analytics.api.handover import Kept
from analytics.api.specification import state_path
from streams.control.depot import LogDepot
from streams.control.divided import DividedJournal
from streams.core.clock import ManualClock
from streams.core.errors import HeadraceError
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.core.work import application_item, part_of
from tests.control.test_control_shared_journal import SharedLog

PART = part_of(application_item(Scope(), "app"))


class Process:
    """One that may run the application, with a data directory of its own."""

    def __init__(self, log: SharedLog, data: Path) -> None:
        self.settings = Settings(data=str(data))
        self.book = Book(DividedJournal(log, "control/applications"), ManualClock())
        self._depot = LogDepot(log)

    async def take(self) -> None:
        await self.book.open()
        await self.book.claim([PART])

    async def create(self) -> None:
        scope = Scope()
        created: Any = Created(
            1, 0, account=scope.account, region=scope.region, name="app", configuration=Configuration()
        )
        await self.book.commit(created)

    @property
    def application(self) -> Application:
        found = self.book.catalog.get(Scope(), "app")
        assert found is not None
        return found

    @property
    def handover(self) -> Kept:
        return Kept(self.application, self.book, self._depot, self.settings, ManualClock())

    @property
    def path(self) -> Path:
        path = Path(state_path(self.application, self.settings))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


async def test_the_next_process_goes_on_with_what_was_kept_last(tmp_path: Path) -> None:
    log = SharedLog()
    one, other = Process(log, tmp_path / "one"), Process(log, tmp_path / "other")
    await one.take()
    await one.create()
    for state in (b"1", b"2"):
        one.path.write_bytes(state)
        await one.handover.keep()
    one.path.write_bytes(b"3, which is not kept")
    await other.take()
    other.path.write_bytes(b"of another time")
    await other.handover.recall()
    assert other.path.read_bytes() == b"2"
    # Whoever has lost it keeps a copy that nobody looks at, and is told.
    with pytest.raises(HeadraceError):
        await one.handover.keep()
    await other.handover.recall()
    assert other.path.read_bytes() == b"2"
    for each in (one, other):
        await each.book.close()


async def test_a_state_of_before_the_log_was_shared_is_gone_on_with(tmp_path: Path) -> None:
    one = Process(SharedLog(), tmp_path / "one")
    await one.take()
    await one.create()
    one.path.write_bytes(b"from the folder")
    await one.handover.recall()
    assert one.path.read_bytes() == b"from the folder"
    await one.book.close()
