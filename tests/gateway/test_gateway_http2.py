"""HTTP/2 with prior knowledge, the h2 library as the client."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

from h2.errors import ErrorCodes

from gateway.limits import RESETS_MAX, RUNNING_MAX, STREAMS_MAX, WINDOW_SIZE
from tests.gateway.gateway_support import SMALL, Peer, on_both_loops, serving, until


@on_both_loops
async def test_requests_and_bodies() -> None:
    async with serving() as (server, _):
        peer = await Peer.connect(server.port)
        assert await peer.answer(await peer.request("/a?b=c")) == ("200", b"GET /a?b=c 0")
        number = await peer.request("/", body=b"x" * 100_000)
        assert await peer.answer(number) == ("200", b"POST / 100000")
        assert peer.heads[number]["content-length"] == "13"
        assert "date" in peer.heads[number]
        await peer.close()


@on_both_loops
async def test_many_at_once_and_large_answers() -> None:
    async with serving() as (server, _):
        peer = await Peer.connect(server.port)
        numbers = [await peer.request(f"/big/{200_000 + i}") for i in range(100)]
        for i, number in enumerate(numbers):
            status, body = await peer.answer(number)
            assert (status, len(body)) == ("200", 200_000 + i)
        await peer.close()


@on_both_loops
async def test_a_stream_comes_whole() -> None:
    async with serving() as (server, echo):
        peer = await Peer.connect(server.port)
        number = await peer.request("/stream/50/20000")
        assert await peer.answer(number) == ("200", b"x" * 1_000_000)
        assert peer.heads[number]["x-kind"] == "stream"
        assert echo.closed.is_set()
        await peer.close()


@on_both_loops
async def test_a_stream_that_nobody_reads_stalls_no_other() -> None:
    async with serving() as (server, echo):
        peer = await Peer.connect(server.port, credits=False)
        peer.h2.increment_flow_control_window(1 << 24)  # the connection's: only the stream's own holds it up
        slow = await peer.request("/stream/1000/16384")
        while len(peer.bodies[slow]) < 65_535:
            await peer.hear()
        assert echo.produced < 10 * 16384
        for _ in range(10):
            assert await peer.answer(await peer.request("/quick")) == ("200", b"GET /quick 0")
        assert len(peer.bodies[slow]) == 65_535
        peer.h2.reset_stream(slow)
        await peer.flush()
        await asyncio.wait_for(echo.closed.wait(), 15)
        await peer.close()


@on_both_loops
async def test_a_window_that_opens_goes_on() -> None:
    async with serving() as (server, _):
        peer = await Peer.connect(server.port, credits=False)
        number = await peer.request("/big/150000")
        while len(peer.bodies[number]) < 65_535:
            await peer.hear()
        peer.h2.increment_flow_control_window(1 << 20)
        peer.h2.increment_flow_control_window(1 << 20, number)
        await peer.flush()
        assert len((await peer.answer(number))[1]) == 150_000
        await peer.close()


@on_both_loops
async def test_uploads_have_generous_windows() -> None:
    async with serving() as (server, _):
        peer = await Peer.connect(server.port)
        assert await peer.answer(await peer.request("/")) == ("200", b"GET / 0")
        number = await peer.request("/", body=b"x", ends=False)
        assert peer.h2.local_flow_control_window(number) == WINDOW_SIZE - 1
        assert peer.h2.remote_settings.max_concurrent_streams == STREAMS_MAX
        await peer.close()


@on_both_loops
async def test_a_body_too_large_is_refused_and_the_connection_goes_on() -> None:
    async with serving() as (server, echo):
        peer = await Peer.connect(server.port)
        number = await peer.request("/", body=b"x" * 100_001, ends=False)
        status, body = await peer.answer(number)
        assert status == "413"
        assert b"exceeds 100000 bytes" in body
        assert echo.calls == 0
        assert await peer.answer(await peer.request("/a")) == ("200", b"GET /a 0")
        await peer.close()


@on_both_loops
async def test_bodies_at_once_are_bounded() -> None:
    async with serving() as (server, _):
        peer = await Peer.connect(server.port)
        assert await peer.answer(await peer.request("/a")) == ("200", b"GET /a 0")
        numbers = [await peer.request("/", body=b"x" * 90_000, ends=False) for _ in range(3)]
        assert (await peer.answer(numbers[2]))[0] == "503"
        peer.h2.send_data(numbers[0], b"", end_stream=True)
        await peer.flush()
        assert await peer.answer(numbers[0]) == ("200", b"POST / 90000")
        await peer.close()


@on_both_loops
async def test_slow_bodies_are_told() -> None:
    async with serving(replace(SMALL, body_timeout_s=0.1)) as (server, _):
        peer = await Peer.connect(server.port)
        number = await peer.request("/", body=b"x", ends=False)
        status, body = await peer.answer(number)
        assert status == "408"
        assert b"within 0.1 seconds" in body
        await peer.close()


@on_both_loops
async def test_a_cancelled_request_is_cancelled() -> None:
    async with serving() as (server, echo):
        peer = await Peer.connect(server.port)
        number = await peer.request("/wait")
        await echo.began.wait()
        peer.h2.reset_stream(number)
        await peer.flush()
        await asyncio.wait_for(echo.cancelled.wait(), 15)
        assert await peer.answer(await peer.request("/a")) == ("200", b"GET /a 0")
        await peer.close()


@on_both_loops
async def test_a_peer_that_goes_away_ends_its_streams() -> None:
    async with serving() as (server, echo):
        peer = await Peer.connect(server.port)
        await peer.request("/silent")
        await peer.request("/wait")
        await echo.began.wait()
        await peer.close()
        await asyncio.wait_for(echo.closed.wait(), 15)
        await asyncio.wait_for(echo.cancelled.wait(), 15)
        await asyncio.wait_for(server._serving.empty(), 15)


@on_both_loops
async def test_requests_beyond_the_bound_wait_for_their_turn() -> None:
    async with serving() as (server, echo):
        peer = await Peer.connect(server.port)
        numbers = [await peer.request("/wait") for _ in range(RUNNING_MAX + 10)]
        await until(lambda: echo.calls == RUNNING_MAX)
        [connection] = server._serving.connections
        await until(lambda: len(connection._ready) == 10)
        # One of those that wait, and one of those that run, are given up.
        for number in (numbers[0], numbers[-1]):
            peer.h2.reset_stream(number)
        await peer.flush()
        echo.release.set()
        for number in numbers[1:-1]:
            assert await peer.answer(number) == ("200", b"waited")
        assert connection._running == connection._incoming == connection._outgoing == 0
        await peer.close()


@on_both_loops
async def test_opening_and_cancelling_without_end_is_ended() -> None:
    async with serving() as (server, echo):
        peer = await Peer.connect(server.port)
        assert await peer.answer(await peer.request("/a")) == ("200", b"GET /a 0")
        with contextlib.suppress(ConnectionError):
            for _ in range(RESETS_MAX + 200):
                number = peer.h2.get_next_available_stream_id()
                headers = [(":method", "GET"), (":path", "/wait"), (":scheme", "http"), (":authority", "h")]
                peer.h2.send_headers(number, headers)
                peer.h2.reset_stream(number)
                await peer.flush()
        await until(lambda: not server._serving.connections)
        assert echo.calls == 1
        await peer.close()


@on_both_loops
async def test_pings_are_answered_and_silent_peers_asked() -> None:
    async with serving(replace(SMALL, ping_interval_s=0.2)) as (server, echo):
        peer = await Peer.connect(server.port)
        peer.h2.ping(b"12345678")
        await peer.request("/wait")
        seen: set[str] = set()
        while seen < {"PingAckReceived", "PingReceived"}:
            seen |= {type(event).__name__ for event in await peer.hear()}
        # A peer that does not answer any more is given up.
        await asyncio.wait_for(echo.cancelled.wait(), 15)
        await peer.close()


@on_both_loops
async def test_nonsense_after_the_preface_ends_the_connection() -> None:
    async with serving() as (server, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x07\x04" * 100)
        assert b"PRI" not in await asyncio.wait_for(reader.read(), 15)
        writer.close()


@on_both_loops
async def test_an_idle_connection_is_closed() -> None:
    async with serving(replace(SMALL, idle_timeout_s=0.1)) as (server, _):
        peer = await Peer.connect(server.port)
        assert await peer.answer(await peer.request("/a")) == ("200", b"GET /a 0")
        while await peer.hear():
            pass
        assert peer.goaway is not None
        assert peer.goaway.error_code == ErrorCodes.NO_ERROR
        await peer.close()


@on_both_loops
async def test_stopping_says_goodbye_finishes_requests_and_ends_streams() -> None:
    async with serving() as (server, echo):
        peer = await Peer.connect(server.port)
        silent = await peer.request("/silent")
        await echo.began.wait()
        echo.began.clear()
        waits = await peer.request("/wait")
        await echo.began.wait()
        stopping = asyncio.ensure_future(server.stop(drain_s=5))
        await asyncio.wait_for(echo.closed.wait(), 15)
        assert not stopping.done()
        echo.release.set()
        await asyncio.wait_for(stopping, 15)
        body = b""
        while data := await peer.reader.read(1 << 16):
            body += data
        assert b"waited" in body
        assert silent != waits
        await peer.close()


@on_both_loops
async def test_a_handler_that_fails_tells_nothing() -> None:
    async with serving() as (server, _):
        peer = await Peer.connect(server.port)
        status, body = await peer.answer(await peer.request("/fail"))
        assert status == "500"
        assert b"secret" not in body
        broken = await peer.request("/broken")
        await peer.answer(broken)
        assert peer.resets[broken] == ErrorCodes.INTERNAL_ERROR
        await peer.close()
