"""A state made durable: events in a journal of its own, with commits that share a write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from streams.control.journal import Journal
from streams.core.errors import HeadraceError, JournalMoved, LogError
from streams.log.log import Log

_logger = logging.getLogger(__name__)

SNAPSHOT_EVENTS = 20_000
"""Events after which a snapshot is written: they replay in some 100 ms."""

SNAPSHOT_SHARE = 5
"""A snapshot costs as much as what the state holds: it waits for at least a fifth as many events."""


class Kept(Protocol):
    """A state that events make. `count` is how much of it a snapshot writes down."""

    @property
    def count(self) -> int: ...

    @property
    def apply(self) -> Any: ...

    def snapshot(self) -> Any: ...


S = TypeVar("S", bound=Kept)


class Store(Generic[S]):
    """What is recorded is so at once in memory, and durable when `durable` returns. Open it with `open`."""

    def __init__(self, journal: Journal, state: S, encode: Callable[[Any], bytes]) -> None:
        self.state = state
        self._encode = encode
        self._journal = journal
        self._pending: list[bytes] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._writing: asyncio.Task[None] | None = None
        self._torn = False
        self.moved = False
        """Whether another process has become the owner of the journal."""
        self.fresh = False
        """Whether nothing had ever been recorded when it was opened."""

    @classmethod
    async def open(
        cls,
        log: Log,
        name: str,
        *,
        fresh: Callable[[], S],
        restored: Callable[[bytes], S],
        decode: Callable[[bytes], Any],
        encode: Callable[[Any], bytes],
    ) -> Store[S]:
        """`fresh` makes the state where the journal has no snapshot, `restored` from one; `decode` reads an event. Raises
        `LogError`, `ValueError`."""
        journal = Journal(log, name)
        replay = await journal.own()
        state = fresh() if replay.snapshot is None else restored(replay.snapshot)
        for data in replay.events:
            state.apply(decode(data))
        store = cls(journal, state, encode)
        store.fresh = replay.snapshot is None and not replay.events
        return store

    def record(self, event: Any) -> None:
        self.state.apply(event)
        self._pending.append(self._encode(event))

    async def durable(self) -> None:
        """Returns when all that was recorded before is. Raises `LogError`: then it holds in memory nevertheless, and what
        the journal lacks is made up for by a snapshot, before anything else is durable."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await waiting

    async def close(self) -> None:
        """Returns when what was recorded is durable, or cannot be."""
        if self._pending:
            try:
                await self.durable()
            except LogError as error:
                _logger.warning("a journal: its latest events are not stored: %s", error)
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        try:
            while self._waiting:
                # All that goes on in this turn of the loop shares the write.
                await asyncio.sleep(0)
                events, self._pending = self._pending, []
                waiting, self._waiting = self._waiting, []
                error = await self._commit(events)
                for one in waiting:
                    if one.done():
                        continue
                    if error is None:
                        one.set_result(None)
                    else:
                        one.set_exception(error)
        finally:
            self._writing = None

    async def _commit(self, events: list[bytes]) -> HeadraceError | None:
        due = max(SNAPSHOT_EVENTS, self.state.count // SNAPSHOT_SHARE)
        snapshot = self._torn or self._journal.events_since_snapshot >= due
        try:
            if snapshot:
                await self._journal.snapshot(self._encode(self.state.snapshot()))
            else:
                await self._journal.append(events)
        except LogError as error:
            self._torn = True
            self.moved = self.moved or isinstance(error, JournalMoved)
            return error
        except Exception as error:
            self._torn = True
            _logger.exception("a journal")
            return LogError(f"the journal could not be written: {error!r}")
        self._torn = False
        return None
