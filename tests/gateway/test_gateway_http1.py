"""HTTP/1.1 as well-behaved and as hostile callers speak it, on raw sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import replace

import pytest

from gateway.limits import HEAD_SIZE_MAX, KEEPALIVE_IDLE_S, PIPELINE_MAX, PIPELINE_SIZE_MAX, WRITE_SIZE_MAX
from tests.gateway.gateway_support import SMALL, exchange, on_both_loops, serving, statuses, until

POST = b"POST / HTTP/1.1\r\nHost: h\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"

CASES: dict[str, tuple[bytes, list[int], bytes]] = {
    # name: (sent, statuses, what the answer contains)
    "a request": (GET, [200], b"GET /a 0"),
    "a body": (POST + b"Content-Length: 5\r\n\r\nhello", [200], b"POST / 5"),
    "an empty body": (POST + b"Content-Length: 0\r\n\r\n", [200], b"POST / 0"),
    "chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n", [200], b"POST / 8"),
    "chunks with a trailer": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Test: t\r\n\r\n",
        [200],
        b"POST / 5\r\n"[:8],
    ),
    "a query": (b"GET /a?b=%20c HTTP/1.1\r\nHost: h\r\n\r\n", [200], b"/a?b=%20c"),
    "a repeated header": (b"GET / HTTP/1.1\r\nX-Test: a\r\nx-TEST: b\r\n\r\n", [200], b"a, b"),
    "a header that is not ASCII": (b"GET / HTTP/1.1\r\nX-Test: \xe9\r\n\r\n", [200], b"GET / 0"),
    "HEAD": (b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n", [200], b"Content-Length: 9\r\n\r\n"),
    "one after the other": (GET + GET + GET, [200, 200, 200], b"GET /a 0"),
    "asked to close": (b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n", [200], b"Connection: close"),
    "HTTP/1.0": (b"GET /a HTTP/1.0\r\n\r\n", [200], b"Connection: close"),
    "HTTP/1.0 kept": (b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", [200], b"Connection: keep-alive"),
    "an offer of h2c": (
        b"GET /a HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n\r\n" + GET,
        [200, 200],
        b"GET /a 0",
    ),
    "an offer of h2c with a body": (
        POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello" + GET,
        [200, 200],
        b"POST / 5",
    ),
    "an offer of h2c with chunks": (
        POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + GET,
        [200, 200],
        b"POST / 3",
    ),
    "an offer of h2c with a body that is a request": (
        POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nX-Test: t\r\nContent-Length: %d\r\n\r\n" % len(GET) + GET + GET,
        [200, 200],
        b"POST / %d t" % len(GET),
    ),
    "an offer of h2c with a body, the last": (
        POST + b"Connection: Upgrade, close\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
        [200],
        b"Connection: close",
    ),
    "an offer of h2c with a body too large": (
        POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 100001\r\n\r\n" + b"x" * 100_001,
        [413],
        b"exceeds 100000 bytes",
    ),
    "hundreds of offers": (
        GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\n") * 300,
        [200] * 300,
        b"",
    ),
    "a tunnel": (b"CONNECT h:1 HTTP/1.1\r\n\r\n" + GET, [400], b"CONNECT"),
    "HTTP/0.9": (b"GET /a\r\n\r\n", [400], b"not HTTP/1.1"),
    "HTTP/2 without its preface": (b"GET /a HTTP/2.0\r\n\r\n", [400], b"HTTP/2.0"),
    "100-continue": (POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", [100], b""),
    "100-continue for too much": (POST + b"Expect: 100-continue\r\nContent-Length: 100001\r\n\r\n", [413], b""),
    "a handler that fails": (b"GET /fail HTTP/1.1\r\n\r\n" + GET, [500, 200], b"InternalFailure"),
    "no HTTP": (b"hello\r\n\r\n", [400], b"not HTTP/1.1"),
    "TLS on a plain port": (bytes.fromhex("16030100ba010000b60303"), [400], b"not HTTP/1.1"),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", [400], b""),
    "two different lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", [400], b""),
    "a length and chunks": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400], b""),
    "a negative length": (POST + b"Content-Length: -5\r\n\r\nhello", [400], b""),
    "a length that is no number": (POST + b"Content-Length: 5x\r\n\r\nhello", [400], b""),
    "a length beyond numbers": (POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\nhello", [400], b""),
    "a chunk size that is no number": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", [400], b""),
    "an unknown coding": (POST + b"Transfer-Encoding: gzip\r\n\r\n", [400], b""),
    "a coding beside chunks": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", [400], b"chunked"),
    "chunks in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400], b"HTTP/1.1"),
    "a bad header": (b"GET / HTTP/1.1\r\nbad header: x\r\n\r\n", [400], b""),
    "a zero byte": (b"GET / HTTP/1.1\r\nx: a\0b\r\n\r\n", [400], b""),
    "good, then bad": (GET + b"nonsense\r\n\r\n" + GET, [200, 400], b""),
    "a long line": (b"GET /" + b"a" * (2 * HEAD_SIZE_MAX) + b" HTTP/1.1\r\n\r\n", [431], b"32768 bytes"),
    "a long header": (b"GET / HTTP/1.1\r\nx: " + b"a" * (2 * HEAD_SIZE_MAX) + b"\r\n\r\n", [431], b"32768 bytes"),
    "a header without end": (b"GET / HTTP/1.1\r\nx: " + b"a" * 300_000, [431], b"32768 bytes"),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n", [431], b"more than 100 headers"),
    "a trailer without end": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: " + b"a" * 300_000,
        [431],
        b"32768 bytes",
    ),
    "a length too large": (POST + b"Content-Length: 100001\r\n\r\n", [413], b"exceeds 100000 bytes"),
    "chunks too large": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n" + b"x" * 0xFFFF + b"\r\nffff\r\n" + b"x" * 0xFFFF,
        [413],
        b"exceeds 100000 bytes",
    ),
    "the largest body": (POST + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000, [200], b"POST / 100000"),
    "half a request": (POST + b"Content-Length: 5\r\n\r\nhel", [], b""),
    "half a head": (b"GET / HT", [], b""),
    "half a preface": (b"PR", [], b""),
    "nothing": (b"", [], b""),
}


@pytest.mark.parametrize("split", ["whole", "bytes"])
@pytest.mark.parametrize("name", CASES)
@on_both_loops
async def test_what_is_answered(name: str, split: str) -> None:
    sent, expected, contained = CASES[name]
    if split == "bytes" and len(sent) > 1000:
        pytest.skip("long inputs are sent whole")
    async with serving() as (server, _):
        if split == "bytes":
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in sent:
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
        else:
            answer = await exchange(server.port, sent)
        assert statuses(answer) == expected
        assert contained in answer
        assert b"secret" not in answer
        # Whatever one caller does, the next is served.
        assert statuses(await exchange(server.port, GET)) == [200]


STREAMS: dict[str, tuple[bytes, bytes]] = {
    "two pieces": (b"GET /stream/2/3 HTTP/1.1\r\n", b"\r\n\r\n3\r\nxxx\r\n3\r\nxxx\r\n0\r\n\r\n"),
    "no piece": (b"GET /stream/0/3 HTTP/1.1\r\n", b"\r\n\r\n0\r\n\r\n"),
    "empty pieces": (b"GET /stream/3/0 HTTP/1.1\r\n", b"\r\n\r\n0\r\n\r\n"),
    "HTTP/1.0": (b"GET /stream/2/3 HTTP/1.0\r\n", b"\r\n\r\nxxxxxx"),
    "HEAD": (b"HEAD /stream/2/3 HTTP/1.1\r\n", b"\r\n\r\n"),
}


@pytest.mark.parametrize("name", STREAMS)
@on_both_loops
async def test_how_streams_are_framed(name: str) -> None:
    sent, end = STREAMS[name]
    async with serving() as (server, echo):
        answer = await exchange(server.port, sent + b"Connection: close\r\n\r\n", ends=False)
        assert answer.endswith(end)
        assert answer.count(b"\r\n\r\n") == end.count(b"\r\n\r\n")
        assert echo.closed.is_set() or name == "HEAD"


@on_both_loops
async def test_a_stream_is_not_for_who_has_closed() -> None:
    async with serving() as (server, _):
        assert b"0\r\n\r\n" not in await exchange(server.port, b"GET /silent HTTP/1.1\r\n\r\n")


@on_both_loops
async def test_a_refused_caller_who_sends_a_large_body_reads_why() -> None:
    async with serving() as (server, echo):
        sent = POST + b"Content-Length: 20000000\r\n\r\n" + b"x" * 20_000_000
        answer = await exchange(server.port, sent)
        assert statuses(answer) == [413]
        assert b"Connection: close" in answer
        assert echo.calls == 0


@on_both_loops
async def test_a_body_comes_after_100_continue() -> None:
    async with serving() as (server, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ab")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        writer.close()


@on_both_loops
async def test_a_pipeline_is_answered_in_order_and_read_no_further_than_its_bound() -> None:
    async with serving() as (server, echo):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /wait HTTP/1.1\r\n\r\n")
        await echo.began.wait()
        count = 20_000
        writer.write(b"".join(b"GET /%d HTTP/1.1\r\nX-Fill: %b\r\n\r\n" % (i, b"f" * 200) for i in range(count)))
        writer.write(b"GET /last HTTP/1.1\r\nConnection: close\r\n\r\n")
        [connection] = server._serving.connections
        await until(lambda: not connection._reading)
        assert PIPELINE_MAX <= len(connection._parser.requests) < 500
        echo.release.set()
        answer = await asyncio.wait_for(reader.read(), 60)
        assert [line for line in answer.split() if line.startswith(b"/")] == [
            *(b"/%d" % i for i in range(count)),
            b"/last",
        ]
        writer.close()


@on_both_loops
async def test_bodies_that_wait_are_bounded_in_bytes() -> None:
    async with serving() as (server, echo):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        one = POST + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000
        writer.write(b"GET /wait HTTP/1.1\r\n\r\n" + one * 50 + b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        await echo.began.wait()
        [connection] = server._serving.connections
        await until(lambda: not connection._reading)
        assert connection._parser.requests_size < PIPELINE_SIZE_MAX + 200_000
        echo.release.set()
        assert statuses(await asyncio.wait_for(reader.read(), 30)) == [200] * 52
        writer.close()


@on_both_loops
async def test_a_slow_reader_of_a_large_stream_costs_no_memory() -> None:
    async with serving() as (server, echo):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        total = 200 << 20
        writer.write(b"GET /stream/%d/16384 HTTP/1.1\r\n\r\n" % (total // 16384))
        await reader.readuntil(b"\r\n\r\n")
        [connection] = server._serving.connections
        before = -1
        while connection._output.drained is None or echo.produced != before:
            before = echo.produced
            await asyncio.sleep(0.01)
        # What is under way: the write buffer and the sockets' own, not the stream.
        assert connection._output.transport.get_write_buffer_size() <= WRITE_SIZE_MAX + 2 * 16384
        assert echo.produced < 20 << 20
        writer.transport.abort()
        await asyncio.wait_for(echo.closed.wait(), 15)


@on_both_loops
async def test_answers_that_are_not_taken_hold_up_the_pipeline() -> None:
    async with serving() as (server, echo):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(b"GET /big/8000000 HTTP/1.1\r\n\r\n" * 20)
        await reader.readuntil(b"\r\n\r\n")
        [connection] = server._serving.connections
        await until(lambda: connection._output.drained is not None)
        # The sockets hold some megabytes between them; what does not fit is not made.
        assert echo.calls <= 3
        writer.transport.abort()


@on_both_loops
async def test_a_reader_that_goes_away_closes_its_stream() -> None:
    async with serving() as (server, echo):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /silent HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"first")
        writer.close()
        await asyncio.wait_for(echo.closed.wait(), 15)


@on_both_loops
async def test_a_reader_that_goes_away_behind_a_full_pipeline_closes_its_stream() -> None:
    async with serving(replace(SMALL, ping_interval_s=0.1)) as (server, echo):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /silent HTTP/1.1\r\n\r\n" + GET * (2 * PIPELINE_MAX))
        await reader.readuntil(b"first")
        [connection] = server._serving.connections
        await until(lambda: not connection._reading)
        writer.close()
        await asyncio.wait_for(echo.closed.wait(), 15)


@on_both_loops
async def test_silent_peers_are_asked_by_tcp() -> None:
    async with serving() as (server, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET)
        await reader.readuntil(b"GET /a 0")
        [connection] = server._serving.connections
        accepted = connection._output.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEPALIVE_IDLE_S
        writer.close()


@on_both_loops
async def test_a_broken_stream_has_no_end() -> None:
    async with serving() as (server, _):
        answer = await exchange(server.port, b"GET /broken HTTP/1.1\r\n\r\n", ends=False)
        assert b"0\r\n\r\n" not in answer
        assert b"secret" not in answer


@on_both_loops
async def test_a_caller_that_hangs_up_cancels_its_request() -> None:
    async with serving() as (server, echo):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /wait HTTP/1.1\r\n\r\n")
        await echo.began.wait()
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        await asyncio.wait_for(echo.cancelled.wait(), 15)


@on_both_loops
async def test_a_half_closed_caller_is_answered() -> None:
    async with serving() as (server, echo):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /wait HTTP/1.1\r\n\r\n")
        writer.write_eof()
        await echo.began.wait()
        echo.release.set()
        assert (await reader.read()).endswith(b"waited")
        writer.close()


SLOW = {
    "nothing": (b"", [], {"head_timeout_s": 0.1}),
    "a head": (b"GET / HTTP/1.1\r\nHost:", [408], {"head_timeout_s": 0.1}),
    "a body": (POST + b"Content-Length: 5\r\n\r\nhel", [408], {"body_timeout_s": 0.1}),
    "the next request": (GET, [200], {"idle_timeout_s": 0.1}),
    "a body after an answer": (GET + POST + b"Content-Length: 5\r\n\r\nhel", [200, 408], {"body_timeout_s": 0.1}),
}


@pytest.mark.parametrize("name", SLOW)
@on_both_loops
async def test_who_is_slow_is_told_and_closed(name: str) -> None:
    sent, expected, limits = SLOW[name]
    async with serving(replace(SMALL, **limits)) as (server, _):
        assert statuses(await exchange(server.port, sent, ends=False)) == expected


@on_both_loops
async def test_a_refused_caller_that_never_closes_is_closed() -> None:
    async with serving(replace(SMALL, linger_s=0.1)) as (server, _):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"nonsense\r\n\r\n")
        await until(lambda: server._serving.connections)
        await asyncio.wait_for(server._serving.empty(), 5)
        writer.close()


@on_both_loops
async def test_a_reader_that_takes_nothing_is_given_up() -> None:
    async with serving(replace(SMALL, write_timeout_s=0.2)) as (server, echo):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(b"GET /stream/100000/16384 HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.wait_for(echo.closed.wait(), 15)
        writer.transport.abort()


@on_both_loops
async def test_stopping_finishes_what_is_in_flight() -> None:
    async with serving() as (server, echo):
        port = server.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /wait HTTP/1.1\r\n\r\n")
        await echo.began.wait()
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        idle_writer.write(GET)
        await idle_reader.readuntil(b"GET /a 0")
        stopping = asyncio.ensure_future(server.stop(drain_s=5))
        assert await idle_reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert not stopping.done()
        echo.release.set()
        answer = await reader.read()
        assert answer.endswith(b"waited")
        assert b"Connection: close" in answer
        await asyncio.wait_for(stopping, 15)
        writer.close()
        idle_writer.close()


@on_both_loops
async def test_stopping_ends_streams_and_does_not_wait_for_ever() -> None:
    async with serving() as (server, echo):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /silent HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"first")
        _, stuck_writer = await asyncio.open_connection("127.0.0.1", server.port)
        echo.began.clear()
        stuck_writer.write(b"GET /wait HTTP/1.1\r\n\r\n")
        await echo.began.wait()
        await asyncio.wait_for(server.stop(drain_s=0.1), 5)
        assert echo.closed.is_set()
        assert echo.cancelled.is_set()
        for one in (writer, stuck_writer):
            one.transport.abort()


@on_both_loops
async def test_a_port_in_use_is_an_os_error() -> None:
    async with serving() as (server, echo):
        from gateway.server import Server

        with pytest.raises(OSError, match="in use"):
            await Server(echo, "127.0.0.1", server.port).start()
