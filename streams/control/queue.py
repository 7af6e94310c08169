"""Queues as the catalog keeps them: values, that an event replaces by others."""

from __future__ import annotations

from typing import Literal

import msgspec

from streams.core.scope import Scope

QUEUES = "queues/"
"""Where the log keeps the journals of queues: ``queues/<queue id>``."""

VISIBILITY_S = 30
"""How long a received record is in flight where nothing else is said: AWS's."""

RECEIVES_MAX = 6
"""Receives after which a record becomes a dead letter where nothing else is said: AWS's."""

Position = Literal["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"]


class QueueAttributes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`receives_max` None: records never become dead letters."""

    visibility_s: int = VISIBILITY_S
    receives_max: int | None = RECEIVES_MAX


class Queue(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A work queue over the stream `stream_id`. Until `busy_ms` it is in state `busy`.

    Delivery begins at the offset that `starts` gives for a shard by its index, in other shards at their first record; for
    AT_TIMESTAMP nothing that arrived before `start_ms` is delivered.
    """

    account: str
    region: str
    name: str
    id: str
    created_ms: int
    stream_id: str
    stream_name: str
    position: Position
    start_ms: int
    starts: dict[int, int]
    attributes: QueueAttributes = QueueAttributes()
    busy: str = "CREATING"
    busy_ms: int = 0
    gone_ms: int | None = None
    tags: dict[str, str] = {}

    @property
    def scope(self) -> Scope:
        return Scope(self.account, self.region)

    @property
    def arn(self) -> str:
        return self.scope.queue_arn(self.id)

    @property
    def stream_arn(self) -> str:
        return self.scope.stream_arn(self.stream_name)

    @property
    def log(self) -> str:
        """The journal's name in the log."""
        return f"{QUEUES}{self.id}"

    def status(self, now_ms: int) -> str:
        """CREATING, ACTIVE, UPDATING or DELETING."""
        if self.gone_ms is not None:
            return "DELETING"
        return self.busy if now_ms < self.busy_ms else "ACTIVE"

    def gone(self, now_ms: int) -> bool:
        """Its deletion is over, though the catalog may not have been swept yet."""
        return self.gone_ms is not None and self.gone_ms <= now_ms
