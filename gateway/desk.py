"""The desk behind the door: which service a request is for, and every error as an answer.

A POST whose X-Amz-Target names an operation goes through classify → scope → decode → call → encode; a form is a
question of `identity`. The other paths stand in a table. Nothing that goes wrong inside leaves with more than a request id.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from connectors.delivered.contract import PATH as DELIVERED
from gateway import identity
from gateway.applications import PATH as APPLICATIONS
from gateway.applications import ApplicationsDoor
from gateway.auth import Auth
from gateway.delivered import DeliveredDoor
from gateway.deliveries import Deliveries
from gateway.events import EventStreams
from gateway.http import Request, Response
from gateway.metrics import CONTENT_TYPE as METRICS_TYPE
from gateway.metrics import MetricsPage, RequestMetrics
from gateway.native import NativeDoor, NativeItems, failure, question
from gateway.rest import RestDoor
from streams.core.errors import (
    InternalFailure,
    JournalMoved,
    LogClosed,
    LogFull,
    LogUnreachable,
    RequestError,
    ServiceUnavailable,
    ShardClosed,
)
from streams.core.scope import Scope
from streams.core.work import ALONE, Work
from streams.service import Service
from streams.wire import protocol as wire
from streams.wire.native import PREFIX
from streams.wire.protocol import Calls, encode_error

if TYPE_CHECKING:
    from gateway.forward import Forward

log = logging.getLogger("headrace.gateway")

EXPOSED = "x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date"
PREFLIGHT_S = 172_800
"""How long a browser may remember what it was allowed, as at AWS."""

STOPPING = "The service is stopping."
UNKNOWN_ERROR = "The request processing has failed because of an unknown error."


class Target(Protocol):
    """A service as the desk sees it."""

    async def call(self, operation: str, request: Any, scope: Scope) -> Any: ...

    def resource(self, request: Any, scope: Scope) -> str | None: ...

    async def item(self, operation: str, request: Any, scope: Scope) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the dispatch table: the service's name in botocore, and who answers."""

    service: str
    target: Target
    signing: str = ""
    """What callers sign for, and the prefix of actions, where that is another name."""

    @property
    def signed(self) -> str:
        return self.signing or self.service


