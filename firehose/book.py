"""The catalog of delivery streams and its journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from firehose.catalog import Catalog
from firehose.events import Event, decode_event, decode_snapshot, encode
from streams.control import book
from streams.control.journal import Journal, Replay
from streams.core.clock import Clock

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


class Book(book.Book[Catalog, Event]):
    """Of all delivery streams."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        super().__init__(journal, clock, Catalog(), _FORM, SNAPSHOT_EVENTS)
