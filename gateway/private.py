"""The private door: the native one, on a socket that only this user's processes reach. For what the server itself starts,
applications above all: no signature, no TLS, hidden streams too."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from gateway.http import Request, Response
from gateway.native import NativeDoor
from gateway.server import Server
from streams.core.scope import Scope
from streams.sdk.local import NativeService


class PrivateDoor:
    """`url` is what an `HttpClient` takes, once it is started."""

    def __init__(self, service: NativeService, scope: Scope) -> None:
        # A folder of its own: the path of a socket may have 107 bytes, which a data directory's may not fit into.
        self._folder = tempfile.mkdtemp(prefix="headrace-")
        path = Path(self._folder) / "door"
        door = NativeDoor(service, private=True)

        async def handle(request: Request) -> Response:
            return await door.handle(request, scope)

        self.url = f"unix:{path}"
        self._server = Server(handle, "", 0, path=str(path))

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        """Who has a question open is not waited for: the services behind it are about to close."""
        await self._server.stop(drain_s=0)
        shutil.rmtree(self._folder, ignore_errors=True)
