"""HTTP/2 on one connection: many streams at once, each with a task of its own; h2 keeps the protocol's state.

What a peer may cost is bounded: streams by `STREAMS_MAX`, requests that are worked on by `RUNNING_MAX`, bodies that
arrive by twice `body_size_max`, answers that are not taken by `OUTGOING_SIZE_MAX`, answers to its control frames by
`CONTROL_SIZE_MAX`, cancelled streams by `RESETS_MAX`. A stream whose reader is slow waits for its own window, and the
others go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from functools import partial
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from gateway.http import Request, Response
from gateway.limits import (
    CONNECTION_WINDOW_SIZE,
    CONTROL_SIZE_MAX,
    HEAD_SIZE_MAX,
    OUTGOING_SIZE_MAX,
    RESETS_MAX,
    RESETS_PERIOD_S,
    RUNNING_MAX,
    STREAMS_MAX,
    WINDOW_SIZE,
    WRITE_SIZE_MAX,
)
from gateway.serving import Serving, close_stream, log, refusal

_TURN_SIZE = 64 << 10
"""Bytes that one stream sends before the others have their turn."""

_CONFIGURATION = H2Configuration(client_side=False)


class _Stream:
    """A request as it comes, and its answer as it goes."""

    __slots__ = (
        "answering",
        "body",
        "headers",
        "id",
        "running",
        "since",
        "size",
        "streaming",
        "task",
        "waits_since",
        "window",
    )

    def __init__(self, number: int, headers: list[tuple[bytes, bytes]], now: float) -> None:
        self.id = number
        self.headers = headers
        self.body: list[bytes] = []
        self.size = 0
        self.since = now
        self.answering = False  # no more of the request is wanted
        self.running = False  # the handler works on it
        self.streaming = False
        self.task: asyncio.Task[None] | None = None
        self.window: asyncio.Future[None] | None = None
        self.waits_since = 0.0


class Http2(asyncio.Protocol):
    """See `gateway.serving.Connection`."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._h2 = H2Connection(_CONFIGURATION)
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._streams: dict[int, _Stream] = {}
        self._ready: deque[_Stream] = deque()  # requests that are whole and wait for their turn
        self._running = 0
        self._tasks = 0
        self._incoming = 0  # bytes of bodies that are not whole yet
        self._outgoing = 0  # bytes of whole answers that are not sent yet
        self._last = 0  # the highest stream that was begun
        self._leaving = False
        self._drained: asyncio.Future[None] | None = None
        self._resets = 0
        self._resets_since = serving.now
        self._heard = serving.now
        self._pinged = serving.now
        self._idle_since = serving.now
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
        # Settings that are changed later wait for the peer to acknowledge them; these are what it is told first.
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS_MAX,
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_SIZE,
                SettingCodes.MAX_HEADER_LIST_SIZE: HEAD_SIZE_MAX,
            },
        )
        self._h2.decoder.max_header_list_size = HEAD_SIZE_MAX
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW_SIZE - self._h2.inbound_flow_control_window)
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self.resume_writing()
        for stream in list(self._streams.values()):
            self._drop(stream)
        self._ready.clear()
        if not self._tasks:
            self._serving.leave(self)

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._heard = self._serving.now
        try:
            for event in self._h2.receive_data(data):
                self._take(event)
        except ProtocolError as error:
            log.debug("An HTTP/2 peer broke the protocol: %s", error)
            self._close()
            return
        except Exception:
            log.exception("An HTTP/2 connection failed")
            self.abort()
            return
        if self._transport is None:
            return
        self._flush()
        if self._transport.get_write_buffer_size() > CONTROL_SIZE_MAX:
            self.abort()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._drained = self._serving.loop.create_future()
        self._unwritten = 0

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def _flush(self) -> None:
        if self._transport is not None:
            data = self._h2.data_to_send()
            if data:
                self._transport.write(data)

    # What comes -------------------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        match event:
            case DataReceived():
                self._take_data(event)
            case RequestReceived():
                self._take_request(event)
            case StreamEnded():
                stream = self._streams.get(event.stream_id)
                if stream is not None and not stream.answering:
                    self._take_end(stream)
            case StreamReset():
                self._take_reset(event.stream_id)
            case WindowUpdated():
                self._widen(event.stream_id)
            case RemoteSettingsChanged():
                self._widen(0)
            case ConnectionTerminated():
                self._close()

    def _take_request(self, event: RequestReceived) -> None:
        number = event.stream_id
        if self._leaving:
            self._h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            return
        self._last = number
        stream = _Stream(number, event.headers, self._serving.now)
        self._streams[number] = stream
        told = dict(event.headers)
        limit = self._serving.limits.body_size_max
        # h2 has refused a length that is no number.
        if int(told.get(b"content-length", 0)) > limit:
            self._refuse(stream, 413, f"The request's body exceeds {limit} bytes.")
        elif told.get(b"expect", b"").lower() == b"100-continue":
            self._h2.send_headers(number, [(":status", "100")])

    def _take_data(self, event: DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        size = event.flow_controlled_length
        if stream is None or stream.answering:
            self._h2.acknowledge_received_data(size, event.stream_id)
            return
        stream.body.append(event.data)
        stream.size += len(event.data)
        self._incoming += len(event.data)
        limit = self._serving.limits.body_size_max
        if stream.size > limit:
            self._refuse(stream, 413, f"The request's body exceeds {limit} bytes.")
        elif self._incoming > 2 * limit:
            self._refuse(stream, 503, "Too many bodies arrive over this connection at once.")
        self._h2.acknowledge_received_data(size, event.stream_id)

    def _take_end(self, stream: _Stream) -> None:
        stream.answering = True
        self._ready.append(stream)
        self._begin()

    def _take_reset(self, number: int) -> None:
        now = self._serving.now
        if now - self._resets_since > RESETS_PERIOD_S:
            self._resets, self._resets_since = 0, now
        self._resets += 1
        stream = self._streams.get(number)
        if stream is not None:
            self._drop(stream)
        if self._resets > RESETS_MAX:
            self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self._close()

    def _widen(self, number: int) -> None:
        """A window has grown: a stream's, or with 0 everybody's."""
        streams = [self._streams[number]] if number in self._streams else self._streams.values() if not number else ()
        for stream in streams:
            if stream.window is not None and not stream.window.done():
                stream.window.set_result(None)

    # Requests ---------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Works on what is ready, as far as the bounds allow."""
        while self._ready and self._running < RUNNING_MAX and self._outgoing < OUTGOING_SIZE_MAX:
            stream = self._ready.popleft()
            if stream.id in self._streams:
                stream.running = True
                self._running += 1
                self._run(stream, self._answer(stream))

    def _run(self, stream: _Stream, work: Coroutine[object, None, None]) -> None:
        self._tasks += 1
        stream.task = self._serving.loop.create_task(work)
        stream.task.add_done_callback(partial(self._ran, stream))

    def _handled(self, stream: _Stream) -> None:
        if stream.running:
            stream.running = False
            self._running -= 1
        self._begin()

    def _ran(self, stream: _Stream, task: asyncio.Task[None]) -> None:
        self._tasks -= 1
        self._handled(stream)
        if not task.cancelled() and task.exception() is not None:
            log.error("An HTTP/2 stream failed", exc_info=task.exception())
            self.abort()
        if self._transport is None:
            if not self._tasks:
                self._serving.leave(self)
        elif not self._streams:
            self._idle_since = self._serving.now
            if self._leaving:
                self._transport.close()

    def _refuse(self, stream: _Stream, status: int, message: str) -> None:
        """Answers without waiting for the rest of the body, which is thrown away."""
        stream.answering = True
        self._incoming -= stream.size
        stream.size, stream.body = 0, []
        self._run(stream, self._send_refusal(stream, refusal(status, message)))

    async def _send_refusal(self, stream: _Stream, response: Response) -> None:
        try:
            assert isinstance(response.body, bytes)
            await self._send_whole(stream, response, response.body, bodiless=False)
            # The answer is complete: what is left of the request is not needed.
            self._reset(stream, ErrorCodes.NO_ERROR)
        finally:
            self._drop(stream)

    async def _answer(self, stream: _Stream) -> None:
        try:
            request = self._request(stream)
            response = await self._serving.answer(request)
            body = response.body
            if isinstance(body, bytes):
                self._outgoing += len(body)
                self._handled(stream)
                try:
                    await self._send_whole(stream, response, body, bodiless=request.method == "HEAD")
                finally:
                    self._outgoing -= len(body)
            else:
                self._handled(stream)
                await self._send_stream(stream, request, response, body)
        finally:
            self._drop(stream)

    def _request(self, stream: _Stream) -> Request:
        headers: dict[str, str] = {}
        for name_sent, value_sent in stream.headers:
            name, value = name_sent.decode("latin-1"), value_sent.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        method = headers.pop(":method", "")
        target = headers.pop(":path", "")
        authority = headers.pop(":authority", "")
        headers.pop(":scheme", None)
        if authority:
            headers.setdefault("host", authority)
        body = stream.body[0] if len(stream.body) == 1 else b"".join(stream.body)
        self._incoming -= stream.size
        stream.size, stream.body = 0, []
        return Request(method, target, headers, body, self._peer)

    # Answers ----------------------------------------------------------------------------------------------------------

    def _head(self, response: Response) -> list[tuple[str, str]]:
        head = [(":status", str(response.status)), ("date", self._serving.date)]
        head += [(name.lower(), value) for name, value in response.headers]
        return head

    async def _send_whole(self, stream: _Stream, response: Response, body: bytes, *, bodiless: bool) -> None:
        if not self._open(stream):
            return
        bodiless = bodiless or not body
        self._h2.send_headers(
            stream.id, [*self._head(response), ("content-length", str(len(body)))], end_stream=bodiless
        )
        if not bodiless:
            await self._send(stream, body, last=True)
        self._flush()

    async def _send_stream(
        self, stream: _Stream, request: Request, response: Response, body: AsyncIterator[bytes]
    ) -> None:
        stream.streaming = True
        try:
            if not self._open(stream):
                return
            bodiless = request.method == "HEAD"
            self._h2.send_headers(stream.id, self._head(response), end_stream=bodiless)
            self._flush()
            if bodiless:
                return
            async for part in body:
                if part and not await self._send(stream, part, last=False):
                    return
                if self._leaving:
                    self._reset(stream, ErrorCodes.NO_ERROR)
                    return
                await asyncio.sleep(0)  # a body that is always ready lets the others live
            if self._open(stream):
                self._h2.end_stream(stream.id)
                self._flush()
        except Exception:
            log.exception("A streamed answer failed: %s %s", request.method, request.path)
            self._reset(stream, ErrorCodes.INTERNAL_ERROR)
        finally:
            await close_stream(body)

    async def _send(self, stream: _Stream, body: bytes, *, last: bool) -> bool:
        """As fast as the stream's window, the connection's and the socket allow; False where the reader has gone."""
        view = memoryview(body)
        turn = 0
        while True:
            if self._drained is not None:
                await self._drained
            if not self._open(stream):
                return False
            size = min(len(view), self._h2.local_flow_control_window(stream.id), self._h2.max_outbound_frame_size)
            if size <= 0:
                await self._window(stream)
                continue
            ends = size == len(view)
            self._h2.send_data(stream.id, view[:size], end_stream=ends and last)
            if ends:
                self._flush()
                return True
            view = view[size:]
            turn += size
            if turn >= _TURN_SIZE:
                turn = 0
                self._flush()
                await asyncio.sleep(0)

    async def _window(self, stream: _Stream) -> None:
        self._flush()
        stream.window = self._serving.loop.create_future()
        stream.waits_since = self._serving.now
        try:
            await stream.window
        finally:
            stream.window = None

    def _open(self, stream: _Stream) -> bool:
        """Whether anything can still be sent on it."""
        return self._transport is not None and not self._transport.is_closing() and stream.id in self._streams

    # The end ----------------------------------------------------------------------------------------------------------

    def _drop(self, stream: _Stream) -> None:
        """Forgets a stream; whoever works on it is cancelled."""
        if self._streams.pop(stream.id, None) is None:
            return
        self._incoming -= stream.size
        stream.size, stream.body = 0, []
        if stream.task is not None and stream.task is not asyncio.current_task():
            stream.task.cancel()
        if not self._streams:
            self._idle_since = self._serving.now

    def _reset(self, stream: _Stream, code: ErrorCodes) -> None:
        if self._open(stream):
            try:
                self._h2.reset_stream(stream.id, code)
            except ProtocolError:
                pass  # both sides had ended it already
            self._flush()

    def _close(self) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def shut_down(self) -> None:
        """GOAWAY with the last stream that was begun, written here: to h2 it would be the end of everything."""
        if self._transport is None or self._leaving:
            return
        self._leaving = True
        self._flush()
        self._transport.write(GoAwayFrame(0, last_stream_id=self._last, error_code=0).serialize())
        for stream in list(self._streams.values()):
            if stream.streaming:
                self._reset(stream, ErrorCodes.NO_ERROR)
                self._drop(stream)
        if not self._streams and not self._tasks:
            self._transport.close()

    def sweep(self, now: float) -> None:
        limits = self._serving.limits
        transport = self._transport
        if transport is None:
            return
        if self._drained is not None:
            self._sweep_writing(transport, now)
        if not self._streams:
            if not self._tasks and now - self._idle_since > limits.idle_timeout_s:
                self.shut_down()
            return
        for stream in list(self._streams.values()):
            if not stream.answering and now - stream.since > limits.body_timeout_s:
                self._refuse(
                    stream, 408, f"The request's body did not arrive within {limits.body_timeout_s:g} seconds."
                )
            elif stream.window is not None and now - stream.waits_since > limits.write_timeout_s:
                self._reset(stream, ErrorCodes.CANCEL)
                self._drop(stream)
        silence = now - self._heard
        if silence > 3 * limits.ping_interval_s:
            self.abort()
        elif silence > limits.ping_interval_s and now - self._pinged > limits.ping_interval_s:
            self._pinged = now
            self._h2.ping(b"headrace")
            self._flush()

    def _sweep_writing(self, transport: asyncio.Transport, now: float) -> None:
        """Gives up a peer that takes nothing of what is ready."""
        unwritten = transport.get_write_buffer_size()
        if unwritten != self._unwritten:
            self._unwritten = unwritten
            self._unwritten_since = now
        elif now - self._unwritten_since > self._serving.limits.write_timeout_s:
            self.abort()
