"""One HTTP/1.1 connection that costs the load generator next to nothing: prebuilt bytes out, a parsed answer back."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import cast

import httptools

from streams.wire.sigv4 import sign

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"

SECRET = "BENCHMARK_SECRET"
"""The variable of the environment that holds the secret key of `ACCESS_KEY`, where requests are to be signed."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


class _Wire(asyncio.Protocol):
    """One request at a time; the answer is collected in pieces and joined once."""

    def __init__(self) -> None:
        self.closed = False
        self._answer: asyncio.Future[Answer] | None = None
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not subclasses of it

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        self._begin()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.closed = True
            self._transport.close()
        self._settle(Answer(self._parser.get_status_code(), b"".join(self._pieces)))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(f"the server closed the connection: {exc}"))

    def _settle(self, answer: Answer) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)


class Connection:
    """Connects when needed: some of the servers under test close after every answer, and that is theirs to pay."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._wire: _Wire | None = None

    async def ask(self, request: bytes) -> Answer:
        """Raises ConnectionError when the server goes away before it has answered."""
        if self._wire is None or self._wire.closed:
            _, self._wire = await asyncio.get_running_loop().create_connection(_Wire, self._host, self._port)
        return await self._wire.ask(request)


def request(host: str, port: int, operation: str, body: bytes, service: str = "Kinesis_20131202") -> bytes:
    """The bytes of an AWS JSON 1.1 request. It looks signed, as servers without credentials ask of it and nobody checks;
    where `SECRET` is set it is."""
    headers = {
        "host": f"{host}:{port}",
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": f"{service}.{operation}",
        "x-amz-date": "20260101T000000Z",
        "authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/kinesis/aws4_request, "
        f"SignedHeaders=host;x-amz-date;x-amz-target, Signature={'0' * 64}",
    }
    secret = os.environ.get(SECRET)
    if secret:
        headers = sign(
            "POST",
            "/",
            headers,
            body,
            access_key=ACCESS_KEY,
            secret_key=secret,
            region="us-east-1",
            service="kinesis",
            now_ms=time.time_ns() // 1_000_000,
        )
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST / HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body
