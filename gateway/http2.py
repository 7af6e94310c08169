"""HTTP/2 on one connection: many streams at once, each with a task of its own; h2 keeps the protocol's state.

Here frames come in and tasks are begun and ended; a request as it comes is `gateway/http2_stream.py`'s, and how answers
leave is `gateway/http2_writer.py`'s.

What a peer may cost is bounded: streams by `STREAMS_MAX`, requests that are worked on by `RUNNING_MAX`, bodies that
arrive by twice `body_size_max`, answers that are not taken by `OUTGOING_SIZE_MAX`, answers to its control frames by
`CONTROL_SIZE_MAX`, cancelled streams by `RESETS_MAX`. A stream whose reader is slow waits for its own window, and the
others go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from functools import partial

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

from gateway.http import Response
from gateway.http2_settings import h2_connection
from gateway.http2_stream import Stream
from gateway.http2_writer import ResponseWriter
from gateway.limits import CONTROL_SIZE_MAX, OUTGOING_SIZE_MAX, RESETS_MAX, RESETS_PERIOD_S, RUNNING_MAX
from gateway.output import Output
from gateway.serving import Serving, log, refusal


class Http2(asyncio.Protocol):
    """See `gateway.serving.Connection`."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._h2 = h2_connection()
        self._output = Output(serving)
        self._writer = ResponseWriter(serving, self._h2, self._output)
        self._peer = ""
        self._streams: dict[int, Stream] = {}
        self._ready: deque[Stream] = deque()  # requests that are whole and wait for their turn
        self._running = 0
        self._tasks = 0
        self._incoming = 0  # bytes of bodies that are not whole yet
        self._outgoing = 0  # bytes of whole answers that are not sent yet
        self._last = 0  # the highest stream that was begun
        self._resets = 0
        self._resets_since = serving.now
        self._heard = serving.now
        self._pinged = serving.now
        self._parting = False  # the peer begins no more streams
        self._idle_since = serving.now

    # The socket -------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._peer = self._output.open(transport)
        self._serving.connections.add(self)
        self._writer.flush()

    def connection_lost(self, _error: Exception | None) -> None:
        self._output.lose()
        for stream in list(self._streams.values()):
            self._drop(stream)
        self._ready.clear()
        if not self._tasks:
            self._serving.leave(self)

    def data_received(self, data: bytes) -> None:
        transport = self._output.transport
        if transport is None or transport.is_closing():
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
        if self._output.transport is None:
            return
        self._writer.flush()
        if transport.get_write_buffer_size() > CONTROL_SIZE_MAX:
            self.abort()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._output.pause()

    def resume_writing(self) -> None:
        self._output.resume()

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
                self._parting = True
                if not self._streams or event.error_code != ErrorCodes.NO_ERROR:
                    self._close()

    def _take_request(self, event: RequestReceived) -> None:
        number = event.stream_id
        if self._writer.leaving:
            self._h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            return
        self._last = number
        stream = Stream(number, event.headers, self._serving.now)
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
        stream.take(event.data)
        self._incoming += len(event.data)
        limit = self._serving.limits.body_size_max
        if stream.size > limit:
            self._refuse(stream, 413, f"The request's body exceeds {limit} bytes.")
        elif self._incoming > 2 * limit:
            self._refuse(stream, 503, "Too many bodies arrive over this connection at once.")
        self._h2.acknowledge_received_data(size, event.stream_id)

    def _take_end(self, stream: Stream) -> None:
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
            stream.widen()

    # Requests ---------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Works on what is ready, as far as the bounds allow."""
        while self._ready and self._running < RUNNING_MAX and self._outgoing < OUTGOING_SIZE_MAX:
            stream = self._ready.popleft()
            if stream.open:
                stream.running = True
                self._running += 1
                self._run(stream, self._answer(stream))

    def _run(self, stream: Stream, work: Coroutine[object, None, None]) -> None:
        self._tasks += 1
        stream.task = self._serving.loop.create_task(work)
        stream.task.add_done_callback(partial(self._ran, stream))

    def _handled(self, stream: Stream) -> None:
        if stream.running:
            stream.running = False
            self._running -= 1
        self._begin()

    def _ran(self, stream: Stream, task: asyncio.Task[None]) -> None:
        self._tasks -= 1
        self._handled(stream)
        if not task.cancelled() and task.exception() is not None:
            log.error("An HTTP/2 stream failed", exc_info=task.exception())
            self.abort()
        if self._output.transport is None:
            if not self._tasks:
                self._serving.leave(self)
        elif not self._streams:
            self._idle_since = self._serving.now
            if self._writer.leaving:
                self._output.close()

    def _refuse(self, stream: Stream, status: int, message: str) -> None:
        """Answers without waiting for the rest of the body, which is thrown away."""
        stream.answering = True
        self._incoming -= stream.drop_body()
        self._run(stream, self._send_refusal(stream, refusal(status, message)))

    async def _send_refusal(self, stream: Stream, response: Response) -> None:
        try:
            assert isinstance(response.body, bytes)
            await self._writer.write_whole(stream, response, response.body, bodiless=False)
            # The answer is complete: what is left of the request is not needed.
            self._writer.reset(stream, ErrorCodes.NO_ERROR)
        finally:
            self._drop(stream)

    async def _answer(self, stream: Stream) -> None:
        try:
            request = stream.request(self._peer)
            self._incoming -= stream.drop_body()
            response = await self._serving.answer(request)
            body = response.body
            if isinstance(body, bytes):
                self._outgoing += len(body)
                self._handled(stream)
                try:
                    await self._writer.write_whole(stream, response, body, bodiless=request.method == "HEAD")
                finally:
                    self._outgoing -= len(body)
            else:
                self._handled(stream)
                await self._writer.write_stream(stream, request, response, body)
        finally:
            self._drop(stream)

    # The end ----------------------------------------------------------------------------------------------------------

    def _drop(self, stream: Stream) -> None:
        """Forgets a stream; whoever works on it is cancelled."""
        if self._streams.pop(stream.id, None) is None:
            return
        stream.open = False
        self._incoming -= stream.drop_body()
        if stream.task is not None and stream.task is not asyncio.current_task():
            stream.task.cancel()
        if not self._streams:
            self._idle_since = self._serving.now
            if self._parting:
                self._close()

    def _close(self) -> None:
        self._writer.flush()
        self._output.close()

    def abort(self) -> None:
        self._output.abort()

    def shut_down(self) -> None:
        if self._output.transport is None or self._writer.leaving:
            return
        self._writer.go_away(self._last)
        for stream in list(self._streams.values()):
            if stream.streaming:
                self._writer.reset(stream, ErrorCodes.NO_ERROR)
                self._drop(stream)
        if not self._streams and not self._tasks:
            self._output.close()

    def sweep(self, now: float) -> None:
        limits = self._serving.limits
        if self._output.transport is None:
            return
        self._output.sweep(now)
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
                self._writer.reset(stream, ErrorCodes.CANCEL)
                self._drop(stream)
        silence = now - self._heard
        if silence > 3 * limits.ping_interval_s:
            self.abort()
        elif silence > limits.ping_interval_s and now - self._pinged > limits.ping_interval_s:
            self._pinged = now
            self._h2.ping(b"headrace")
            self._writer.flush()
