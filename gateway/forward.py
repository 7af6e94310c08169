"""What another process does, asked there: where several headraces share a log, one is the worker.

Delivery streams, functions, SQL applications, queues and consumer groups have one owner at a time. A process that is not the worker
sends requests about them on, as they came: the worker checks their signatures, which say for which host they were made.
"""

from __future__ import annotations

import aiohttp
from yarl import URL

from gateway.applications import PATH as APPLICATIONS
from gateway.http import Request, Response
from gateway.rest import is_rest
from streams.core.errors import InvalidArgument, ServiceUnavailable, SettingsError
from streams.sdk.connections import Place
from streams.wire.native import PREFIX

CONNECT_S = 5.0
"""Until the worker takes a connection."""

_STREAMS = "Kinesis_20131202"
_HOP = frozenset(
    {"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "expect"}
)
"""Headers of one connection, not of the request."""


class Forward:
    """To the worker at `url`. Close it."""

    def __init__(self, url: str) -> None:
        try:
            self._url = Place.of(url).url
        except InvalidArgument as error:
            raise SettingsError(f"setting worker = {url!r}: {error.message}") from error
        self._session: aiohttp.ClientSession | None = None

    def concerns(self, request: Request) -> bool:
        """Whether it is the worker's to answer."""
        if request.target.startswith(PREFIX):
            return request.path.startswith(APPLICATIONS) or "/groups" in request.path.removeprefix(PREFIX)
        if is_rest(request):
            return True
        target = request.headers.get("x-amz-target", "")
        service, _, operation = target.partition(".")
        return bool(operation) and (service != _STREAMS or "Queue" in operation)

    async def send(self, request: Request) -> Response:
        """The worker's answer. Raises `ServiceUnavailable` where it gives none."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        headers = {name: value for name, value in request.headers.items() if name not in _HOP}
        try:
            async with self._session.request(
                request.method,
                URL(self._url + request.target, encoded=True),
                headers=headers,
                data=request.body,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            ) as answer:
                body = await answer.read()
                kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP]
                return Response(answer.status, kept, body)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServiceUnavailable(f"The worker at {self._url} does not answer: {error!r}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
