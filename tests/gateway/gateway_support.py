"""A server with a small application in front of which tests misbehave: raw sockets, and the h2 library as a client."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import uvloop
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset

from gateway.http import Request, Response
from gateway.limits import Limits
from gateway.server import Server

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
"""What the server has to run on: the standard library's loop, and the one that the command line takes."""


def on_both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs an asynchronous test on each of them."""

    @functools.wraps(test)
    def run(*, loop: str, **arguments: object) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(test(**arguments))

    signature = inspect.signature(test)
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), loop])
    return pytest.mark.parametrize("loop", list(LOOPS))(run)


async def until(condition: Callable[[], object]) -> None:
    """Lets the loop run until it is so."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for is inside the server, which announces nothing
            await asyncio.sleep(0.001)


SMALL = Limits(body_size_max=100_000)


class Echo:
    """Answers what it was asked; ``/wait`` when `release` is set, ``/stream/N/M`` with N pieces of M bytes, ``/silent``
    with one piece and then nothing, ``/fail`` never."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.began = asyncio.Event()
        self.closed = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.produced = 0
        self.calls = 0

    async def __call__(self, request: Request) -> Response:
        self.calls += 1
        match request.path.strip("/").split("/"):
            case ["wait"]:
                self.began.set()
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
                return Response(200, [], b"waited")
            case ["stream", count, size]:
                return Response(200, [("x-kind", "stream")], self._pieces(int(count), int(size)))
            case ["silent"]:
                return Response(200, [], self._silent())
            case ["broken"]:
                return Response(200, [], self._broken())
            case ["fail"]:
                raise RuntimeError("a secret that nobody may see")
            case ["big", size]:
                return Response(200, [], b"x" * int(size))
        told = f"{request.method} {request.target} {len(request.body)} {request.headers.get('x-test', '')}".rstrip()
        return Response(200, [], told.encode())

    async def _pieces(self, count: int, size: int) -> AsyncIterator[bytes]:
        try:
            for _ in range(count):
                self.produced += size
                yield b"x" * size
        finally:
            self.closed.set()

    async def _silent(self) -> AsyncIterator[bytes]:
        try:
            yield b"first"
            self.began.set()
            await asyncio.Event().wait()
        finally:
            self.closed.set()

    async def _broken(self) -> AsyncIterator[bytes]:
        yield b"first"
        raise RuntimeError("a secret that nobody may see")


@contextlib.asynccontextmanager
async def serving(limits: Limits = SMALL) -> AsyncIterator[tuple[Server, Echo]]:
    echo = Echo()
    server = Server(echo, "127.0.0.1", 0, limits=limits)
    await server.start()
    try:
        yield server, echo
    finally:
        await server.stop(drain_s=1)


async def exchange(port: int, *sent: bytes, ends: bool = True) -> bytes:
    """Everything that comes back to these bytes; with `ends` our sending half is closed after them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in sent:
            writer.write(part)
            await writer.drain()
        if ends:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 15)
    except ConnectionResetError:
        return b"reset"
    finally:
        writer.close()


def statuses(answer: bytes) -> list[int]:
    """Of all the answers in these bytes."""
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


@dataclass
class Peer:
    """An HTTP/2 client over a socket. Windows are only opened by hand where `credits` is False."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    h2: H2Connection = field(default_factory=lambda: H2Connection(H2Configuration(header_encoding="utf-8")))
    credits: bool = True
    bodies: dict[int, bytes] = field(default_factory=dict)
    heads: dict[int, dict[str, str]] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    resets: dict[int, int] = field(default_factory=dict)
    goaway: ConnectionTerminated | None = None

    @classmethod
    async def connect(cls, port: int, *, credits: bool = True) -> Peer:
        peer = cls(*await asyncio.open_connection("127.0.0.1", port), credits=credits)
        peer.h2.initiate_connection()
        await peer.flush()
        return peer

    async def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())
        await self.writer.drain()

    async def request(self, path: str, *, body: bytes | None = None, ends: bool = True) -> int:
        number = self.h2.get_next_available_stream_id()
        headers = [(":method", "POST" if body else "GET"), (":path", path), (":scheme", "http"), (":authority", "h")]
        self.h2.send_headers(number, headers, end_stream=ends and not body)
        self.bodies[number] = b""
        if body:
            await self.send(number, body, ends=ends)
        await self.flush()
        return number

    async def send(self, number: int, body: bytes, *, ends: bool = True) -> None:
        while body:
            size = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size, len(body))
            if size == 0:
                await self.hear()
                continue
            self.h2.send_data(number, body[:size], end_stream=ends and size == len(body))
            body = body[size:]
            await self.flush()

    async def hear(self) -> list[Event]:
        """The next events; an empty list at the end of the connection."""
        data = await asyncio.wait_for(self.reader.read(1 << 16), 15)
        events = self.h2.receive_data(data) if data else []
        for event in events:
            match event:
                case ResponseReceived():
                    self.heads[event.stream_id] = dict(event.headers)  # type: ignore[arg-type]
                case DataReceived():
                    self.bodies[event.stream_id] += event.data
                    if self.credits:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case StreamEnded():
                    self.ended.add(event.stream_id)
                case StreamReset():
                    self.resets[event.stream_id] = event.error_code
                case ConnectionTerminated():
                    self.goaway = event
        if data:
            await self.flush()
        return events if data else []

    async def answer(self, number: int) -> tuple[str, bytes]:
        """The status and the body of a stream, once it has ended."""
        while number not in self.ended and number not in self.resets:
            assert await self.hear() or not self.reader.at_eof(), "the connection ended first"
        return self.heads.get(number, {}).get(":status", "reset"), self.bodies[number]

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
