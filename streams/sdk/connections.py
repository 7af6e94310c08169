"""HTTP/1.1 connections to one server, and a pool of idle ones: what `HttpClient` needs and no more.

A request is written from the buffers that hold it; an answer with a length is received into the one buffer that its
columns will be views of. On a request of 1 MB this takes a tenth of the time that general clients take.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import numpy as np

from streams.core.errors import AccessDenied, InvalidArgument, ServiceUnavailable

_AT_ONCE = struct.pack("ii", 1, 0)

IDLE_MAX = 16
"""Connections kept for the next request: more than a client has at work at once, rarely."""
HEAD_SIZE_MAX = 64 << 10
"""Bytes of the head of an answer, or read at once of a chunked one."""
ANSWER_SIZE_MAX = 1 << 30
"""Bytes of an answer: what is longer is not an answer of ours."""
WRITE_SIZE_MAX = 256 << 10
"""Bytes given to the transport at once: what the socket does not take is copied."""
JOIN_SIZE_MAX = 16 << 10
"""A buffer up to this size is cheaper to copy than to send by itself."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is; `path` is that of a socket in the file system, where it is one."""

    url: str
    host: str
    port: int
    tls: bool
    path: str = ""

    @staticmethod
    def of(url: str) -> Place:
        """Raises `InvalidArgument`."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InvalidArgument(f"{url!r} is not a URL: {error}") from error
        if parts.scheme == "unix" and parts.path and not parts.netloc:
            return Place(url, "localhost", 80, False, parts.path)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise InvalidArgument(f"A server's URL is http://HOST:PORT or https://HOST:PORT, not {url!r}.")
        tls = parts.scheme == "https"
        return Place(url.rstrip("/"), parts.hostname, port or (443 if tls else 80), tls)

    @property
    def authority(self) -> str:
        """What the header Host says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is bytes, or the memory that the answer was received into."""

    status: int
    body: Any


class Lost(Exception):
    """The connection ended without a whole answer: what the server did. `untouched`: not one byte of one had come."""

    def __init__(self, reason: str, untouched: bool) -> None:
        super().__init__(reason)
        self.untouched = untouched


class Connection(asyncio.BufferedProtocol):
    """One request at a time."""

    def __init__(self) -> None:
        self.reused = False
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._head = bytearray(HEAD_SIZE_MAX)
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._filled = 0
        self._touched = False
        self._in_head = True
        self._length: int | None = None
        self._body: memoryview | None = None
        self._received = 0
        self._pieces: list[bytes] = []

    @property
    def usable(self) -> bool:
        """Whether the server still holds the connection, as far as the socket knows."""
        if self._transport is None or self._transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    async def ask(self, head: bytes, pieces: Sequence[Any]) -> Answer:
        """Raises `Lost`. Whoever cancels it closes the connection."""
        assert self._answer is None, "one request at a time"
        self._begin()
        self._answer = asyncio.get_running_loop().create_future()
        try:
            for piece in gathered(head, pieces):
                await self._write(piece)
                if self._answer.done():
                    # Refused before it was whole: what is left unsent would be taken for the next request.
                    answer = self._answer.result()
                    self.close()
                    return answer
            return await self._answer
        except BaseException:
            self.close()
            if self._answer.done() and not self._answer.cancelled():
                self._answer.exception()
            raise
        finally:
            self._answer = None

    def close(self) -> None:
        """At once. With a question open, by a reset: an ordinary end would leave the server waiting on our behalf."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._answer is not None:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._transport.abort()

    async def _write(self, piece: memoryview) -> None:
        assert self._transport is not None
        for first in range(0, len(piece), WRITE_SIZE_MAX):
            if not self._writable.is_set():
                await self._writable.wait()
            if self._answer is not None and self._answer.done():
                return
            self._transport.write(piece[first : first + WRITE_SIZE_MAX])

    # What the transport says ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not subclasses of it

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def get_buffer(self, sizehint: int) -> Any:
        if self._body is not None:
            return self._body[self._received :]
        return memoryview(self._head)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._answer is None or self._answer.done():
            self.close()  # bytes that nobody asked for
            return
        self._touched = True
        try:
            if self._body is not None:
                self._received += nbytes
            elif self._in_head:
                self._filled += nbytes
                self._read_head()
            else:
                self._parser.feed_data(memoryview(self._head)[:nbytes])
        except httptools.HttpParserError as error:
            self._fail(f"answered what is not HTTP ({error})", untouched=False)
            return
        if self._body is not None and self._received == len(self._body):
            self._settle(self._body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        reason = f"closed the connection {'amid its answer' if self._touched else 'before it answered'}"
        self._fail(reason if exc is None else f"{reason} ({exc})", untouched=not self._touched)

    # The answer -------------------------------------------------------------------------------------------------------

    def _read_head(self) -> None:
        while True:
            end = self._head.find(b"\r\n\r\n", 0, self._filled) + 4
            if end < 4:
                if self._filled == len(self._head):
                    self._fail("answered with a head that has no end", untouched=False)
                return
            self._parser.feed_data(memoryview(self._head)[:end])
            rest = self._filled - end
            if self._parser.get_status_code() >= 200:
                break
            # An interim answer (100 Continue): the real one follows.
            self._head[:rest] = self._head[end : self._filled]
            self._filled = rest
            self._parser = httptools.HttpResponseParser(self)
        self._filled = 0
        if self._length is None:
            self._in_head = False
            self._parser.feed_data(memoryview(self._head)[end : end + rest])
        elif self._length > ANSWER_SIZE_MAX:
            self._fail(f"answered with {self._length} bytes", untouched=False)
        elif rest > self._length:
            self._fail("answered more than it had announced", untouched=False)
        elif self._length:
            self._body = memoryview(cast(Any, np.empty(self._length, np.uint8)))  # not zeroed first
            self._body[:rest] = memoryview(self._head)[end : end + rest]
            self._received = rest

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-length":
            self._length = int(value)

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200 and not self._length:
            self._settle(b"".join(self._pieces))

    def _settle(self, body: Any) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(self._parser.get_status_code(), body))
            self._writable.set()  # who is still writing need not go on
        self._body = None
        if not self._parser.should_keep_alive():
            self.close()

    def _fail(self, reason: str, untouched: bool) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Lost(reason, untouched))
        self.close()


