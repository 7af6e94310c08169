"""The HTTP server: HTTP/1.1 and HTTP/2 on one port, a thin protocol on asyncio.

Which of them a caller speaks shows in its first bytes (the preface of HTTP/2), or in what TLS has agreed on. Everything
behind `gateway.http` sees a `Request` and answers a `Response`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl as tls
from collections.abc import Callable
from typing import cast

from gateway.http import Handler
from gateway.http1 import Http1
from gateway.http2 import Http2
from gateway.limits import (
    BACKLOG,
    CONNECTIONS_MAX,
    KEEPALIVE_IDLE_S,
    KEEPALIVE_INTERVAL_S,
    KEEPALIVE_PROBES,
    Limits,
)
from gateway.serving import Serving

DRAIN_S = 10.0
"""How long requests in flight may take when the server stops."""

_SWEEP_S = 1.0
"""How often connections are asked whether something takes too long; at most a quarter of the smallest limit."""

_PREFACE = b"PRI "
"""What an HTTP/2 connection begins with, and no HTTP/1.1 request does."""


class Server:
    """`start` listens and `port` says where; `stop` ends it. `handler` runs on the event loop.

    `ssl` is a context that offers ``h2`` and ``http/1.1``, or None for plain sockets. With a `path` it listens on a socket
    in the file system instead of host and port.
    """

    def __init__(
        self,
        handler: Handler,
        host: str,
        port: int,
        *,
        body_size_max: int = Limits.body_size_max,
        body_timeout_s: float = Limits.body_timeout_s,
        ssl: tls.SSLContext | None = None,
        limits: Limits | None = None,
        path: str | None = None,
    ) -> None:
        self._handler = handler
        self._path = path
        self._host = host
        self._asked_port = port
        self._ssl = ssl
        self._limits = limits or Limits(body_size_max=body_size_max, body_timeout_s=body_timeout_s)
        self._serving: Serving | None = None
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that it listens on, once started."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Raises `OSError` where the address cannot be listened on."""
        loop = asyncio.get_running_loop()
        serving = self._serving = Serving(self._handler, self._limits, loop)
        serving.tick()
        if self._path is not None:
            self._server = await loop.create_unix_server(lambda: Newcomer(serving), self._path, backlog=BACKLOG)
        else:
            self._server = await loop.create_server(
                lambda: Newcomer(serving),
                self._host,
                self._asked_port,
                backlog=BACKLOG,
                ssl=self._ssl,
                ssl_handshake_timeout=self._limits.head_timeout_s if self._ssl is not None else None,
            )
        self._sweeper = loop.create_task(self._sweep(serving))

    async def stop(self, drain_s: float = DRAIN_S) -> None:
        """Listens no more, ends streams, gives requests in flight `drain_s` seconds. Stopping twice does nothing."""
        serving, server, sweeper = self._serving, self._server, self._sweeper
        if serving is None or server is None or sweeper is None:
            return
        self._serving = self._server = self._sweeper = None
        serving.stopping = True
        server.close()
        for connection in list(serving.connections):
            connection.shut_down()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await serving.empty()
        for connection in list(serving.connections):
            connection.abort()
        await serving.empty()
        sweeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sweeper
        await server.wait_closed()

    async def _sweep(self, serving: Serving) -> None:
        limits = self._limits
        smallest = min(
            limits.body_timeout_s,
            limits.head_timeout_s,
            limits.idle_timeout_s,
            limits.write_timeout_s,
            limits.ping_interval_s,
            limits.linger_s,
        )
        while True:
            await asyncio.sleep(min(_SWEEP_S, smallest / 4))
            serving.tick()
            for connection in list(serving.connections):
                connection.sweep(serving.now)


class Newcomer(asyncio.Protocol):
    """A connection of which nothing is known yet. See `gateway.serving.Connection`."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._transport: asyncio.Transport | None = None
        self._since = serving.now
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one in all but its class.
        transport = cast(asyncio.Transport, transport)
        self._transport = transport
        if self._serving.stopping or len(self._serving.connections) >= CONNECTIONS_MAX:
            transport.abort()
            return
        self._serving.connections.add(self)
        connection = transport.get_extra_info("socket")
        if connection.family != socket.AF_UNIX:
            _keep_alive(connection)
        secured = transport.get_extra_info("ssl_object")
        agreed = secured.selected_alpn_protocol() if secured is not None else None
        # The Java SDK agrees on nothing and speaks HTTP/2 all the same.
        if agreed is not None:
            self._become(Http2 if agreed == "h2" else Http1)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._received.startswith(_PREFACE):
            self._become(Http2)
        elif not _PREFACE.startswith(self._received):
            self._become(Http1)

    def connection_lost(self, _error: Exception | None) -> None:
        self._serving.leave(self)
        self._transport = None

    def _become(self, kind: Callable[[Serving], Http1 | Http2]) -> None:
        transport = self._transport
        assert transport is not None
        self._transport = None
        self._serving.connections.discard(self)
        protocol = kind(self._serving)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._received:
            protocol.data_received(self._received)

    def sweep(self, now: float) -> None:
        if now - self._since > self._serving.limits.head_timeout_s:
            self.abort()

    def shut_down(self) -> None:
        self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
