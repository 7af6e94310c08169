"""The client's end of a connection, against servers that answer as they like."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from streams.core.errors import (
    HeadraceError,
    InternalFailure,
    InvalidArgument,
    RequestError,
    ServiceUnavailable,
)
from streams.core.records import ProducerMark, Records
from streams.sdk.client import TRIM_HORIZON
from streams.sdk.connections import WRITE_SIZE_MAX, Place, gathered
from streams.sdk.http import HttpClient
from streams.sdk.retry import retriable
from tests.sdk.conftest import until

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LISTING = b'{"streams": ["orders"]}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(LISTING), LISTING)


class Scripted:
    """A server that does to the n-th connection what the n-th script says, the last to all that follow."""

    def __init__(self, *scripts: Script) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self._scripts = scripts
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.close()

    async def request(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
        self.requests.append(head + body)

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


Serve = Callable[..., Awaitable[tuple[Scripted, HttpClient]]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    begun: list[tuple[Scripted, HttpClient]] = []

    async def start(*scripts: Callable[[Scripted], Script], timeout_s: float = 20.0) -> tuple[Scripted, HttpClient]:
        server = Scripted()
        server._scripts = tuple(script(server) for script in scripts)
        client = HttpClient(await server.start(), timeout_s=timeout_s)
        begun.append((server, client))
        return server, client

    yield start
    for server, client in begun:
        await client.close()
        await server.stop()


def answering(*pieces: bytes, times: int = 1000, then_close: bool = True) -> Callable[[Scripted], Script]:
    """Answers each of `times` requests with the pieces, sent one by one."""

    def script_of(server: Scripted) -> Script:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for _ in range(times):
                await server.request(reader)
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
            if not then_close:
                await reader.read()

        return script

    return script_of


def record() -> Records:
    return Records.of(["k"], [b"x"])


@pytest.mark.parametrize(
    "pieces",
    [
        (ANSWER,),
        tuple(ANSWER[i : i + 1] for i in range(len(ANSWER))),
        (ANSWER[:60], ANSWER[60:]),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 2000 + ANSWER,),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", ANSWER),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n17\r\n" + LISTING, b"\r\n", b"0\r\n\r\n"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n" + LISTING[:10],
            b"\r\nd\r\n" + LISTING[10:] + b"\r\n0\r\n\r\n",
        ),
    ],
)
async def test_an_answer_is_read_however_it_is_cut(serve: Serve, pieces: tuple[bytes, ...]) -> None:
    server, client = await serve(answering(*pieces))
    assert [await client.list_streams() for _ in range(3)] == [["orders"]] * 3
    assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "kind", "sentence"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", ServiceUnavailable, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", ServiceUnavailable, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", ServiceUnavailable, "more than it had announced"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", ServiceUnavailable, "99999999999 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc", ServiceUnavailable, "amid its answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", ServiceUnavailable, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, ServiceUnavailable, "no end"),
        (b"", ServiceUnavailable, "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", InternalFailure, "not an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", InternalFailure, "not an answer"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", ServiceUnavailable, "answered 502"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>", RequestError, "answered 404"),
        (
            b'HTTP/1.1 400 Bad\r\nContent-Length: 44\r\n\r\n{"__type": "Newer", "message": "Not today."}',
            *(RequestError, "Not today"),
        ),
    ],
)
async def test_strange_answers_are_errors_that_say_so(
    serve: Serve, answer: bytes, kind: type[RequestError], sentence: str
) -> None:
    _, client = await serve(answering(answer, times=1))
    with pytest.raises(RequestError, match=sentence) as raised:
        await client.list_streams()
    assert type(raised.value) is kind
    assert raised.value.retry == kind.retry


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        client = HttpClient(url)
        with pytest.raises(ServiceUnavailable, match=f"No connection to {url}") as raised:
            await client.list_streams()
        assert retriable(raised.value)
        await client.close()


async def test_a_silent_server_is_given_up(serve: Serve) -> None:
    server, client = await serve(answering(then_close=False, times=1), timeout_s=0.05)
    with pytest.raises(ServiceUnavailable, match=r"did not answer within 0\.05 s"):
        await client.put("orders", record())
    with pytest.raises(ServiceUnavailable, match=r"did not answer within 0\.06 s"):
        await client.fetch("orders", {}, wait_ms=10)
    assert server.connections == 2


async def test_a_kept_connection_that_died_costs_a_question_nothing_and_a_put_an_error(serve: Serve) -> None:
    answer_once = answering(ANSWER, times=1, then_close=False)

    def dying(server: Scripted) -> Script:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answering(ANSWER, times=1)(server)(reader, writer)
            await server.request(reader)  # and dies without a word

        return script

    server, client = await serve(dying, answering(ANSWER))
    await client.list_streams()
    assert await client.list_streams() == ["orders"]
    assert (server.connections, len(server.requests)) == (2, 3)

    server, client = await serve(dying, answer_once)
    await client.list_streams()
    with pytest.raises(ServiceUnavailable, match="closed the connection"):
        await client.put("orders", record(), ProducerMark("p", 1))
    assert (server.connections, len(server.requests)) == (1, 2)


async def test_a_connection_that_the_server_closed_while_idle_is_not_used(serve: Serve) -> None:
    server, client = await serve(answering(ANSWER, times=1))
    for _ in range(3):
        assert await client.list_streams() == ["orders"]
        await asyncio.sleep(0)
    assert server.connections == 3


async def test_an_answer_that_ends_the_connection_is_the_last_on_it(serve: Serve) -> None:
    closing = ANSWER.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")
    server, client = await serve(answering(closing))
    assert [await client.list_streams() for _ in range(3)] == [["orders"]] * 3
    assert server.connections == 3


async def test_a_call_that_is_cancelled_takes_its_connection_along(serve: Serve) -> None:
    server, client = await serve(answering(times=1, then_close=False), answering(ANSWER))
    asking = asyncio.create_task(client.fetch("orders", {}, wait_ms=10_000))
    await until(lambda: bool(server.requests))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await client.list_streams() == ["orders"]
    assert server.connections == 2


async def test_calls_side_by_side_have_connections_of_their_own(serve: Serve) -> None:
    server, client = await serve(answering(ANSWER))
    await asyncio.gather(*(client.list_streams() for _ in range(8)))
    await asyncio.gather(*(client.list_streams() for _ in range(8)))
    assert server.connections == 8


async def test_a_refusal_while_the_body_is_on_its_way_is_heard(serve: Serve) -> None:
    refusal = b'{"__type": "InvalidArgumentException", "message": "Too long."}'

    def refuse(server: Scripted) -> Script:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: %d\r\n\r\n%b" % (len(refusal), refusal))
            await reader.read(1)  # takes no more; the body is larger than what sockets hold
            await heard.wait()

        return script

    heard = asyncio.Event()
    _, client = await serve(refuse)
    with pytest.raises(InvalidArgument, match="Too long"):
        await client.put("orders", Records.of(["k"] * 40, [bytes(1 << 20)] * 40))
    heard.set()


async def test_a_closed_client_says_so(serve: Serve) -> None:
    _, client = await serve(answering(ANSWER))
    await client.list_streams()
    await client.close()
    await client.close()
    with pytest.raises(ServiceUnavailable, match="has been closed"):
        await client.find("orders", TRIM_HORIZON)


@pytest.mark.parametrize(
    "url", ["localhost:4567", "ftp://x", "http://", "http://x:port", "http://x/path", "http://x?y"]
)
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(HeadraceError, match="URL"):
        HttpClient(url)


@pytest.mark.parametrize(
    ("url", "authority", "tls"),
    [
        ("http://127.0.0.1:4567", "127.0.0.1:4567", False),
        ("http://stream.example/", "stream.example", False),
        ("https://stream.example", "stream.example", True),
        ("https://[::1]:8443", "[::1]:8443", True),
    ],
)
def test_places(url: str, authority: str, tls: bool) -> None:
    place = Place.of(url)
    assert (place.authority, place.tls) == (authority, tls)


def test_small_pieces_are_joined_and_large_ones_left_where_they_are() -> None:
    large = bytes(WRITE_SIZE_MAX)
    pieces = gathered(b"head", [b"a", b"b", large, b"c", large])
    assert [len(piece) for piece in pieces] == [6, len(large), 1, len(large)]
    assert pieces[1].obj is large
    assert gathered(b"head", []) == [b"head"]
