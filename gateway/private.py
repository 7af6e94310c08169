"""The private door: the native one, on a socket that only this user's processes reach. For what the server itself starts,
applications above all: no signature, no TLS, hidden streams too.

    POST  /native/v1/functions/call?function=ARN   the event → the answer of the function, both JSON
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs

from connectors.delivered.contract import PATH as DELIVERED
from connectors.functions.errors import FunctionError
from gateway.delivered import DeliveredDoor
from gateway.http import Request, Response
from gateway.native import NativeDoor, failure
from gateway.server import Server
from streams.core.errors import ServiceUnavailable
from streams.core.scope import Scope
from streams.sdk.local import NativeService
from streams.wire import native


class PrivateDoor:
    """`url` is what an `HttpClient` takes, once it is started. `invoke` calls functions, by ARN."""

    def __init__(
        self,
        service: NativeService,
        scope: Scope,
        invoke: Callable[[str, bytes], Awaitable[bytes]],
        delivered: DeliveredDoor | None = None,
    ) -> None:
        # A folder of its own: the path of a socket may have 107 bytes, which a data directory's may not fit into.
        self._folder = tempfile.mkdtemp(prefix="headrace-")
        self._door = NativeDoor(service, private=True)
        self._scope = scope
        self._invoke = invoke
        self._delivered = delivered
        path = Path(self._folder) / "door"
        self.url = f"unix:{path}"
        self._server = Server(self._handle, "", 0, path=str(path))

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        """Who has a question open is not waited for: the services behind it are about to close."""
        await self._server.stop(drain_s=0)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _handle(self, request: Request) -> Response:
        if self._delivered is not None and request.path.startswith(DELIVERED):
            account = request.headers.get(native.ACCOUNT_HEADER, self._scope.account)
            return await self._delivered.handle(request, Scope(account, self._scope.region))
        if request.path != native.CALL:
            return await self._door.handle(request, self._scope)
        try:
            answer = await self._invoke(parse_qs(request.query)["function"][0], request.body)
        except FunctionError as error:
            return failure(ServiceUnavailable(error.message))
        return Response(200, [("content-type", native.JSON)], answer)
