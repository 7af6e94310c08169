"""The sending half of an HTTP/2 connection: answers leave as fast as the windows and the socket take them.

Three things hold an answer back, each bounded by the peer or by us: the window of its stream, the window of the
connection, and what waits to be written to the socket. Streams that have much to send take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hyperframe.frame import GoAwayFrame

from gateway.http import Request, Response
from gateway.http2_stream import Stream
from gateway.output import Output
from gateway.serving import Serving, close_stream, log

_TURN_SIZE = 64 << 10
"""Bytes that one stream sends before the others have their turn."""


class ResponseWriter:
    """`leaving` once GOAWAY is sent: no streams are begun any more, and streamed answers end."""

    def __init__(self, serving: Serving, h2: H2Connection, output: Output) -> None:
        self._serving = serving
        self._h2 = h2
        self._output = output
        self.leaving = False

    def flush(self) -> None:
        """Writes the frames that are ready."""
        if self._output.transport is not None:
            data = self._h2.data_to_send()
            if data:
                self._output.transport.write(data)

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """Ends a stream before its answer ends."""
        if self._can_send(stream):
            try:
                self._h2.reset_stream(stream.id, code)
            except ProtocolError:
                pass  # both sides had ended it already
            self.flush()

    def go_away(self, last: int) -> None:
        """GOAWAY with the last stream that was begun, written here: to h2 it would be the end of everything."""
        self.leaving = True
        self.flush()
        self._output.write(GoAwayFrame(0, last_stream_id=last, error_code=0).serialize())

    async def write_whole(self, stream: Stream, response: Response, body: bytes, *, bodiless: bool) -> None:
        """Returns when all of it is sent, or the reader has gone."""
        if not self._can_send(stream):
            return
        bodiless = bodiless or not body
        self._h2.send_headers(
            stream.id, [*self._head(response), ("content-length", str(len(body)))], end_stream=bodiless
        )
        if not bodiless:
            await self._send(stream, body, last=True)
        self.flush()

    async def write_stream(
        self, stream: Stream, request: Request, response: Response, body: AsyncIterator[bytes]
    ) -> None:
        """Returns when `body` has ended or failed, its reader has gone, or the connection is leaving."""
        stream.streaming = True
        try:
            if not self._can_send(stream):
                return
            bodiless = request.method == "HEAD"
            self._h2.send_headers(stream.id, self._head(response), end_stream=bodiless)
            self.flush()
            if bodiless:
                return
            async for part in body:
                if part and not await self._send(stream, part, last=False):
                    return
                if self.leaving:
                    self.reset(stream, ErrorCodes.NO_ERROR)
                    return
                await asyncio.sleep(0)  # a body that is always ready lets the others live
            if self._can_send(stream):
                self._h2.end_stream(stream.id)
                self.flush()
        except Exception:
            log.exception("A streamed answer failed: %s %s", request.method, request.path)
            self.reset(stream, ErrorCodes.INTERNAL_ERROR)
        finally:
            await close_stream(body)

    def _head(self, response: Response) -> list[tuple[str, str]]:
        head = [(":status", str(response.status)), ("date", self._serving.date)]
        head += [(name.lower(), value) for name, value in response.headers]
        return head

    async def _send(self, stream: Stream, body: bytes, *, last: bool) -> bool:
        """As fast as the stream's window, the connection's and the socket allow; False where the reader has gone."""
        view = memoryview(body)
        turn = 0
        while True:
            if self._output.drained is not None:
                await self._output.drained
            if not self._can_send(stream):
                return False
            size = min(len(view), self._h2.local_flow_control_window(stream.id), self._h2.max_outbound_frame_size)
            if size <= 0:
                await self._window(stream)
                continue
            ends = size == len(view)
            self._h2.send_data(stream.id, view[:size], end_stream=ends and last)
            if ends:
                self.flush()
                return True
            view = view[size:]
            turn += size
            if turn >= _TURN_SIZE:
                turn = 0
                self.flush()
                await asyncio.sleep(0)

    async def _window(self, stream: Stream) -> None:
        """Returns when the stream's window or the connection's has grown."""
        self.flush()
        stream.window = self._serving.loop.create_future()
        stream.waits_since = self._serving.now
        try:
            await stream.window
        finally:
            stream.window = None

    def _can_send(self, stream: Stream) -> bool:
        transport = self._output.transport
        return stream.open and transport is not None and not transport.is_closing()
