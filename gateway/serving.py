"""What the connections of a server share: the handler, the limits, the time, and the words of a refusal."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Protocol

from gateway.http import Handler, Request, Response
from gateway.limits import Limits

log = logging.getLogger("headrace.gateway")

REFUSALS: dict[int, str] = {
    400: "BadRequestException",
    408: "RequestTimeoutException",
    413: "RequestEntityTooLargeException",
    431: "RequestHeaderFieldsTooLargeException",
    500: "InternalFailure",
    503: "ServiceUnavailableException",
}
"""How a refusal of the server itself is named: in the form that AWS's SDKs read errors in."""


class Connection(Protocol):
    """One accepted socket, whatever is spoken on it."""

    def sweep(self, now: float) -> None:
        """Ends what has taken too long. `now` is the event loop's time."""

    def shut_down(self) -> None:
        """Takes no more requests, ends streams, answers what is in flight, then closes."""

    def abort(self) -> None:
        """Closes at once."""


@dataclass(eq=False, slots=True)
class Serving:
    """`now` and `date` are kept by the server and are as old as its last sweep."""

    handler: Handler
    limits: Limits
    loop: asyncio.AbstractEventLoop
    now: float = 0.0
    date: str = ""
    stopping: bool = False
    connections: set[Connection] = field(default_factory=set)
    _emptied: asyncio.Future[None] | None = None

    def leave(self, connection: Connection) -> None:
        """A connection is closed and its tasks have ended."""
        self.connections.discard(connection)
        if not self.connections and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    async def empty(self) -> None:
        """Returns when no connection is left."""
        if self.connections:
            self._emptied = self.loop.create_future()
            await self._emptied

    def tick(self) -> None:
        self.now = self.loop.time()
        self.date = formatdate(usegmt=True)

    async def answer(self, request: Request) -> Response:
        """The handler's answer; what it raises against its promise is told to the log and to nobody else."""
        try:
            return await self.handler(request)
        except Exception:
            log.exception("The handler failed: %s %s", request.method, request.path)
            return refusal(500, "The request processing has failed because of an unknown error.")


def refusal(status: int, message: str) -> Response:
    """An answer of the server itself, without the application."""
    body = json.dumps({"__type": REFUSALS[status], "message": message}).encode()
    headers = [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", REFUSALS[status])]
    return Response(status, headers, body)


async def close_stream(body: AsyncIterator[bytes]) -> None:
    """Ends a streamed body, so that its ``finally`` runs now and not when it is collected."""
    close = getattr(body, "aclose", None)
    if close is None:
        return
    try:
        await close()
    except Exception:
        log.exception("A streamed answer failed at its end")
