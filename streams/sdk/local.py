"""`LocalClient`: the stream service of this very process, without HTTP and without a copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from streams.core.records import ProducerMark, Records
from streams.core.scope import Scope
from streams.sdk.client import (
    FETCH_SIZE_MAX,
    TRIM_HORIZON,
    Fetch,
    GroupDescription,
    Lease,
    Progress,
    Receipt,
    Start,
    StreamDescription,
)


class NativeService(Protocol):
    """What a `LocalClient` needs of the stream service: the methods of `Client`, the caller's scope first."""

    async def create_stream(
        self, scope: Scope, stream: str, shards: int = 1, *, retention_hours: int = 24, packed: bool = False
    ) -> None: ...

    async def delete_stream(self, scope: Scope, stream: str) -> None: ...

    async def list_streams(self, scope: Scope) -> list[str]: ...

    async def describe_stream(self, scope: Scope, stream: str) -> StreamDescription: ...

    async def put(self, scope: Scope, stream: str, records: Records, mark: ProducerMark | None = None) -> Receipt: ...

    async def find(
        self, scope: Scope, stream: str, start: Start, shards: tuple[str, ...] | None = None
    ) -> dict[str, int]: ...

    async def fetch(
        self,
        scope: Scope,
        stream: str,
        positions: Mapping[str, int],
        *,
        size_max: int = FETCH_SIZE_MAX,
        wait_ms: int = 0,
    ) -> Fetch: ...

    async def load_checkpoint(self, scope: Scope, stream: str, consumer: str) -> dict[str, int]: ...

    async def save_checkpoint(self, scope: Scope, stream: str, consumer: str, positions: Mapping[str, int]) -> None: ...

    async def sync_group(
        self,
        scope: Scope,
        stream: str,
        group: str,
        member: str,
        held: Mapping[str, int],
        *,
        start: Start,
        lease_ms: int,
        wait_ms: int = 0,
    ) -> dict[str, Lease]: ...

    async def leave_group(self, scope: Scope, stream: str, group: str, member: str) -> None: ...

    async def save_group(
        self, scope: Scope, stream: str, group: str, member: str, progress: Mapping[str, Progress]
    ) -> None: ...

    async def forget_group(self, scope: Scope, stream: str, group: str) -> None: ...

    async def describe_groups(self, scope: Scope, stream: str) -> list[GroupDescription]: ...


class LocalClient:
    """A `Client` that acts in one `scope` of `service`. Closing it does nothing: the service belongs to who opened it."""

    def __init__(self, service: NativeService, scope: Scope | None = None) -> None:
        self._service = service
        self._scope = scope or Scope()

    async def create_stream(
        self, stream: str, shards: int = 1, *, retention_hours: int = 24, packed: bool = False
    ) -> None:
        await self._service.create_stream(self._scope, stream, shards, retention_hours=retention_hours, packed=packed)

    async def delete_stream(self, stream: str) -> None:
        await self._service.delete_stream(self._scope, stream)

    async def list_streams(self) -> list[str]:
        return await self._service.list_streams(self._scope)

    async def describe_stream(self, stream: str) -> StreamDescription:
        return await self._service.describe_stream(self._scope, stream)

    async def put(self, stream: str, records: Records, mark: ProducerMark | None = None) -> Receipt:
        return await self._service.put(self._scope, stream, records, mark)

    async def find(self, stream: str, start: Start, shards: tuple[str, ...] | None = None) -> dict[str, int]:
        return await self._service.find(self._scope, stream, start, shards)

    async def fetch(
        self, stream: str, positions: Mapping[str, int], *, size_max: int = FETCH_SIZE_MAX, wait_ms: int = 0
    ) -> Fetch:
        return await self._service.fetch(self._scope, stream, positions, size_max=size_max, wait_ms=wait_ms)

    async def load_checkpoint(self, stream: str, consumer: str) -> dict[str, int]:
        return await self._service.load_checkpoint(self._scope, stream, consumer)

    async def save_checkpoint(self, stream: str, consumer: str, positions: Mapping[str, int]) -> None:
        await self._service.save_checkpoint(self._scope, stream, consumer, positions)

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
        return await self._service.sync_group(
            self._scope, stream, group, member, held, start=start, lease_ms=lease_ms, wait_ms=wait_ms
        )

    async def leave_group(self, stream: str, group: str, member: str) -> None:
        await self._service.leave_group(self._scope, stream, group, member)

    async def save_group(self, stream: str, group: str, member: str, progress: Mapping[str, Progress]) -> None:
        await self._service.save_group(self._scope, stream, group, member, progress)

    async def forget_group(self, stream: str, group: str) -> None:
        await self._service.forget_group(self._scope, stream, group)

    async def describe_groups(self, stream: str) -> list[GroupDescription]:
        return await self._service.describe_groups(self._scope, stream)

    async def close(self) -> None:
        """The service stays open."""
