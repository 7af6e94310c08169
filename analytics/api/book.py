"""The catalog of applications and its journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from analytics.api.catalog import Catalog
from analytics.api.events import Created, Event, decode_event, decode_snapshot, encode
from streams.control import book
from streams.control.journal import Journal
from streams.core.clock import Clock
from streams.core.scope import Scope
from streams.core.work import ALONE, Work, application_item, part_of

T = TypeVar("T")

SNAPSHOT_EVENTS = 1_000
"""Events after which a snapshot is written: a few may hold 100 KB of code each, and replay stays under a second."""

Decision = tuple[T, Sequence[Event]]
"""A pure function of the catalog and the time: the reply, and the events that make it true."""

_FORM = book.Form("applications", encode, decode_event, decode_snapshot)


def part_of_event(catalog: Catalog, event: Event) -> int | None:
    """The part of the work that an event is of; None for an application that is gone."""
    if isinstance(event, Created):
        return part_of(application_item(Scope(event.account, event.region), event.name))
    application = catalog.by_number(event.number)
    return None if application is None else part_of(application_item(application.scope, application.name))


class Book(book.Book[Catalog, Event]):
    """Of all applications."""

    def __init__(self, journal: Journal, clock: Clock, work: Work = ALONE) -> None:
        super().__init__(journal, clock, Catalog, _FORM, SNAPSHOT_EVENTS, part_of_event, work)