class Desk:
    """`handle` is the server's handler. `rows` are by the prefix of X-Amz-Target. What is another process's, `forward` answers
    where there is one."""

    def __init__(
        self,
        rows: Mapping[str, Row],
        streams: Service,
        auth: Auth,
        applications: ApplicationsDoor | None = None,
        forward: Forward | None = None,
        work: Work = ALONE,
        deliveries: Deliveries | None = None,
        rest: RestDoor | None = None,
        delivered: DeliveredDoor | None = None,
    ) -> None:
        self._forward = forward
        self._work = work
        self._applications = applications
        self._doors = {APPLICATIONS: applications, DELIVERED: delivered}
        self._deliveries = deliveries
        self._rest = rest
        self._rows = rows
        self._calls = Calls(_Protocols(rows))
        self._auth = auth
        self._streams = streams
        self._ids = _Ids()
        self._native_items = NativeItems(streams)
        self._native: Callable[[Request, Scope], Coroutine[Any, Any, Response]] | None = None
        self._native_tasks: set[asyncio.Task[Response]] = set()
        self._event_streams = EventStreams()
        self._requests = RequestMetrics()
        self._metrics: MetricsPage | None = None
        self._stopping = False

    async def stop(self) -> None:
        """Whoever waits for records is told that the service stops, instead of holding it up; event streams come to
        their end."""
        self._stopping = True
        self._streams.end_subscriptions()
        for task in self._native_tasks:
            task.cancel()
        await self._event_streams.ended()

    async def handle(self, request: Request) -> Response:
        """Never raises."""
        request_id, headers = self._ids.next()
        try:
            if request.target.startswith(PREFIX):
                response = await self._ask_native(request)
            elif request.method == "GET" and request.path in ("/healthz", "/metrics"):
                response = self._page(request)
            elif request.method == "OPTIONS" and "origin" in request.headers:
                return _preflight(request, request_id)
            elif identity.asks(request):
                response = self._identify(request, request_id)
            elif self._rest is not None and self._rest.serves(request):
                response = await self._rest.answer(request, self._requests, self._forward)
            else:
                response = await self._call(request, request_id)
        except Exception as error:
            response = self._failed(request, request_id, error)
        response.headers[:0] = headers
        if "origin" in request.headers:
            response.headers += (("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", EXPOSED))
        return response

    async def _call(self, request: Request, request_id: str) -> Response:
        call = self._calls.classify(request.method, request.headers, request.body)
        row = self._rows[call.protocol.target_prefix]
        began = perf_counter()
        code = "ok"
        try:
            caller = self._auth.caller(request, row.signed)
            asked = call.codec.decode(request.body)
            if caller.principal is not None:
                resource = row.target.resource(asked, caller.scope)
                self._auth.permit(caller, f"{row.signed}:{call.operation}", resource, request)
            if self._forward is not None:
                item = await row.target.item(call.operation, asked, caller.scope)
                answer = None if item is None else await self._forward.answer(request, item)
                if answer is not None:
                    return answer
            reply = await row.target.call(call.operation, asked, caller.scope)
        except Exception as error:
            code = error.code if isinstance(error, RequestError) else InternalFailure.code
            raise
        finally:
            self._requests.add(call.operation, code, perf_counter() - began)
        if call.events is not None:
            return self._event_streams.open(reply, call.events, f"{call.operation}Event", request_id)
        return Response(200, [("Content-Type", call.content_type)], call.codec.encode(reply))

    def _identify(self, request: Request, request_id: str) -> Response:
        try:
            identity.check(request)
            return identity.answer(self._auth.caller(request, identity.SERVICE), request_id)
        except RequestError as error:
            return identity.refusal(error, request_id)

    async def _ask_native(self, request: Request) -> Response:
        if self._native is None:
            self._native = NativeDoor(self._streams).handle
        door = next((door for path, door in self._doors.items() if request.target.startswith(path)), None)
        try:
            caller = self._auth.caller(request)
            if caller.principal is not None:
                action, resource = (door.question if door else question)(request, caller.scope)
                self._auth.permit(caller, action, resource, request)
            if self._forward is not None:
                item = await (door or self._native_items).item(request, caller.scope)
                answer = None if item is None else await self._forward.answer(request, item)
                if answer is not None:
                    return answer
        except RequestError as error:
            return failure(error)
        scope = caller.scope
        handle = door.handle if door else self._native
        if not request.path.endswith(("/fetch", "/rows")):
            return await handle(request, scope)
        task = asyncio.get_running_loop().create_task(handle(request, scope))
        self._native_tasks.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if self._stopping and task.cancelled():
                raise ServiceUnavailable(STOPPING) from None
            raise
        finally:
            self._native_tasks.discard(task)

    def _page(self, request: Request) -> Response:
        """The pages for those who run the server: whether it lives, and what it does."""
        if request.path == "/healthz":
            trouble = self._work.trouble()
            text = f"{trouble or 'ok'}\n".encode()
            return Response(200 if trouble is None else 503, [("Content-Type", "text/plain")], text)
        self._auth.check_metrics(request)
        if self._metrics is None:
            more = [room for room in (self._applications, self._deliveries) if room is not None]
            self._metrics = MetricsPage(self._streams, self._requests, *more)
        return Response(200, [("Content-Type", METRICS_TYPE)], self._metrics.render())

    def _failed(self, request: Request, request_id: str, error: Exception) -> Response:
        match error:
            case RequestError():
                told = error
            case LogFull() | LogUnreachable() | ShardClosed() | JournalMoved():
                told = InternalFailure(error.message)
            case LogClosed():
                told = ServiceUnavailable(STOPPING)
            case _:
                target = request.headers.get("x-amz-target", "")
                log.error(
                    "Request %s failed: %s %s %s",
                    request_id,
                    request.method,
                    request.path,
                    target,
                    exc_info=error,
                    extra={"request_id": request_id},
                )
                told = InternalFailure(UNKNOWN_ERROR)
        if self._rest is not None and self._rest.serves(request):
            return self._rest.failed(told)
        body, headers = encode_error(request.headers.get("content-type", ""), told)
        return Response(told.status, list(headers.items()), body)


class _Protocols(Mapping[str, wire.Protocol]):
    """Protocols by target prefix, read when they are first asked for: Glue's model alone takes longer than the start."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self._rows = rows
        self._loaded: dict[str, wire.Protocol] = {}

    def __getitem__(self, prefix: str) -> wire.Protocol:
        loaded = self._loaded.get(prefix)
        if loaded is None:
            loaded = self._loaded[prefix] = wire.protocol(self._rows[prefix].service)
        return loaded

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class _Ids:
    """Request ids in the form of a version 4 UUID: random for the process, counted within it, since drawing randomness
    for every request costs as much as parsing it."""

    def __init__(self) -> None:
        text = os.urandom(8).hex()
        self._prefix = f"{text[:8]}-{text[8:12]}-4{text[12:15]}-8{os.urandom(2).hex()[:3]}-"
        self._id2_prefix = b64encode(os.urandom(48)).decode()
        self._count = itertools.count(int.from_bytes(os.urandom(4)))

    def next(self) -> tuple[str, list[tuple[str, str]]]:
        """An id, and the headers that tell it."""
        number = f"{next(self._count):012x}"
        request_id = self._prefix + number
        return request_id, [("x-amzn-RequestId", request_id), ("x-amz-id-2", self._id2_prefix + number)]


def _preflight(request: Request, request_id: str) -> Response:
    headers = [
        ("x-amzn-RequestId", request_id),
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Expose-Headers", EXPOSED),
        ("Access-Control-Max-Age", str(PREFLIGHT_S)),
    ]
    for kind in ("headers", "method"):
        asked = request.headers.get(f"access-control-request-{kind}")
        if asked and asked.isprintable() and asked.isascii():
            name = "Access-Control-Allow-" + ("Headers" if kind == "headers" else "Methods")
            headers.append((name, asked))
    return Response(200, headers, b"")
