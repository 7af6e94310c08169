"""HTTP/1.1 on one connection: requests are answered in order, one after the other.

`gateway/http1_parser.py` makes requests of what is received, and `gateway/http1_writer.py` writes the answers; a task
of the connection goes from the one to the other. Nothing that waits grows without bound: requests by `PIPELINE_MAX` and
`PIPELINE_SIZE_MAX` (then the socket is not read from), what is to be written by `WRITE_SIZE_MAX` (then whoever produces
it waits).
"""

from __future__ import annotations

import asyncio
import select

from gateway.http import Request
from gateway.http1_parser import BETWEEN, BODY, RequestParser
from gateway.http1_writer import ResponseWriter
from gateway.limits import PIPELINE_MAX, PIPELINE_SIZE_MAX
from gateway.output import Output
from gateway.serving import Serving, close_stream, log

_SLICE = 16 << 10
"""Bytes that are parsed at a time, so that the queue's bound is looked at between: they hold hundreds of requests."""


class Http1(asyncio.Protocol):
    """See `gateway.serving.Connection`."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._parser = RequestParser(serving)
        self._output = Output(serving)
        self._writer = ResponseWriter(serving, self._output)
        self._held = b""  # bytes received and not parsed, since enough requests wait
        self._reading = True
        self._half_closed = False
        self._worker: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._working = False
        self._lingers_since = 0.0

    # The socket -------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._parser.peer = self._output.open(transport)
        self._serving.connections.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._parser.close()
        self._output.lose()
        if self._worker is None or self._worker.done():
            self._serving.leave(self)
        else:
            self._worker.add_done_callback(lambda _worker: self._serving.leave(self))
            self._worker.cancel()

    def data_received(self, data: bytes) -> None:
        if self._parser.ended:
            return  # a refused caller goes on sending
        if not self._reading:
            self._held += data
        elif len(data) <= _SLICE or len(data) <= self._parser.awaited:
            self._feed(data)
        else:
            self._feed_slices(data)

    def eof_received(self) -> bool:
        """True where answers are still owed: a caller may close its sending half and read on. Who reads a stream and
        closes has gone."""
        if self._writer.streaming or self._lingers_since:
            return False
        parser, transport = self._parser, self._output.transport
        owed = self._working or bool(parser.requests) or parser.refusal is not None
        parser.ended = self._half_closed = True
        self._wake_up()
        return owed and transport is not None and transport.can_write_eof()

    def pause_writing(self) -> None:
        self._output.pause()

    def resume_writing(self) -> None:
        self._output.resume()

    # What comes -------------------------------------------------------------------------------------------------------

    def _feed_slices(self, data: bytes) -> None:
        view = memoryview(data)
        offset = 0
        while offset < len(data) and not self._parser.ended:
            if not self._reading:
                self._held = data[offset:]
                return
            size = min(max(_SLICE, self._parser.awaited), len(data) - offset)
            self._feed(view[offset : offset + size])
            offset += size

    def _feed(self, data: bytes | memoryview) -> None:
        parser = self._parser
        parser.feed(data)
        if parser.requests:
            full = len(parser.requests) >= PIPELINE_MAX or parser.requests_size >= PIPELINE_SIZE_MAX
            if full and not parser.ended:
                self._stop_reading()
            self._wake_up()
        elif parser.refusal is not None:
            self._wake_up()
        elif parser.expects and not self._working:
            self._encourage()

    def _encourage(self) -> None:
        """Tells a caller who waits for it that the body may come, once everything before has been answered."""
        if self._parser.encourage():
            self._writer.write_continue()

    def _stop_reading(self) -> None:
        if self._reading and self._output.transport is not None:
            self._reading = False
            self._output.transport.pause_reading()

    def _go_on_reading(self) -> None:
        transport = self._output.transport
        if transport is None or self._parser.ended:
            return
        self._reading = True
        self._parser.since = self._serving.now
        held, self._held = self._held, b""
        if held:
            self._feed_slices(held)
        if self._reading:
            transport.resume_reading()

    # The worker -------------------------------------------------------------------------------------------------------

    def _wake_up(self) -> None:
        if self._worker is None:
            if self._parser.requests or self._parser.refusal is not None:
                self._working = True
                self._worker = self._serving.loop.create_task(self._work())
        elif self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _work(self) -> None:
        parser = self._parser
        try:
            while self._output.transport is not None:
                if parser.requests:
                    self._working = True
                    request, keep, http11 = parser.take()
                    if not await self._answer(request, keep, http11):
                        break
                    if not self._reading and self._few_wait():
                        self._go_on_reading()
                elif parser.refusal is not None:
                    self._writer.write_whole(parser.refusal, keep=False, http11=True, bodiless=False)
                    self._linger()
                    return
                elif parser.ended or self._serving.stopping:
                    break
                else:
                    self._working = False
                    parser.since = self._serving.now
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
        if self._serving.stopping and not self._parser.requests:
            keep = False
        bodiless = request.method == "HEAD"
        if isinstance(response.body, bytes):
            self._writer.write_whole(response, keep=keep, http11=http11, bodiless=bodiless)
        elif self._half_closed:
            await close_stream(response.body)  # who reads a stream and closes has gone
            return False
        elif not await self._writer.write_stream(request, response, response.body, keep=keep and http11, http11=http11):
            return False
        if self._output.drained is not None:
            await self._output.drained
        return keep

    def _few_wait(self) -> bool:
        return len(self._parser.requests) <= PIPELINE_MAX // 2 and self._parser.requests_size < PIPELINE_SIZE_MAX

    # The end ----------------------------------------------------------------------------------------------------------

    def _linger(self) -> None:
        """Closes our half, and throws away what comes until the caller closes its own: who is still sending a body
        would otherwise find a broken connection and not the answer."""
        transport = self._output.transport
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
        self._parser.ended = True
        self._output.close()

    def abort(self) -> None:
        self._output.abort()

    def shut_down(self) -> None:
        if self._writer.streaming and self._worker is not None:
            self._worker.cancel()
            self._close()
        elif not self._working and not self._parser.requests and self._parser.phase is not BODY:
            self._close()

    def sweep(self, now: float) -> None:
        limits, parser = self._serving.limits, self._parser
        self._output.sweep(now)
        if self._writer.streaming and not self._reading and self._hung_up():
            self.abort()
        elif self._lingers_since:
            if now - self._lingers_since > limits.linger_s:
                self.abort()
        elif parser.ended or not self._reading:
            return
        elif parser.phase is not BETWEEN:
            parser.sweep(now)
            if parser.refusal is not None:
                self._wake_up()
        elif self._working or parser.requests:
            return
        elif now - parser.since > limits.idle_timeout_s:
            self._close()

    def _hung_up(self) -> bool:
        """Whether the caller has closed, which a socket that is not read from does not announce."""
        if self._output.transport is None:
            return False
        poll = select.poll()
        poll.register(self._output.transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))
