"""What another process does, asked there: where processes share a log, each item of the work has one owner at a time.

Requests about delivery streams, SQL applications, queues and consumer groups go on to the owner as they came: it checks
their signatures, which say for which host they were made. Answers come back as they are made, piece by piece, so a long one
takes no memory here. While an item has no owner, since a process has died or a part of the work goes over, its requests
wait for the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from yarl import URL

from gateway.http import Request, Response
from streams.core.errors import ServiceUnavailable
from streams.core.waits import first
from streams.core.work import Work, part_of

CONNECT_S = 2.0
"""Until the owner takes a connection."""

PATIENCE_S = 20.0
"""How long a request waits for an owner: longer than a take-over, and below the 60 s after which SDKs give it up."""

PAUSE_S = 0.25
"""Before an owner that did not take a request is asked again, unless another one is known before."""

WHOLE_SIZE_MAX = 256 << 10
"""Bytes of an answer that is read before it is handed on; larger ones are handed on in pieces."""

PIECE_SIZE = 64 << 10
"""Bytes of an answer that may wait here for a reader who is slow."""

CONNECTIONS_MAX = 10_000
"""To all owners together: members of groups and workers at queues each hold one while they wait."""

FORWARDED = "x-headrace-forwarded"
"""Of a request that was sent on: it is not sent on again."""
ELSEWHERE = "x-headrace-elsewhere"
"""Of an answer: whoever was asked is not the owner, and has done nothing."""

_HOP = frozenset(
    {"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "expect", FORWARDED}
)
"""Headers of one connection, not of the request."""
_OURS = frozenset({*_HOP, "x-amzn-requestid", "x-amz-id-2", "date", "access-control-allow-origin"})
"""Headers of an answer that this process gives anew."""

NO_OWNER = "The process that does this has stopped, and no other has taken it over yet."


class Forward:
    """Close it."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._session: aiohttp.ClientSession | None = None

    async def answer(self, request: Request, item: str) -> Response | None:
        """The answer of whoever owns the item; None where that is this process. Raises `ServiceUnavailable`."""
        part, loop = part_of(item), asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        while not self._work.mine(part):
            if FORWARDED in request.headers:
                return elsewhere()
            owner = self._work.owner(part)
            answer = await self._ask(owner, part, request) if owner is not None else None
            if answer is not None:
                return answer
            if loop.time() > deadline:
                raise ServiceUnavailable(NO_OWNER)
            await first(self._work.change(), asyncio.sleep(PAUSE_S))
        return None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask(self, owner: str, part: int, request: Request) -> Response | None:
        """None where the owner has not taken the request."""
        asking = asyncio.create_task(self._send(owner, request))
        try:
            while not asking.done():
                change = asyncio.create_task(self._work.change())
                await asyncio.wait([asking, change], return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
                if not asking.done() and self._work.owner(part) != owner:
                    # Dead without a word, or about to answer nobody: what it had begun, the next one goes on with.
                    raise ServiceUnavailable("The process that was asked has lost this while it was asked.")
            return asking.result()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _send(self, owner: str, request: Request) -> Response | None:
        headers = {name: value for name, value in request.headers.items() if name not in _HOP}
        headers[FORWARDED] = "1"
        try:
            answer = await self._opened().request(
                request.method,
                URL(owner + request.target, encoded=True),
                headers=headers,
                data=request.body,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServiceUnavailable(f"The process at {owner} did not answer: {error!r}") from error
        try:
            if ELSEWHERE in answer.headers:
                answer.release()
                return None
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _OURS]
            size = answer.content_length
            if size is not None and size <= WHOLE_SIZE_MAX:
                return Response(answer.status, kept, await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServiceUnavailable(f"The process at {owner} did not answer whole: {error!r}") from error
        except BaseException:
            answer.close()
            raise
        return Response(answer.status, kept, _pieces(answer))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                auto_decompress=False,
                read_bufsize=PIECE_SIZE,
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, limit_per_host=0),
            )
        return self._session


async def _pieces(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """As they come. One that breaks off breaks off here too, so that nobody takes it for whole."""
    try:
        async for piece in answer.content.iter_any():
            yield piece
    finally:
        answer.close()


def elsewhere() -> Response:
    """Of a request that was sent on to a process that is not the owner (any more)."""
    return Response(503, [(ELSEWHERE, "1"), ("Content-Type", "text/plain")], b"elsewhere\n")
