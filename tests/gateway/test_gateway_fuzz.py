"""Whatever bytes come to the port, whole or in pieces, the server answers the next caller."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http import Response
from gateway.server import Server
from tests.gateway.gateway_support import LOOPS, SMALL, exchange, statuses

PIECES = st.one_of(
    st.binary(max_size=64),
    st.sampled_from(
        [
            b"GET / HTTP/1.1\r\n",
            b"POST / HTTP/1.1\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\0\0\0\4\0\0\0\0\0",
            b"\0\0\1\1\5\0\0\0\1\x82",
            b"\0\0\4\x08\0\0\0\0\0\xff\xff\xff\xff",
            b"Content-Length: 3\r\n",
            b"Content-Length: 99999999999999999999\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Expect: 100-continue\r\n",
            b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
            b"\r\n",
            b"3\r\nabc\r\n",
            b"0\r\n\r\n",
            b"CONNECT h:1 HTTP/1.1\r\n\r\n",
        ]
    ),
)


@pytest.fixture(scope="module", params=list(LOOPS))
def running(request: pytest.FixtureRequest) -> Iterator[tuple[asyncio.Runner, Server]]:
    async def handler(_request: object) -> Response:
        return Response(200, [], b"ok")

    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        server = Server(handler, "127.0.0.1", 0, limits=SMALL)
        runner.run(server.start())
        yield runner, server
        runner.run(server.stop(drain_s=0.1))


@given(sent=st.lists(PIECES, max_size=12))
@settings(max_examples=150)
def test_nothing_ends_the_server(running: tuple[asyncio.Runner, Server], sent: list[bytes]) -> None:
    runner, server = running

    async def attack() -> None:
        await exchange(server.port, *sent)
        assert statuses(await exchange(server.port, b"GET / HTTP/1.1\r\n\r\n")) == [200]

    runner.run(attack())
