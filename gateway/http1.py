"""HTTP/1.1 on one connection: requests are parsed as they come and answered in order, one after the other.

httptools parses; a task of the connection takes the parsed requests from a queue. Nothing grows without bound: the head
of a request by `HEAD_SIZE_MAX`, its body by `body_size_max`, the queue by `PIPELINE_MAX` (then the socket is not read
from), what waits to be written by `WRITE_SIZE_MAX` (then whoever produces it waits).
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import cast

import httptools

from gateway.http import Request, Response
from gateway.limits import HEAD_SIZE_MAX, HEADERS_MAX, PIPELINE_MAX, PIPELINE_SIZE_MAX, WRITE_SIZE_MAX
from gateway.serving import Serving, close_stream, log, refusal

_SLICE = 16 << 10
"""Bytes that are parsed at a time, so that the queue's bound is looked at between: they hold hundreds of requests."""

_JOIN_MAX = 64 << 10
"""Bytes of a body up to which copying it behind the head is cheaper than writing two buffers."""

_NAMES_MAX = 1024
_names: dict[bytes, str] = {}
"""Header names as sent → lower-case, since callers send the same few again and again."""

_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\nDate: " for status in HTTPStatus}
_VERSIONS = ("1.1", "1.0")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"

# Where the parser stands.
_BETWEEN, _HEAD, _BODY = range(3)


