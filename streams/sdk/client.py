"""The seam between Headrace's own ends: what a producer, a consumer, a delivery stream or an application asks of a
stream. In one process a `LocalClient` (no HTTP, no copy), across processes an `HttpClient`: one seam, one behaviour.

All methods raise from `streams.core.errors`: `ResourceNotFound` for a stream that does not exist, `InvalidArgument` for
a bad argument, errors with ``retry = True`` where the same call may succeed later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from streams.core.exchange import (
    FETCH_SIZE_MAX,
    LATEST,
    TRIM_HORIZON,
    Fetch,
    GroupDescription,
    Lease,
    Progress,
    Receipt,
    Start,
    StreamDescription,
    at_timestamp,
)
from streams.core.records import ProducerMark, Records

__all__ = [
    "FETCH_SIZE_MAX",
    "LATEST",
    "TRIM_HORIZON",
    "Client",
    "Fetch",
    "GroupDescription",
    "Lease",
    "Progress",
    "Readable",
    "Receipt",
    "Start",
    "StreamDescription",
    "at_timestamp",
]


class Readable(Protocol):
    """What reading takes. Shards are named by their AWS ids (``shardId-000000000000``); positions are offsets, the next to
    read."""

    async def describe_stream(self, stream: str) -> StreamDescription: ...

    async def find(self, stream: str, start: Start, shards: tuple[str, ...] | None = None) -> dict[str, int]:
        """The position of `start` in each shard of the stream (or only in the `shards` named)."""
        ...

    async def fetch(
        self, stream: str, positions: Mapping[str, int], *, size_max: int = FETCH_SIZE_MAX, wait_ms: int = 0
    ) -> Fetch:
        """Records from each position on. If there are none anywhere, waits up to `wait_ms` for the first to arrive,
        on the log itself: there is no polling behind it. A position below the retained range is moved up to it (the
        batch's `first` tells)."""
        ...

    async def close(self) -> None: ...


class Client(Readable, Protocol):
    """Everything else."""

    async def create_stream(
        self, stream: str, shards: int = 1, *, retention_hours: int = 24, packed: bool = False
    ) -> None:
        """Returns when the stream is ACTIVE. `ResourceInUse` where it exists. A name with a slash (see
        `streams.core.scope.delivery_source`) makes a hidden stream, which the Kinesis API neither lists nor reaches. If
        `packed`, a log on Kafka keeps together what is put together: for small records in large puts."""
        ...

    async def delete_stream(self, stream: str) -> None:
        """Returns when the stream and its records are gone."""
        ...

    async def list_streams(self) -> list[str]:
        """Names, sorted; hidden streams are left out."""
        ...

    async def put(self, stream: str, records: Records, mark: ProducerMark | None = None) -> Receipt:
        """Routed by hash key to their shards and durable when this returns. After an error with ``retry``, some shards
        may have taken their part: with the same `mark`, a retry appends only what is missing."""
        ...

    async def load_checkpoint(self, stream: str, consumer: str) -> dict[str, int]:
        """The positions last saved under this consumer's name; empty for a new name."""
        ...

    async def save_checkpoint(self, stream: str, consumer: str, positions: Mapping[str, int]) -> None:
        """Durable when it returns. Shards that are not named keep what they had."""
        ...

    async def sync_group(
        self,
        stream: str,
        group: str,
        member: str,
        held: Mapping[str, int],
        *,
        start: Start = TRIM_HORIZON,
        lease_ms: int,
        wait_ms: int = 0,
    ) -> dict[str, Lease]:
        """Says that the member of the consumer group lives and reads `held` (generations by shard); gives what it is to
        read from now on, as soon as that is something else, or after `wait_ms`. A group that is new begins at `start`."""
        ...

    async def leave_group(self, stream: str, group: str, member: str) -> None:
        """The member's shards are free at once."""
        ...

    async def save_group(self, stream: str, group: str, member: str, progress: Mapping[str, Progress]) -> None:
        """Durable when it returns. `ResourceInUse` where a shard is not the member's any more."""
        ...

    async def forget_group(self, stream: str, group: str) -> None:
        """The group is gone, with its positions."""
        ...

    async def describe_groups(self, stream: str) -> list[GroupDescription]: ...
