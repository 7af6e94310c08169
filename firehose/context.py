"""What the operations work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from firehose.book import Book
from firehose.catalog import DeliveryStream
from streams.core.clock import Clock
from streams.core.errors import ResourceNotFound
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.sdk.client import Client


@dataclass(frozen=True, slots=True)
class Context:
    """`started` begins to deliver a stream that was created, `stopped` ends it."""

    book: Book
    client_for: Callable[[Scope], Client]
    settings: Settings
    clock: Clock
    started: Callable[[DeliveryStream], None]
    stopped: Callable[[DeliveryStream], Awaitable[None]]

    def stream(self, scope: Scope, name: str) -> DeliveryStream:
        """Raises `ResourceNotFound`."""
        stream = self.book.catalog.get(scope, name)
        if stream is None:
            raise ResourceNotFound(f"Firehose {name} under account {scope.account} not found.")
        return stream

    def status(self, stream: DeliveryStream) -> str:
        """As AWS spells it."""
        if stream.deleting_ms is not None:
            return "DELETING"
        age_ms = self.clock.now_ms() - stream.created.at_ms
        return "CREATING" if age_ms < self.settings.create_ms else "ACTIVE"
