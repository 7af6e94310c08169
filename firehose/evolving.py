"""Columns that schema drift finds, added to a table whoever has the data catalog.

    the delivery stream's process            the data catalog's process
    ColumnsAsked ────────────────────────▶   a version of the table, what its followers take of it,
    goes on  ◀────────────────────────────   and ColumnsAnswered, in one entry

Where processes share a log, the data catalog is one process's to change, and any other one asks it to. Question and answer
are events of the journal that all follow: nobody has to reach anybody. What is not answered, since the catalog goes over to
another process just then, is asked again.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence

from firehose.adopting import drifted
from firehose.book import Book
from firehose.catalog import Catalog
from firehose.events import ColumnsAnswered, ColumnsAsked, Event, SchemaTaken
from firehose.evolution import Kind
from firehose.stream import DeliveryStream
from streams.core.errors import HeadraceError, JournalMoved, ServiceUnavailable
from streams.core.work import GLUE, part_of

log = logging.getLogger(__name__)

ASK_AGAIN_S = 5.0
"""The catalog's process answers within milliseconds, or is dead, and then nobody answers before a session is over."""


class Evolving:
    """`mine` says whether this process has a part of the work."""

    def __init__(self, book: Book, mine: Callable[[int], bool]) -> None:
        self._book = book
        self._mine = mine
        self._asked: dict[str, asyncio.Future[None]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def add(self, stream: DeliveryStream, found: Mapping[str, Kind]) -> list[int]:
        """Returns when the table that the stream writes has columns for what was found, as far as it can have any, and what
        follows it has taken them: the numbers of these delivery streams, where they were taken here. Raises `LogError`."""
        key = uuid.uuid4().hex
        answered = self._asked[key] = asyncio.get_running_loop().create_future()
        try:
            while True:
                try:
                    if self._mine(part_of(GLUE)):
                        return await self._decide(stream, found)
                    asked = ColumnsAsked(stream.number, key, {name: kind.hive for name, kind in found.items()})
                    await self._book.commit(asked)
                except (JournalMoved, ServiceUnavailable) as error:
                    log.info("%s asks for columns again: %s", stream.arn, error)
                done, _ = await asyncio.wait([answered], timeout=ASK_AGAIN_S)
                if done:
                    return []
        finally:
            del self._asked[key]

    def followed(self, events: Sequence[Event]) -> None:
        """Of any process, once they are applied."""
        for event in events:
            if isinstance(event, ColumnsAnswered):
                answered = self._asked.get(event.key)
                if answered is not None and not answered.done():
                    answered.set_result(None)
            elif isinstance(event, ColumnsAsked) and self._mine(part_of(GLUE)):
                task = asyncio.create_task(self._answer(event), name="columns for another process")
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)

    async def close(self) -> None:
        """Returns when what is being answered is."""
        await asyncio.gather(*self._answering, return_exceptions=True)

    async def _answer(self, asked: ColumnsAsked) -> None:
        stream = self._book.catalog.by_number(asked.number)
        if stream is None:
            return
        try:
            found = {name: Kind(hive) for name, hive in asked.found.items()}
            await self._decide(stream, found, ColumnsAnswered(asked.number, asked.key))
        except HeadraceError as error:
            log.warning("%s asked for columns and is left to ask again: %s", stream.arn, error)

    async def _decide(self, stream: DeliveryStream, found: Mapping[str, Kind], *answer: ColumnsAnswered) -> list[int]:
        def decide(catalog: Catalog, now_ms: int) -> tuple[list[int], list[Event]]:
            events = [*drifted(catalog, stream, found, now_ms), *answer]
            return [event.number for event in events if isinstance(event, SchemaTaken)], events

        return await self._book.execute(decide)
