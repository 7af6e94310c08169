"""The native door: streams over HTTP as our own clients and any Arrow tool want them. Its language is `streams.wire.native`'s.

A path is matched once, here; what the stream service answers goes out as Arrow or small JSON, with nothing done per
record. Every error becomes a response.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from gateway.http import Request, Response
from gateway.native_records import Reading, arrow_stream
from streams.core.errors import (
    HeadraceError,
    InternalFailure,
    InvalidArgument,
    RequestError,
    UnknownOperation,
)
from streams.core.scope import Scope, delivery_of
from streams.sdk.local import LocalClient, NativeService
from streams.service import Service
from streams.wire import arrow, native

log = logging.getLogger(__name__)

T = TypeVar("T")

FETCH_SIZE_MAX = 64 << 20
"""Bytes that a fetch may ask for: an answer is in memory whole."""
WAIT_MS_MAX = 300_000
"""How long a fetch may wait; a longer question is answered, without records, after this time."""

_REGION = re.compile(r"[a-z0-9-]{1,64}")

Method = Callable[["NativeDoor", LocalClient, Request, str, str], Awaitable[Response]]


class NativeDoor:
    """Answers every request under ``/native/v1/``. The scope is the one that the caller's signature names; a caller that
    does not sign names its region in a header."""

    def __init__(self, service: NativeService, *, private: bool = False) -> None:
        """A `private` one is for what the server itself has started: it reaches hidden streams, in any account."""
        self._service = service
        self._private = private

    async def handle(self, request: Request, scope: Scope) -> Response:
        """Never raises."""
        try:
            method, stream, consumer = _route(request, self._private)
            if self._private:
                scope = Scope(request.headers.get(native.ACCOUNT_HEADER, scope.account), scope.region)
            return await method(self, LocalClient(self._service, scope_of(request, scope)), request, stream, consumer)
        except RequestError as error:
            return failure(error)
        except HeadraceError as error:
            log.error("%s %s fails: %s", request.method, request.path, error)
            return failure(InternalFailure(error.message))
        except Exception:
            log.exception("%s %s fails", request.method, request.path)
            return failure(InternalFailure("The server failed to answer; its log says why."))

    async def list_streams(self, client: LocalClient, request: Request, stream: str, consumer: str) -> Response:
        return _json(native.Listing(await client.list_streams()))

    async def create_stream(self, client: LocalClient, request: Request, stream: str, consumer: str) -> Response:
        asked = _decode(request.body or b"{}", native.NewStreamQuestion)
        await client.create_stream(stream, asked.shards, retention_hours=asked.retention_hours, packed=asked.packed)
        return _json({})

    async def delete_stream(self, client: LocalClient, request: Request, stream: str, consumer: str) -> Response:
        await client.delete_stream(stream)
        return _json({})

    async def describe_stream(self, client: LocalClient, request: Request, stream: str, consumer: str) -> Response:
        return _json(native.Description.of(await client.describe_stream(stream)))

    async def put(self, client: LocalClient, request: Request, stream: str, consumer: str) -> Response:
        mark = native.mark_of(request.headers)
        receipt = await client.put(stream, arrow.read_records(request.body), mark)
        return _arrow(native.write_receipt(receipt))

    async def read(self, client: LocalClient, request: Request, stream: str, consumer: str) -> Response:
        reading = Reading.of(dict(parse_qsl(request.query, keep_blank_values=True)))
        body = arrow_stream(client, stream, reading, await reading.positions(client, stream))
        return Response(200, [("content-type", arrow.CONTENT_TYPE)], body)

    async def find(self, client: LocalClient, request: Request, stream: str, consumer: str) -> Response:
        asked = _decode(request.body, native.FindQuestion)
        return _json(await client.find(stream, native.parse_start(asked.start), asked.shards))

    async def fetch(self, client: LocalClient, request: Request, stream: str, consumer: str) -> Response:
        asked = _decode(request.body, native.FetchQuestion)
        size_max, wait_ms = min(asked.size_max, FETCH_SIZE_MAX), min(asked.wait_ms, WAIT_MS_MAX)
        fetch = await client.fetch(stream, asked.positions, size_max=size_max, wait_ms=wait_ms)
        return _arrow(native.write_fetch(fetch))

    async def load_checkpoint(self, client: LocalClient, request: Request, stream: str, consumer: str) -> Response:
        return _json(await client.load_checkpoint(stream, consumer))

    async def save_checkpoint(self, client: LocalClient, request: Request, stream: str, consumer: str) -> Response:
        await client.save_checkpoint(stream, consumer, _decode(request.body, native.Positions))
        return _json({})

    async def describe_groups(self, client: LocalClient, request: Request, stream: str, consumer: str) -> Response:
        return _json(await client.describe_groups(stream))

    async def sync_group(self, client: LocalClient, request: Request, stream: str, consumer: str) -> Response:
        asked = _decode(request.body, native.SyncQuestion)
        leases = await client.sync_group(
            stream,
            consumer,
            asked.member,
            asked.held,
            start=native.parse_start(asked.start),
            lease_ms=asked.lease_ms,
            wait_ms=min(asked.wait_ms, WAIT_MS_MAX),
        )
        return _json(leases)

    async def save_group(self, client: LocalClient, request: Request, stream: str, consumer: str) -> Response:
        asked = _decode(request.body, native.SaveQuestion)
        await client.save_group(stream, consumer, asked.member, asked.progress)
        return _json({})

    async def leave_group(self, client: LocalClient, request: Request, stream: str, consumer: str) -> Response:
        member = dict(parse_qsl(request.query, keep_blank_values=True)).get("member")
        if member is None:
            await client.forget_group(stream, consumer)
        else:
            await client.leave_group(stream, consumer, member)
        return _json({})


_METHODS: dict[tuple[str, str], Method] = {
    ("GET", ""): NativeDoor.list_streams,
    ("PUT", "NAME"): NativeDoor.create_stream,
    ("GET", "NAME"): NativeDoor.describe_stream,
    ("DELETE", "NAME"): NativeDoor.delete_stream,
    ("POST", "NAME/records"): NativeDoor.put,
    ("GET", "NAME/records"): NativeDoor.read,
    ("POST", "NAME/find"): NativeDoor.find,
    ("POST", "NAME/fetch"): NativeDoor.fetch,
    ("GET", "NAME/checkpoints/CONSUMER"): NativeDoor.load_checkpoint,
    ("PUT", "NAME/checkpoints/CONSUMER"): NativeDoor.save_checkpoint,
    ("GET", "NAME/groups"): NativeDoor.describe_groups,
    ("POST", "NAME/groups/CONSUMER"): NativeDoor.sync_group,
    ("PUT", "NAME/groups/CONSUMER"): NativeDoor.save_group,
    ("DELETE", "NAME/groups/CONSUMER"): NativeDoor.leave_group,
}


_OF_GROUPS = frozenset(
    {NativeDoor.describe_groups, NativeDoor.sync_group, NativeDoor.save_group, NativeDoor.leave_group}
)
"""Methods that are for whoever coordinates the consumer groups of a stream."""


class NativeItems:
    """Whose requests at the native door are, where processes share the work."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def item(self, request: Request, scope: Scope) -> str | None:
        """The item of the work whose owner answers; None where any process does. Raises `RequestError`."""
        method, stream, _ = _route(request)
        return await self._service.groups_item(scope_of(request, scope), stream) if method in _OF_GROUPS else None


