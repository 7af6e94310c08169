"""`HttpClient`: the streams of a server, through its native door. Its language is `streams.wire.native`'s."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from streams.core.clock import Clock, SystemClock
from streams.core.errors import InternalFailure, ServiceUnavailable
from streams.core.records import ProducerMark, Records
from streams.core.scope import DEFAULT_REGION, Scope
from streams.sdk.client import (
    FETCH_SIZE_MAX,
    TRIM_HORIZON,
    Fetch,
    GroupDescription,
    Lease,
    Progress,
    Receipt,
    Start,
    StreamDescription,
)
from streams.sdk.connections import Answer, Connection, Lost, Place, Pool
from streams.wire import arrow, native, sigv4

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0
"""How long a server may take to accept: one that does not by then is down or cut off."""
TIMEOUT_S = 30.0
"""How long an answer may take, beyond what a fetch waits for: a busy disk syncs within seconds."""


class HttpClient:
    """A `Client` of the server at `url` (``http://127.0.0.1:4567``; ``unix:/…/door`` for what the server itself starts).
    Connections are made when they are needed, so a
    server that restarts is found again; close the client in the end.

    scope          the region to act in; without it the server's own (the account is always the server's)
    credentials    access key id, secret key and, for temporary keys, token, where the server checks signatures
    tls            how to check an https server's certificate, where the system's way will not do

    What the server refuses is raised as the error that it raised. A server that cannot be reached, goes away or stays
    silent is a `ServiceUnavailable`, which has ``retry``. Only questions are asked again, once, when a kept connection
    turns out to be dead; what changes something never is, for it may have been done: a `Producer` repeats puts safely.
    """

    def __init__(
        self,
        url: str,
        *,
        scope: Scope | None = None,
        credentials: tuple[str, str] | tuple[str, str, str] | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._place = Place.of(url)
        self._pool = Pool(self._place, connect_timeout_s, tls)
        self._region = None if scope is None else scope.region
        self._account = (scope or Scope()).account
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()

    async def create_stream(
        self, stream: str, shards: int = 1, *, retention_hours: int = 24, packed: bool = False
    ) -> None:
        body = msgspec.json.encode({"shards": shards, "retention_hours": retention_hours, "packed": packed})
        await self._json("PUT", native.stream_path(stream), body, Any)

    async def delete_stream(self, stream: str) -> None:
        await self._json("DELETE", native.stream_path(stream), b"", Any)

    async def list_streams(self) -> list[str]:
        return (await self._json("GET", native.STREAMS, b"", native.Listing)).streams

    async def describe_stream(self, stream: str) -> StreamDescription:
        return (await self._json("GET", native.stream_path(stream), b"", native.Description)).stream()

    async def put(self, stream: str, records: Records, mark: ProducerMark | None = None) -> Receipt:
        headers = {"content-type": arrow.CONTENT_TYPE}
        if mark is not None:
            headers |= native.mark_headers(mark)
        path = native.stream_path(stream, "records")
        answer = await self._ask("POST", path, headers, arrow.write_records(records), self._timeout_s, question=False)
        return self._read(native.read_receipt, answer)

    async def find(self, stream: str, start: Start, shards: tuple[str, ...] | None = None) -> dict[str, int]:
        body = msgspec.json.encode(native.FindQuestion(native.start_text(start), shards))
        return await self._json("POST", native.stream_path(stream, "find"), body, dict[str, int], question=True)

    async def fetch(
        self, stream: str, positions: Mapping[str, int], *, size_max: int = FETCH_SIZE_MAX, wait_ms: int = 0
    ) -> Fetch:
        body = msgspec.json.encode({"positions": dict(positions), "size_max": size_max, "wait_ms": wait_ms})
        headers = {"content-type": native.JSON}
        path = native.stream_path(stream, "fetch")
        timeout_s = self._timeout_s + wait_ms / 1000
        answer = await self._ask("POST", path, headers, [body], timeout_s, question=True)
        return self._read(native.read_fetch, answer)

    async def load_checkpoint(self, stream: str, consumer: str) -> dict[str, int]:
        return await self._json("GET", native.stream_path(stream, "checkpoints", consumer), b"", dict[str, int])

    async def save_checkpoint(self, stream: str, consumer: str, positions: Mapping[str, int]) -> None:
        body = msgspec.json.encode(dict(positions))
        await self._json("PUT", native.stream_path(stream, "checkpoints", consumer), body, Any)

    async def sync_group(
        self,
        stream: str,
        group: str,
        member: str,
        held: Mapping[str, int],
        *,
        start: Start = TRIM_HORIZON,
        lease_ms: int,
        wait_ms: int = 0,
    ) -> dict[str, Lease]:
        asked = native.SyncQuestion(member, dict(held), native.start_text(start), lease_ms, wait_ms)
        path = native.stream_path(stream, "groups", group)
        timeout_s = self._timeout_s + wait_ms / 1000
        body = [msgspec.json.encode(asked)]
        answer = await self._ask("POST", path, {"content-type": native.JSON}, body, timeout_s, question=True)
        return self._read(lambda text: msgspec.json.decode(text, type=dict[str, Lease]), answer)

    async def leave_group(self, stream: str, group: str, member: str) -> None:
        await self._json("DELETE", native.stream_path(stream, "groups", group) + f"?member={quote(member)}", b"", Any)

    async def save_group(self, stream: str, group: str, member: str, progress: Mapping[str, Progress]) -> None:
        body = msgspec.json.encode(native.SaveQuestion(member, dict(progress)))
        await self._json("PUT", native.stream_path(stream, "groups", group), body, Any)

    async def forget_group(self, stream: str, group: str) -> None:
        await self._json("DELETE", native.stream_path(stream, "groups", group), b"", Any)

    async def describe_groups(self, stream: str) -> list[GroupDescription]:
        return await self._json("GET", native.stream_path(stream, "groups"), b"", list[GroupDescription])

    async def ask(self, path: str, *, wait_ms: int = 0) -> Any:
        """What a GET of the native door answers, where it is JSON: for what has no method here. `wait_ms` is how long the
        server may wait before it answers."""
        answer = await self._ask("GET", path, {}, [], self._timeout_s + wait_ms / 1000, question=True)
        return self._read(msgspec.json.decode, answer)

    async def load(self, path: str) -> bytes:
        """What a GET of the native door answers, as it comes."""
        return bytes((await self._ask("GET", path, {}, [], self._timeout_s, question=True)).body)

    async def call(self, function: str, event: bytes, timeout_s: float) -> bytes:
        """What a function of the server answers to an event, both JSON: for what the server itself starts, at its private
        door. Raises `ServiceUnavailable` where the call fails."""
        path = f"{native.CALL}?function={quote(function, safe='')}"
        answer = await self._ask("POST", path, {"content-type": native.JSON}, [event], timeout_s, question=False)
        return bytes(answer.body)

    async def close(self) -> None:
        """Closes the connections. Closing twice does nothing."""
        self._pool.close()

    async def _json(self, method: str, path: str, body: bytes, kind: type[T], *, question: bool | None = None) -> T:
        headers = {"content-type": native.JSON} if body else {}
        question = method == "GET" if question is None else question
        answer = await self._ask(method, path, headers, [body] if body else [], self._timeout_s, question=question)
        return self._read(lambda text: msgspec.json.decode(text, type=kind), answer)

    async def _ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        pieces: Sequence[Any],
        timeout_s: float,
        *,
        question: bool,
    ) -> Answer:
        """The answer, if the server did what it was asked. A `question` changes nothing and may be asked twice."""
        head = self._head(method, path, headers, pieces)
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self._pool.take()
                try:
                    answer = await self._once(connection, head, pieces)
                except Lost as lost:
                    if not (question and connection.reused and lost.untouched):
                        raise
                    answer = await self._once(await self._pool.take(fresh=True), head, pieces)
        except Lost as lost:
            raise ServiceUnavailable(f"{self._place.url} {lost}.") from lost
        except TimeoutError as error:
            raise ServiceUnavailable(f"{self._place.url} did not answer within {timeout_s:g} s.") from error
        if answer.status != 200:
            raise native.read_error(answer.status, answer.body, self._place.url)
        return answer

    async def _once(self, connection: Connection, head: bytes, pieces: Sequence[Any]) -> Answer:
        answer = await connection.ask(head, pieces)
        self._pool.give(connection)
        return answer

    def _head(self, method: str, path: str, headers: dict[str, str], pieces: Sequence[Any]) -> bytes:
        headers["host"] = self._place.authority
        if self._credentials is not None:
            access_key, secret_key, *token = self._credentials
            if token and token[0]:
                headers["x-amz-security-token"] = token[0]
            headers = sigv4.sign(
                method,
                path,
                headers,
                b"".join(pieces),
                access_key=access_key,
                secret_key=secret_key,
                region=self._region or DEFAULT_REGION,
                service="kinesis",
                now_ms=self._clock.now_ms(),
            )
        elif self._region is not None:
            headers[native.REGION_HEADER] = self._region
        if self._place.path:
            headers[native.ACCOUNT_HEADER] = self._account
        if method != "GET":
            headers["content-length"] = str(sum(map(len, pieces)))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")

    def _read(self, read: Any, answer: Answer) -> Any:
        try:
            return read(answer.body)
        except (ValueError, KeyError) as error:
            raise InternalFailure(f"{self._place.url} answered what is not an answer: {error}") from error
