"""The catalog of delivery streams and its journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from firehose.catalog import Catalog
from firehose.events import ColumnsAnswered, Created, Event, TableEvent, decode_event, decode_snapshot, encode
from streams.control import book
from streams.control.journal import Journal, Replay
from streams.core.clock import Clock
from streams.core.scope import Scope
from streams.core.work import ALONE, GLUE, Work, delivery_item, part_of

T = TypeVar("T")

SNAPSHOT_EVENTS = 2_000
"""Events after which a snapshot is written: a busy delivery stream makes two a flush, and replay stays under 100 ms."""

Decision = tuple[T, Sequence[Event]]
"""A pure function of the catalog and the time: the reply, and the events that make it true."""

_FORM = book.Form("delivery streams", encode, decode_event, decode_snapshot)


def catalog_of(replay: Replay) -> Catalog:
    """The catalog that a journal tells of."""
    catalog = Catalog()
    _FORM.follow(catalog, replay)
    return catalog


def part_of_event(catalog: Catalog, event: Event) -> int | None:
    """The part of the work that an event is of; None for a delivery stream that is gone. What delivery streams take of a new
    version of a table comes behind that version, and is of its part."""
    if isinstance(event, Created):
        return part_of(delivery_item(Scope(event.account, event.region), event.name))
    if isinstance(event, TableEvent | ColumnsAnswered):
        return part_of(GLUE)
    stream = catalog.by_number(event.number)
    return None if stream is None else part_of(delivery_item(stream.scope, stream.name))


class Book(book.Book[Catalog, Event]):
    """Of all delivery streams."""

    def __init__(self, journal: Journal, clock: Clock, work: Work = ALONE) -> None:
        super().__init__(journal, clock, Catalog, _FORM, SNAPSHOT_EVENTS, part_of_event, work)