_ACTIONS: dict[Method, str] = {
    NativeDoor.list_streams: "kinesis:ListStreams",
    NativeDoor.create_stream: "kinesis:CreateStream",
    NativeDoor.describe_stream: "kinesis:DescribeStream",
    NativeDoor.delete_stream: "kinesis:DeleteStream",
    NativeDoor.put: "kinesis:PutRecords",
}
"""What a method needs the permission for, where it is not `_READ`."""

_READ = "kinesis:GetRecords"


def question(request: Request, scope: Scope) -> tuple[str, str | None]:
    """The action that a request is, and the ARN of its stream. Raises `RequestError` for what is no request."""
    method, stream, _ = _route(request)
    delivery = delivery_of(stream)
    if delivery is not None:
        return "firehose:PutRecordBatch", scope.delivery_stream_arn(delivery)
    return _ACTIONS.get(method, _READ), scope.stream_arn(stream) if stream else None


def failure(error: RequestError) -> Response:
    return Response(error.status, [("content-type", native.JSON)], native.write_error(error))


def _route(request: Request, private: bool = False) -> tuple[Method, str, str]:
    """The method for a request, its stream's and its consumer's name (empty where it has none)."""
    path = request.path
    below = path.removeprefix(native.STREAMS)
    if below != path and (not below or below.startswith("/")):
        parts = [_name(part) for part in below.split("/")[1:]]
        pattern = ["NAME", *parts[1:2], "CONSUMER"][: len(parts)] if len(parts) <= 3 else ["?"]
        method = _METHODS.get((request.method, "/".join(pattern)))
        if method is not None and all(parts):
            stream, consumer, *_ = (*parts[:1], *parts[2:], "", "")
            # Records may be put into a delivery stream: with their marks, which is how a program's rows get there once.
            putting = method is NativeDoor.put and delivery_of(stream) is not None
            if "/" in stream and not private and not putting:
                raise InvalidArgument(
                    f"{stream[:200]!r} is no name of a stream that can be reached from outside: a slash marks those that"
                    " Headrace keeps for itself."
                )
            return method, stream, consumer
    raise UnknownOperation(f"The native door knows no {request.method} {path[:200]}.")


def _name(part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise InvalidArgument(f"The path holds a name that is not UTF-8: {part[:100]!r}.") from None


def scope_of(request: Request, scope: Scope) -> Scope:
    """The scope that a request asks in. Raises `InvalidArgument`."""
    region = request.headers.get(native.REGION_HEADER)
    if region is None or "authorization" in request.headers or "X-Amz-Credential" in request.query:
        return scope
    if not _REGION.fullmatch(region):
        raise InvalidArgument(f"{region[:100]!r} is not the name of a region.")
    return replace(scope, region=region)


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"The body is not what is asked here: {error}.") from error


def _json(value: Any) -> Response:
    return Response(200, [("content-type", native.JSON)], msgspec.json.encode(value))


def _arrow(pieces: list[Any]) -> Response:
    """One copy: the answer's columns into its body."""
    return Response(200, [("content-type", arrow.CONTENT_TYPE)], b"".join(pieces))