class Http1(asyncio.Protocol):
    """See `gateway.serving.Connection`."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._peer = ""

        self._phase = _BETWEEN
        self._since = serving.now
        self._fed = 0  # bytes fed since the last that were a body's
        self._awaited = 0  # bytes of the body that are still to come, where its length was told
        self._held = b""  # bytes received and not parsed, since the queue is full
        self._target = b""
        self._headers: dict[str, str] = {}
        self._header_count = 0
        self._body: list[bytes] = []
        self._body_size = 0
        self._expects = False
        self._declining = False  # an offer of another protocol, whose body is to be parsed all the same

        self._queue: deque[tuple[Request, bool, bool]] = deque()  # request, keep-alive, HTTP/1.1
        self._queue_size = 0
        self._refusal: Response | None = None
        self._reading = True
        self._ended = False  # no more requests will come
        self._half_closed = False
        self._worker: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._working = False
        self._streaming = False
        self._lingers_since = 0.0

        self._drained: asyncio.Future[None] | None = None
        self._unwritten = 0
        self._unwritten_since = 0.0

    # The socket -------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one in all but its class.
        transport = cast(asyncio.Transport, transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_SIZE_MAX)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        self._serving.connections.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._ended = True
        self._parser = None
        self._queue.clear()
        self.resume_writing()
        if self._worker is None or self._worker.done():
            self._serving.leave(self)
        else:
            self._worker.add_done_callback(lambda _worker: self._serving.leave(self))
            self._worker.cancel()

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return  # a refused caller goes on sending
        if not self._reading:
            self._held += data
        elif len(data) <= _SLICE or len(data) <= self._awaited:
            self._feed(data)
        else:
            self._feed_slices(data)

    def eof_received(self) -> bool:
        """True where answers are still owed: a caller may close its sending half and read on. Who reads a stream and
        closes has gone."""
        if self._streaming or self._lingers_since:
            return False
        owed = self._working or bool(self._queue) or self._refusal is not None
        self._ended = self._half_closed = True
        self._wake_up()
        return owed and self._transport is not None and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        self._drained = self._serving.loop.create_future()
        self._unwritten = 0

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # The parser -------------------------------------------------------------------------------------------------------

    def _feed_slices(self, data: bytes) -> None:
        view = memoryview(data)
        offset = 0
        while offset < len(data) and not self._ended:
            if not self._reading:
                self._held = data[offset:]
                return
            size = min(max(_SLICE, self._awaited), len(data) - offset)
            self._feed(view[offset : offset + size])
            offset += size

    def _feed(self, data: bytes | memoryview) -> None:
        self._fed += len(data)
        while True:
            parser = self._parser
            assert parser is not None
            try:
                parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                # The offer to speak something else is not taken up: what follows is HTTP/1.1.
                data = data[offer.args[0] :]
                if self._ended:
                    return
                if self._declining:
                    self._decline(parser)
                if len(data):
                    continue
            except httptools.HttpParserError as error:
                self._refuse(400, f"The request is not HTTP/1.1: {error}.")
                return
            break
        if self._fed > HEAD_SIZE_MAX:
            self._refuse(431, f"The request's line and headers exceed {HEAD_SIZE_MAX} bytes.")

    def _decline(self, parser: httptools.HttpRequestParser) -> None:
        """httptools takes the body behind an offer for the other protocol's first bytes, as if the request had none. So
        the body is parsed anew, behind a head that frames it alike and offers nothing."""
        headers = self._headers
        framing = "Content-Length: " + headers["content-length"] if self._awaited else "Transfer-Encoding: chunked"
        connection = "keep-alive" if parser.should_keep_alive() else "close"
        method, version = parser.get_method().decode("latin-1"), parser.get_http_version()
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(f"{method} / HTTP/{version}\r\nConnection: {connection}\r\n{framing}\r\n\r\n".encode())
        self._declining = False

    def on_message_begin(self) -> None:
        if self._declining:
            return
        self._phase = _HEAD
        self._since = self._serving.now
        self._target = b""
        self._headers = {}
        self._header_count = 0
        self._expects = False

    def on_url(self, part: bytes) -> None:
        if self._declining:
            return
        self._target = self._target + part if self._target else part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        if self._header_count > HEADERS_MAX:
            self._refuse(431, f"The request has more than {HEADERS_MAX} headers.")
            return
        if self._phase is not _HEAD:
            return  # a trailer of a chunked body
        key = _names.get(name) or _lower(name)
        headers = self._headers
        if key in headers:
            headers[key] += ", " + value.decode("latin-1")
        else:
            headers[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._declining:
            return
        parser, headers = self._parser, self._headers
        assert parser is not None
        self._phase = _BODY
        self._since = self._serving.now
        self._body_size = 0
        size = headers.get("content-length")
        # The parser has refused what is not one number.
        self._awaited = int(size) if size else 0
        coding = headers.get("transfer-encoding")
        if coding is not None and (coding.strip().lower() != "chunked" or parser.get_http_version() != "1.1"):
            self._refuse(400, "The only coding of a request's body is chunked, and that in HTTP/1.1.")
        elif self._awaited > self._serving.limits.body_size_max:
            self._refuse_body()
        elif parser.should_upgrade():
            if parser.get_method() == b"CONNECT":
                self._refuse(400, "Tunnels (CONNECT) are not offered here.")
            self._declining = not self._ended and (self._awaited > 0 or coding is not None)
        if not self._ended and "expect" in headers and headers["expect"].lower() == "100-continue":
            self._expects = True
            self._encourage()

    def on_chunk_header(self) -> None:
        self._fed = 0

    def on_body(self, part: bytes) -> None:
        self._fed = 0
        if self._ended:
            return
        self._body.append(part)
        self._body_size += len(part)
        self._awaited -= len(part)
        if self._body_size > self._serving.limits.body_size_max:
            self._refuse_body()

    def on_message_complete(self) -> None:
        if self._ended or self._declining:
            return
        parser = self._parser
        assert parser is not None
        version = parser.get_http_version()
        if version not in _VERSIONS:
            self._refuse(400, f"The request is not HTTP/1.1: it says HTTP/{version}.")
            return
        body = self._body
        whole = body[0] if len(body) == 1 else b"".join(body)
        self._body = []
        self._phase = _BETWEEN
        self._fed = 0
        self._awaited = 0
        request = Request(
            parser.get_method().decode("latin-1"), self._target.decode("latin-1"), self._headers, whole, self._peer
        )
        keep = parser.should_keep_alive()
        self._queue.append((request, keep, version == "1.1"))
        self._queue_size += len(whole)
        if not keep:
            self._ended = True
        elif len(self._queue) >= PIPELINE_MAX or self._queue_size >= PIPELINE_SIZE_MAX:
            self._stop_reading()
        self._wake_up()

    def _refuse_body(self) -> None:
        self._refuse(413, f"The request's body exceeds {self._serving.limits.body_size_max} bytes.")

    def _refuse(self, status: int, message: str) -> None:
        """The last answer of this connection, in its turn."""
        if self._ended:
            return
        self._ended = True
        self._body = []
        self._refusal = refusal(status, message)
        self._wake_up()

    def _encourage(self) -> None:
        """Tells a caller who waits for it that the body may come, once everything before has been answered."""
        if self._expects and not self._working and not self._queue and self._phase is _BODY and self._transport:
            self._expects = False
            if not self._body_size:
                self._transport.write(_CONTINUE)

    def _stop_reading(self) -> None:
        if self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def _go_on_reading(self) -> None:
        if self._transport is None or self._ended:
            return
        self._reading = True
        self._since = self._serving.now
        held, self._held = self._held, b""
        if held:
            self._feed_slices(held)
        if self._reading:
            self._transport.resume_reading()

    # The worker -------------------------------------------------------------------------------------------------------

    def _wake_up(self) -> None:
        if self._worker is None:
            if self._queue or self._refusal is not None:
                self._working = True
                self._worker = self._serving.loop.create_task(self._work())
        elif self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _work(self) -> None:
        queue = self._queue
        try:
            while self._transport is not None:
                if queue:
                    self._working = True
                    request, keep, http11 = queue.popleft()
                    self._queue_size -= len(request.body)
                    if not await self._answer(request, keep, http11):
                        break
                    if not self._reading and len(queue) <= PIPELINE_MAX // 2 and self._queue_size < PIPELINE_SIZE_MAX:
                        self._go_on_reading()
                elif self._refusal is not None:
                    self._write_whole(self._refusal, keep=False, http11=True, bodiless=False)
                    self._linger()
                    return
                elif self._ended or self._serving.stopping:
                    break
                else:
                    self._working = False
                    self._since = self._serving.now
                    if self._expects:
                        self._encourage()
                    self._wake = self._serving.loop.create_future()
                    await self._wake
        except Exception:
            log.exception("A connection failed")
            self.abort()
        finally:
            self._working = False
        self._close()

    async def _answer(self, request: Request, keep: bool, http11: bool) -> bool:
        """Whether the connection goes on."""
        response = await self._serving.answer(request)
        if self._serving.stopping and not self._queue:
            keep = False
        bodiless = request.method == "HEAD"
        if isinstance(response.body, bytes):
            self._write_whole(response, keep=keep, http11=http11, bodiless=bodiless)
        elif not await self._write_stream(request, response, response.body, keep=keep and http11, http11=http11):
            return False
        if self._drained is not None:
            await self._drained
        return keep

    def _write_whole(self, response: Response, *, keep: bool, http11: bool, bodiless: bool) -> None:
        transport = self._transport
        if transport is None:
            return
        body = response.body
        assert isinstance(body, bytes)
        parts = [_STATUS[response.status], self._serving.date, "\r\n"]
        for name, value in response.headers:
            parts += (name, ": ", value, "\r\n")
        if not keep:
            parts.append("Connection: close\r\n")
        elif not http11:
            parts.append("Connection: keep-alive\r\n")
        parts.append(f"Content-Length: {len(body)}\r\n\r\n")
        head = "".join(parts).encode("latin-1")
        if bodiless:
            transport.write(head)
        elif len(body) <= _JOIN_MAX:
            transport.write(head + body)
        else:
            transport.writelines((head, body))

    async def _write_stream(
        self, request: Request, response: Response, body: AsyncIterator[bytes], *, keep: bool, http11: bool
    ) -> bool:
        """Whether it came to its end. HTTP/1.0 knows no chunks: there the connection's end is the body's."""
        if self._half_closed:
            await close_stream(body)
            return False
        parts = [_STATUS[response.status], self._serving.date, "\r\n"]
        for name, value in response.headers:
            parts += (name, ": ", value, "\r\n")
        parts.append("Transfer-Encoding: chunked\r\n" if http11 else "")
        parts.append("\r\n" if keep else "Connection: close\r\n\r\n")
        self._streaming = True
        try:
            self._write("".join(parts).encode("latin-1"))
            if request.method != "HEAD":
                async for part in body:
                    if part:
                        self._write(b"%x\r\n%b\r\n" % (len(part), part) if http11 else part)
                    if self._drained is not None:
                        await self._drained
                    if self._transport is None or self._serving.stopping:
                        return False
                    await asyncio.sleep(0)  # a body that is always ready lets the others live
                if http11:
                    self._write(_LAST_CHUNK)
            return True
        except Exception:
            log.exception("A streamed answer failed: %s %s", request.method, request.path)
            self.abort()
            return False
        finally:
            self._streaming = False
            await close_stream(body)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    # The end ----------------------------------------------------------------------------------------------------------

    def _linger(self) -> None:
        """Closes our half, and throws away what comes until the caller closes its own: who is still sending a body
        would otherwise find a broken connection and not the answer."""
        transport = self._transport
        if transport is None:
            return
        self._lingers_since = self._serving.loop.time()
        self._held = b""
        if not transport.can_write_eof():
            transport.close()
            return
        transport.write_eof()
        if not self._reading:
            self._reading = True
            transport.resume_reading()

    def _close(self) -> None:
        self._ended = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def shut_down(self) -> None:
        if self._streaming and self._worker is not None:
            self._worker.cancel()
            self._close()
        elif not self._working and not self._queue and self._phase is not _BODY:
            self._close()

    def sweep(self, now: float) -> None:
        limits = self._serving.limits
        if self._drained is not None:
            self._sweep_writing(now)
        if self._streaming and not self._reading and self._hung_up():
            self.abort()
        elif self._lingers_since:
            if now - self._lingers_since > limits.linger_s:
                self.abort()
        elif self._ended or not self._reading:
            return
        elif self._phase is _BODY:
            if now - self._since > limits.body_timeout_s:
                self._refuse(408, f"The request's body did not arrive within {limits.body_timeout_s:g} seconds.")
        elif self._phase is _HEAD:
            if now - self._since > limits.head_timeout_s:
                self._refuse(408, f"The request's headers did not arrive within {limits.head_timeout_s:g} seconds.")
        elif self._working or self._queue:
            return
        elif now - self._since > limits.idle_timeout_s:
            self._close()

    def _hung_up(self) -> bool:
        """Whether the caller has closed, which a socket that is not read from does not announce."""
        if self._transport is None:
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    def _sweep_writing(self, now: float) -> None:
        """Gives up a reader who takes nothing of what is ready."""
        unwritten = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if unwritten != self._unwritten:
            self._unwritten = unwritten
            self._unwritten_since = now
        elif now - self._unwritten_since > self._serving.limits.write_timeout_s:
            self.abort()


def _lower(name: bytes) -> str:
    text = name.decode("latin-1").lower()
    if len(_names) < _NAMES_MAX:
        _names[name] = text
    return text
