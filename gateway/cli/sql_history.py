"""What streams no longer hold, for ``headrace sql --history``: in the objects of a server's delivery streams."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from connectors.delivered.archive import Archive
from connectors.delivered.remote import RemoteDeliveries
from gateway.cli.failure import Failure
from streams.core.errors import HeadraceError
from streams.sdk.http import HttpClient


@contextlib.asynccontextmanager
async def archives(client: HttpClient, delivery_streams: Sequence[str]) -> AsyncIterator[dict[str, Archive]]:
    """By the stream that each delivers, open. Raises `Failure`."""
    with contextlib.ExitStack() as opened:
        found: dict[str, Archive] = {}
        for name in delivery_streams:
            archive = Archive(RemoteDeliveries(client), name)
            opened.callback(archive.close)
            try:
                await archive.open()
            except HeadraceError as error:
                raise Failure(f"--history {name}: {error.message}") from error
            other = found.setdefault(archive.stream, archive)
            if other is not archive:
                raise Failure(f"--history: {other.name} and {name} both deliver {archive.stream}: name one of them")
        yield found
