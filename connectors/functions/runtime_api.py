"""Lambda's Runtime API for one environment: HTTP/1.1 on a port of the loopback address.

    GET  /2018-06-01/runtime/invocation/next             the next event, as soon as there is one
    POST /2018-06-01/runtime/invocation/ID/response      what the function answered
    POST /2018-06-01/runtime/invocation/ID/error         what it raised
    POST /2018-06-01/runtime/init/error                  why it cannot start

An environment has a port of its own, so answers cannot be mixed up. A runtime that speaks this protocol is served,
whatever language it is written in.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from dataclasses import dataclass
from typing import Any, cast

import httptools

log = logging.getLogger(__name__)

PREFIX = "/2018-06-01/runtime/"

ANSWER_SIZE_MAX = 6_291_556
"""Lambda's limit for an answer, bytes; of a longer one only the length is kept."""

CONNECTIONS_MAX = 8
"""Connections to one environment: a runtime has one, and one more for an error."""

_ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BAD_ID = b'{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}'
_UNKNOWN = b'{"errorMessage":"Not found","errorType":"NotFound"}'


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation as the runtime sees it. `head` are the headers of the event, `event` is its JSON."""

    request_id: str
    head: bytes
    event: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `failed` where it was posted as an error. `body` is empty where `size` is over the limit."""

    failed: bool
    body: bytes
    size: int


class RuntimeApi:
    """`await listen()` gives the address; `ready` is done when the runtime asks for its first event, or holds what it
    says that it cannot start for; `call` gives it an event."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[bytes | None] = loop.create_future()
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._asking: _Connection | None = None
        self._waiting: Call | None = None
        self._answers: dict[str, asyncio.Future[Answer]] = {}

    async def listen(self) -> str:
        """``127.0.0.1:PORT``. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=CONNECTIONS_MAX)
        if not self._server.sockets:
            # What uvloop answers where there is no descriptor left for one.
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def call(self, call: Call) -> asyncio.Future[Answer]:
        """Hands the event over as soon as the runtime asks for it."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[call.request_id] = answer
        if self._asking is None:
            self._waiting = call
        else:
            asking, self._asking = self._asking, None
            asking.send_call(call)
        return answer

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        for answer in self._answers.values():
            answer.cancel()
        self.ready.cancel()

    # From the connections ---------------------------------------------------------------------------------------------

    def joined(self, connection: _Connection) -> bool:
        if len(self._connections) >= CONNECTIONS_MAX:
            return False
        self._connections.add(connection)
        return True

    def left(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if self._asking is connection:
            self._asking = None

    def asked(self, connection: _Connection) -> None:
        """The runtime is done with what it had, and asks for the next."""
        if not self.ready.done():
            self.ready.set_result(None)
        if self._waiting is None:
            self._asking = connection
        else:
            call, self._waiting = self._waiting, None
            connection.send_call(call)

    def posted(self, path: str, body: bytes, size: int) -> tuple[str, bytes] | None:
        """None where it was accepted, or else the status line and the body of the refusal."""
        if path == "init/error":
            if not self.ready.done():
                self.ready.set_result(body)
            return None
        match path.split("/"):
            case ["invocation", request_id, "response" | "error" as kind]:
                answer = self._answers.pop(request_id, None)
                if answer is None or answer.done():
                    return "400 Bad Request", _BAD_ID
                answer.set_result(Answer(kind == "error", body, size))
                return None
        return "404 Not Found", _UNKNOWN


class _Connection(asyncio.Protocol):
    """One connection of the runtime: requests come one after the other."""

    def __init__(self, api: RuntimeApi) -> None:
        self._api = api
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._path = ""
        self._body: list[bytes] = []
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._api.joined(self):
            self._transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._api.left(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            log.warning("a runtime does not speak HTTP: %s", error)
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def send_call(self, call: Call) -> None:
        if self._transport is not None:
            self._transport.writelines([call.head, call.event])

    # The parser's callbacks -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._path, self._body, self._size = "", [], 0

    def on_url(self, url: bytes) -> None:
        self._path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"expect" and self._transport is not None:
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= ANSWER_SIZE_MAX:
            self._body.append(body)
        else:
            self._body.clear()

    def on_message_complete(self) -> None:
        path = self._path.removeprefix(PREFIX)
        if self._parser.get_method() == b"GET" and path == "invocation/next":
            self._api.asked(self)
            return
        body, self._body = b"".join(self._body), []
        refusal = self._api.posted(path, body, self._size)
        if self._transport is None:
            return
        if refusal is None:
            self._transport.write(_ACCEPTED)
        else:
            status, text = refusal
            self._transport.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
