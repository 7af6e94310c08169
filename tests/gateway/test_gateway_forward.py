"""Requests that are sent on to the owner of an item: whole, piece by piece, and while there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from gateway import forward
from gateway.forward import FORWARDED, Forward, elsewhere
from gateway.http import Request, Response
from gateway.server import Server
from streams.core.errors import ServiceUnavailable
from streams.core.work import part_of

ITEM = "delivery 000000000000 us-east-1 d"
NOWHERE = "http://127.0.0.1:1"


class Shared:
    """Who has the part of the item, as a test says."""

    def __init__(self, owner: str | None) -> None:
        self._owner = owner
        self._mine = False
        self._change = asyncio.Event()

    def give(self, owner: str | None, *, mine: bool = False) -> None:
        self._owner, self._mine = owner, mine
        change, self._change = self._change, asyncio.Event()
        change.set()

    def mine(self, part: int) -> bool:
        return self._mine

    def owner(self, part: int) -> str | None:
        assert part == part_of(ITEM)
        return self._owner

    async def change(self) -> None:
        await self._change.wait()

    def begin_again(self, part: int) -> None:
        raise AssertionError

    def trouble(self) -> str | None:
        return None


class Owner:
    """A process that answers as `handler` says, and counts."""

    def __init__(self, handler: Callable[[Request], Awaitable[Response]]) -> None:
        self.asked: list[Request] = []
        self._handler = handler
        self._server = Server(self._handle, "127.0.0.1", 0)

    async def __aenter__(self) -> str:
        await self._server.start()
        return f"http://127.0.0.1:{self._server.port}"

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    async def _handle(self, request: Request) -> Response:
        self.asked.append(request)
        return await self._handler(request)


def request(**headers: str) -> Request:
    return Request("POST", "/a%20b?c=d", {"host": "front", "x-amz-target": "T.O", **headers}, b"body")


async def whole(response: Response | None) -> bytes:
    assert response is not None
    if isinstance(response.body, bytes):
        return response.body
    return b"".join([piece async for piece in response.body])


async def echo(asked: Request) -> Response:
    return Response(201, [("x-of-owner", "1"), ("x-amzn-RequestId", "owner's")], asked.body + asked.target.encode())


async def test_a_request_reaches_the_owner_as_it_came() -> None:
    owner = Owner(echo)
    async with owner as url:
        sender = Forward(Shared(url))
        answer = await sender.answer(request(), ITEM)
        assert await whole(answer) == b"body/a%20b?c=d"
        assert answer is not None
        assert answer.status == 201
        names = {name.lower() for name, _ in answer.headers}
        assert "x-of-owner" in names
        assert "x-amzn-requestid" not in names, "whoever was asked first gives it one"
        (asked,) = owner.asked
        assert (asked.method, asked.target, asked.headers["host"]) == ("POST", "/a%20b?c=d", "front")
        assert FORWARDED in asked.headers
        await sender.close()


async def test_what_is_this_ones_is_not_sent_on() -> None:
    work = Shared(NOWHERE)
    work.give(NOWHERE, mine=True)
    sender = Forward(work)
    assert await sender.answer(request(), ITEM) is None
    await sender.close()


async def test_a_long_answer_is_handed_on_piece_by_piece() -> None:
    """100 MB, of which the sender never has more than what one connection buffers."""
    taken = sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1600):
            sent += 1 << 16
            yield bytes(1 << 16)

    async def long(_: Request) -> Response:
        return Response(200, [], pieces())

    async with Owner(long) as url:
        sender = Forward(Shared(url))
        answer = await sender.answer(request(), ITEM)
        assert answer is not None
        assert not isinstance(answer.body, bytes)
        await asyncio.sleep(0.2)
        assert sent < 32 << 20, "nobody reads yet"
        async for piece in answer.body:
            taken += len(piece)
        assert taken == 1600 << 16
        await sender.close()


async def test_an_event_is_handed_on_before_the_next_one_is_made() -> None:
    go_on = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        yield b"one"
        await go_on.wait()
        yield b"two"

    async def subscribe(_: Request) -> Response:
        return Response(200, [], events())

    async with Owner(subscribe) as url:
        sender = Forward(Shared(url))
        answer = await sender.answer(request(), ITEM)
        assert answer is not None
        assert not isinstance(answer.body, bytes)
        body = aiter(answer.body)
        assert await anext(body) == b"one"
        go_on.set()
        assert await anext(body) == b"two"
        await sender.close()


async def test_an_answer_that_breaks_off_is_not_taken_for_whole() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 100
        raise OSError("the machine is gone")

    async def answer_broken(_: Request) -> Response:
        return Response(200, [], broken())

    async with Owner(answer_broken) as url:
        sender = Forward(Shared(url))
        with pytest.raises(aiohttp.ClientError):
            await whole(await sender.answer(request(), ITEM))
        await sender.close()


async def test_a_request_waits_for_the_next_owner() -> None:
    work = Shared(NOWHERE)
    sender = Forward(work)
    asking = asyncio.create_task(sender.answer(request(), ITEM))
    owner = Owner(echo)
    async with owner as url:
        await asyncio.sleep(0.1)
        work.give(None)
        await asyncio.sleep(0.1)
        work.give(url)
        assert await whole(await asking) == b"body/a%20b?c=d"
        assert len(owner.asked) == 1
        await sender.close()


async def test_whoever_is_no_longer_the_owner_has_done_nothing_and_the_next_one_is_asked() -> None:
    async def gone(_: Request) -> Response:
        return elsewhere()

    async with Owner(gone) as old, Owner(echo) as new:
        work = Shared(old)
        sender = Forward(work)
        asking = asyncio.create_task(sender.answer(request(), ITEM))
        await asyncio.sleep(0.1)
        assert not asking.done()
        work.give(new)
        assert await whole(await asking) == b"body/a%20b?c=d"
        await sender.close()


async def test_a_request_that_was_sent_on_goes_no_further() -> None:
    sender = Forward(Shared(NOWHERE))
    answer = await sender.answer(request(**{FORWARDED: "1"}), ITEM)
    assert answer is not None
    assert (answer.status, answer.headers) == (elsewhere().status, elsewhere().headers)
    await sender.close()


async def test_an_owner_that_dies_while_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows what it has done: the caller is told to try again, and not held up for ever."""

    async def never(_: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with Owner(never) as url:
        work = Shared(url)
        sender = Forward(work)
        asking = asyncio.create_task(sender.answer(request(), ITEM))
        await asyncio.sleep(0.1)
        work.give(NOWHERE)
        with pytest.raises(ServiceUnavailable, match="has lost this while it was asked"):
            await asking
        await sender.close()


async def test_without_an_owner_for_long_the_caller_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "PATIENCE_S", 0.2)
    sender = Forward(Shared(None))
    with pytest.raises(ServiceUnavailable, match="has stopped, and no other has taken it over yet"):
        await sender.answer(request(), ITEM)
    await sender.close()
