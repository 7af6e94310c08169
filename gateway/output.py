"""The way out of one connection: what its reader does not take is bounded, and a reader who takes nothing is given up."""

from __future__ import annotations

import asyncio
from typing import cast

from gateway.limits import GOODBYE_S, WRITE_SIZE_MAX
from gateway.serving import Serving


class Output:
    """`transport` is None before the connection is made and after it is lost. `drained` is a future while more than
    `WRITE_SIZE_MAX` bytes wait to be written: whoever produces more awaits it."""

    __slots__ = ("_serving", "_unwritten", "_unwritten_since", "drained", "transport")

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self.transport: asyncio.Transport | None = None
        self.drained: asyncio.Future[None] | None = None
        self._unwritten = 0
        self._unwritten_since = 0.0

    def open(self, transport: asyncio.BaseTransport) -> str:
        """The connection is made. The peer's address, "" where it has none."""
        # uvloop's transport is one in all but its class.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_SIZE_MAX)
        peer = transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else ""

    def lose(self) -> None:
        """The connection is lost; whoever waits to write goes on and finds no transport."""
        self.transport = None
        self.resume()

    def pause(self) -> None:
        self.drained = self._serving.loop.create_future()
        self._unwritten = 0

    def resume(self) -> None:
        if self.drained is not None and not self.drained.done():
            self.drained.set_result(None)
        self.drained = None

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def close(self) -> None:
        """Closes when what was written is sent."""
        transport = self.transport
        if transport is None:
            return
        sent = transport.get_write_buffer_size() == 0
        transport.close()
        if sent and transport.get_extra_info("ssl_object") is not None:
            self._serving.loop.call_later(GOODBYE_S, transport.abort)

    def abort(self) -> None:
        """Closes at once."""
        if self.transport is not None:
            self.transport.abort()

    def sweep(self, now: float) -> None:
        """Gives up a reader who takes nothing of what is ready."""
        if self.drained is None:
            return
        unwritten = self.transport.get_write_buffer_size() if self.transport is not None else 0
        if unwritten != self._unwritten:
            self._unwritten = unwritten
            self._unwritten_since = now
        elif now - self._unwritten_since > self._serving.limits.write_timeout_s:
            self.abort()
