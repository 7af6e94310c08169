"""HTTP/1.1 answers as they leave on one connection: whole ones at once, streamed ones as fast as they are taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

from gateway.http import Request, Response
from gateway.output import Output
from gateway.serving import Serving, close_stream, log

_JOIN_MAX = 64 << 10
"""Bytes of a body up to which copying it behind the head is cheaper than writing two buffers."""

_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\nDate: " for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


class ResponseWriter:
    """`streaming` while an answer is produced as its reader takes it."""

    def __init__(self, serving: Serving, output: Output) -> None:
        self._serving = serving
        self._output = output
        self.streaming = False

    def write_continue(self) -> None:
        """Tells a caller that the body of its request may come."""
        self._output.write(_CONTINUE)

    def write_whole(self, response: Response, *, keep: bool, http11: bool, bodiless: bool) -> None:
        """`keep` says that the connection goes on, `bodiless` that only the head is asked for."""
        transport = self._output.transport
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

    async def write_stream(
        self, request: Request, response: Response, body: AsyncIterator[bytes], *, keep: bool, http11: bool
    ) -> bool:
        """Whether it came to its end. HTTP/1.0 knows no chunks: there the connection's end is the body's."""
        parts = [_STATUS[response.status], self._serving.date, "\r\n"]
        for name, value in response.headers:
            parts += (name, ": ", value, "\r\n")
        parts.append("Transfer-Encoding: chunked\r\n" if http11 else "")
        parts.append("\r\n" if keep else "Connection: close\r\n\r\n")
        self.streaming = True
        try:
            self._output.write("".join(parts).encode("latin-1"))
            if request.method != "HEAD":
                async for part in body:
                    if part:
                        self._output.write(b"%x\r\n%b\r\n" % (len(part), part) if http11 else part)
                    if self._output.drained is not None:
                        await self._output.drained
                    if self._output.transport is None or self._serving.stopping:
                        return False
                    await asyncio.sleep(0)  # a body that is always ready lets the others live
                if http11:
                    self._output.write(_LAST_CHUNK)
            return True
        except Exception:
            log.exception("A streamed answer failed: %s %s", request.method, request.path)
            self._output.abort()
            return False
        finally:
            self.streaming = False
            await close_stream(body)