class Pool:
    """Connections to one place; a request takes one and gives it back when it has been answered whole."""

    def __init__(self, place: Place, connect_timeout_s: float, tls: ssl.SSLContext | None = None) -> None:
        self._place = place
        self._timeout_s = connect_timeout_s
        self._tls = (tls or ssl.create_default_context()) if place.tls else None
        self._idle: list[Connection] = []
        self._closed = False

    async def take(self, *, fresh: bool = False) -> Connection:
        """Raises `ServiceUnavailable` where nobody listens, `AccessDenied` where somebody else seems to."""
        if self._closed:
            raise ServiceUnavailable(f"The client of {self._place.url} has been closed.")
        while self._idle and not fresh:
            connection = self._idle.pop()
            if connection.usable:
                connection.reused = True
                return connection
            connection.close()
        place = self._place
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                if place.path:
                    _, connection = await loop.create_unix_connection(Connection, place.path)
                else:
                    _, connection = await loop.create_connection(Connection, place.host, place.port, ssl=self._tls)
        except TimeoutError as error:
            raise ServiceUnavailable(f"{place.url} did not take a connection within {self._timeout_s:g} s.") from error
        except ssl.SSLCertVerificationError as error:
            raise AccessDenied(
                f"The certificate of {place.url} is not to be trusted: {error.verify_message}."
            ) from error
        except OSError as error:
            raise ServiceUnavailable(f"No connection to {place.url}: {error.strerror or error}.") from error
        return connection

    def give(self, connection: Connection) -> None:
        if self._closed or len(self._idle) >= IDLE_MAX:
            connection.close()
        else:
            self._idle.append(connection)

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()


def gathered(head: bytes, pieces: Sequence[Any]) -> list[memoryview]:
    """The same bytes in few pieces: neighbours that are small are joined, large ones stay where they are."""
    out: list[memoryview] = []
    small: list[Any] = [head]
    for piece in pieces:
        if len(piece) <= JOIN_SIZE_MAX:
            small.append(piece)
        else:
            out += [memoryview(b"".join(small)), memoryview(piece)]
            small = []
    if small:
        out.append(memoryview(b"".join(small)))
    return out
