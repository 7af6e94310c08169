"""What the operations work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass
from typing import Any

from connectors.kafka_clusters import topic_client
from firehose.book import Book
from firehose.inflow import Inflow
from firehose.quotas import Quotas
from firehose.stream import DeliveryStream
from streams.core.clock import Clock
from streams.core.errors import ResourceInUse, ResourceNotFound
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.sdk.client import Client, Readable

DESTINATION_ID = "destinationId-000000000001"
"""A delivery stream has one destination, and AWS numbers it so."""


@dataclass(frozen=True, slots=True)
class Context:
    """`functions` are those that exist, by ARN; `inflow` is what is being put just now. `started` begins to deliver a stream
    that was created, `stopped` ends it; `restarted` makes a change while nothing of the stream runs, and begins again with
    what the change made of it. `trouble` says why the source of a stream cannot be read just now, as far as this process
    knows."""

    book: Book
    functions: Container[str]
    client_for: Callable[[Scope], Client]
    settings: Settings
    clock: Clock
    quotas: Quotas
    started: Callable[[DeliveryStream], None]
    stopped: Callable[[DeliveryStream], Awaitable[None]]
    inflow: Inflow
    restarted: Callable[[DeliveryStream, Callable[[], Awaitable[Any]]], Awaitable[Any]]
    trouble: Callable[[DeliveryStream], str | None]

    def topic(self, cluster: str, topic: str) -> Readable:
        """Reads a topic of the cluster with this ARN. Close it. Raises `InvalidArgument` where nobody knows its brokers."""
        return topic_client(self.settings.kafka_clusters, cluster, topic, self.clock)

    def stream(self, scope: Scope, name: str) -> DeliveryStream:
        """Raises `ResourceNotFound`."""
        stream = self.book.catalog.get(scope, name)
        if stream is None:
            raise ResourceNotFound(f"Firehose {name} under account {scope.account} not found.")
        return stream

    def active(self, scope: Scope, name: str) -> DeliveryStream:
        """One that may be changed. Raises `ResourceNotFound`, `ResourceInUse`."""
        stream = self.stream(scope, name)
        if self.status(stream) != "ACTIVE":
            raise ResourceInUse(f"Firehose {stream.name} is not active in {scope.account} account.")
        return stream

    def status(self, stream: DeliveryStream) -> str:
        """As AWS spells it."""
        if stream.deleting_ms is not None:
            return "DELETING"
        return "CREATING" if self._recent(stream.created.at_ms) else "ACTIVE"

    def encryption_status(self, stream: DeliveryStream) -> str:
        """As AWS spells it."""
        encryption = stream.created.encryption
        if encryption is None:
            return "DISABLED"
        recent = self._recent(encryption.at_ms)
        if encryption.on:
            return "ENABLING" if recent else "ENABLED"
        return "DISABLING" if recent else "DISABLED"

    def _recent(self, at_ms: int) -> bool:
        """Whether what began then is still shown as going on."""
        return self.clock.now_ms() - at_ms < self.settings.create_ms
