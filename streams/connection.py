"""Ways in: a log in this process, or a server. Each imports what it needs when it is taken: neither needs the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from streams.core.clock import Clock, SystemClock
from streams.core.settings import Settings
from streams.sdk.blocking import BlockingClient
from streams.sdk.client import Client


class Opening:
    """``async with open(path) as client`` gives a `LocalClient`, ``with open(path) as client`` a `BlockingClient`."""

    def __init__(self, way: AbstractAsyncContextManager[Client]) -> None:
        self._way = way
        self._blocking: BlockingClient | None = None

    async def __aenter__(self) -> Client:
        return await self._way.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        await self._way.__aexit__(*error)

    def __enter__(self) -> BlockingClient:
        self._blocking = BlockingClient(self._way)
        return self._blocking

    def __exit__(self, *error: object) -> None:
        assert self._blocking is not None, "left without having been entered"
        self._blocking.close()


def open(path: str | Path, *, settings: Settings | None = None, clock: Clock | None = None) -> Opening:  # noqa: A001 - streams.open, as in gzip.open
    """The streams in the data directory `path`, which is made where there is none, served by this process alone. Used
    once, as a context manager: ``async with`` or ``with``. It is the same directory that ``headrace serve --data`` has.
    """
    return Opening(_embedded(Path(path), settings or Settings(), clock or SystemClock()))


def connect(place: str | Path, *, settings: Settings | None = None, **options: Any) -> BlockingClient:
    """A blocking client of the server at an ``http(s)://`` URL (`options` are those of `HttpClient`), or of the data
    directory at a path, opened in this process. Close it, or use it as ``with connect(…) as client``."""
    if str(place).startswith(("http://", "https://")):
        return BlockingClient(_remote(str(place), options))
    return BlockingClient(_embedded(Path(place), settings or Settings(), SystemClock()))


@asynccontextmanager
async def _embedded(path: Path, settings: Settings, clock: Clock) -> AsyncIterator[Client]:
    from streams.opening import open_log
    from streams.sdk.local import LocalClient
    from streams.service import Service

    log = await open_log(settings, path / "log", clock)
    try:
        service = Service(log, clock=clock, settings=settings)
        await service.open()
        try:
            yield LocalClient(service, settings.scope)
        finally:
            await service.close()
    finally:
        await log.close()


@asynccontextmanager
async def _remote(url: str, options: dict[str, Any]) -> AsyncIterator[Client]:
    from streams.sdk.http import HttpClient

    client = HttpClient(url, **options)
    try:
        yield client
    finally:
        await client.close()
