"""Answers that are event streams: what an operation gives, message by message, as its reader takes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from gateway.http import Response
from streams.core.errors import InternalFailure, RequestError
from streams.operations.fanout import Event
from streams.wire.eventstream import CONTENT_TYPE, EventStream

log = logging.getLogger("headrace.gateway")

PIECE_SIZE = 256 << 10
"""Bytes that are handed to the connection at a time: what a reader who has stopped reading holds back, beside the event."""


END_S = 2.0
"""How long readers of event streams have to read the end, when the server stops."""


class Events(Protocol):
    """What such an operation answers: it ends, or raises the error that is told last."""

    async def __anext__(self) -> Event: ...

    def close(self) -> None: ...


class EventStreams:
    """The event streams that are being read."""

    def __init__(self) -> None:
        self._open: set[_Messages] = set()
        self._none = asyncio.Event()
        self._none.set()

    def open(self, events: Events, encoder: EventStream, name: str, request_id: str) -> Response:
        """`name` is the member of the stream's shape that each event is."""
        body = _Messages(events, encoder, name, request_id, self._closed)
        self._open.add(body)
        self._none.clear()
        return Response(200, [("Content-Type", CONTENT_TYPE)], body)

    async def ended(self) -> None:
        """Returns when none is open, or when those that are have had `END_S` to read their end."""
        try:
            await asyncio.wait_for(self._none.wait(), END_S)
        except TimeoutError:
            log.info("%d readers of event streams did not read their end", len(self._open))

    def _closed(self, body: _Messages) -> None:
        self._open.discard(body)
        if not self._open:
            self._none.set()


class _Messages(AsyncIterator[bytes]):
    """An iterator with an `aclose`, and not a generator: one that was never begun would not run its ``finally``."""

    def __init__(
        self,
        events: Events,
        encoder: EventStream,
        name: str,
        request_id: str,
        closed: Callable[[_Messages], None],
    ) -> None:
        self._events = events
        self._closed = closed
        self._encoder = encoder
        self._name = name
        self._request_id = request_id
        self._rest = memoryview(encoder.initial_response())
        self._ended = False

    async def __anext__(self) -> bytes:
        if not self._rest:
            if self._ended:
                raise StopAsyncIteration
            self._rest = memoryview(await self._next())
        piece, self._rest = self._rest[:PIECE_SIZE], self._rest[PIECE_SIZE:]
        return bytes(piece)

    async def aclose(self) -> None:
        self._ended = True
        self._events.close()
        self._closed(self)

    async def _next(self) -> bytes:
        try:
            event = await self._events.__anext__()
        except StopAsyncIteration:
            self._ended = True
            raise
        except RequestError as error:
            self._ended = True
            return self._encoder.exception(error)
        except Exception:
            self._ended = True
            log.exception("Request %s failed: %s", self._request_id, self._name)
            return self._encoder.exception(
                InternalFailure("The request processing has failed because of an unknown error.")
            )
        kind = self._encoder.content_type
        encoded = event.encoded.get(kind)
        if encoded is None:
            encoded = event.encoded[kind] = self._encoder.event(self._name, event.reply)
        return encoded
