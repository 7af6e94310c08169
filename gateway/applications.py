"""Applications at the native door: how they are, and the rows of their streams as they are made.

    GET  /native/v1/applications/NAME                       the status, and how the process is → JSON
    GET  /native/v1/applications/NAME/rows?after=&wait_ms=  → {"next": 7, "seen": [{"stream": "…", "rows": [{…}]}]}
    GET  /native/v1/applications/NAME/tables                what queries see of it, running or not → JSON
    GET  /native/v1/applications/NAME/tables?read=          → the tables that {"NAME": ["COLUMN", …] or null} names, as they
                                                              are after one commit: an Arrow stream each, in this order

The first question for rows is without ``after``; each answer says what the next one asks with.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import BinaryIO
from urllib.parse import parse_qsl, unquote

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from analytics.api.service import Analytics
from gateway.http import Request, Response
from gateway.native import failure, scope_of
from streams.core.errors import InvalidArgument, RequestError, UnknownOperation
from streams.core.scope import Scope
from streams.core.work import application_item
from streams.wire import native
from streams.wire.arrow import CONTENT_TYPE

PATH = f"{native.PREFIX}applications/"
ACTION = "kinesisanalytics:DescribeApplication"
"""What both need the permission for."""
PIECE_SIZE = 1 << 20
"""Bytes of tables that are in memory at a time, for each reader."""
WAIT_MS_MAX = 30_000
"""How long a question for rows may wait."""


_COUNTS = {
    "records": "Records read by a SQL application, since the server started (CloudWatch: Records of its input)",
    "rows": "Rows that its streams were given (CloudWatch: Records of its outputs)",
    "faulty": "Rows that went to error_stream",
    "restarts": "How often its process ended by itself",
}
_GAUGES = {"behind": "Records that it knows of and has not read (CloudWatch: MillisBehindLatest)"}
_LABELS = ("account", "region", "application")


class ApplicationsDoor(Collector):
    """Answers every request under `PATH`, and tells the metrics of the applications."""

    def __init__(self, analytics: Analytics) -> None:
        self._analytics = analytics

    async def handle(self, request: Request, scope: Scope) -> Response:
        try:
            name, what = _route(request)
            scope = scope_of(request, scope)
            if what == "":
                return _json(self._analytics.health(scope, name))
            if what == "tables" and not request.query:
                return _json(await self._analytics.tables(scope, name))
            if what == "tables":
                return await self._tables(scope, name, _wanted(request))
            after, wait_ms = _question(request)
            following, seen = await self._analytics.seen(scope, name, after, wait_ms)
            told = [{"stream": each.stream, "rows": [msgspec.Raw(row) for row in each.rows]} for each in seen]
            return _json({"next": following, "seen": told})
        except RequestError as error:
            return failure(error)

    async def item(self, request: Request, scope: Scope) -> str | None:
        """The application, whose owner answers. Raises `RequestError`."""
        return application_item(scope_of(request, scope), _route(request)[0])

    async def _tables(self, scope: Scope, name: str, wanted: dict[str, list[str] | None]) -> Response:
        folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="headrace-tables-")
        try:
            await self._analytics.read(scope, name, wanted, os.path.join(folder, "tables"))
            file = await asyncio.to_thread(open, os.path.join(folder, "tables"), "rb")
        finally:
            # What is open can be read to its end, whoever comes in between.
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        return Response(200, [("content-type", CONTENT_TYPE)], _pieces(file))

    def collect(self) -> Iterator[Metric]:
        running = self._analytics.running()
        for member, text in _COUNTS.items():
            counter = CounterMetricFamily(f"headrace_application_{member}", text, labels=_LABELS)
            for scope, name, health in running:
                counter.add_metric((scope.account, scope.region, name), getattr(health, member))
            yield counter
        for member, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"headrace_application_{member}", text, labels=_LABELS)
            for scope, name, health in running:
                gauge.add_metric((scope.account, scope.region, name), getattr(health, member))
            yield gauge
        up = GaugeMetricFamily("headrace_application_up", "1 while its process runs, else 0", labels=_LABELS)
        for scope, name, health in running:
            up.add_metric((scope.account, scope.region, name), int(health.phase == "running"))
        yield up

    @staticmethod
    def question(request: Request, scope: Scope) -> tuple[str, str]:
        """The action that a request is, and the ARN of its application. Raises `RequestError` for what is no request."""
        return ACTION, scope.application_arn(_route(request)[0])


def _route(request: Request) -> tuple[str, str]:
    """The application's name, and what of it is asked for."""
    name, _, rest = request.path.removeprefix(PATH).partition("/")
    if request.method != "GET" or rest not in ("", "rows", "tables") or not name:
        raise UnknownOperation(f"The native door knows no {request.method} {request.path[:200]}.")
    return unquote(name), rest


def _wanted(request: Request) -> dict[str, list[str] | None]:
    text = dict(parse_qsl(request.query)).get("read", "")
    try:
        return msgspec.json.decode(text, type=dict[str, list[str] | None])
    except msgspec.DecodeError as error:
        raise InvalidArgument(f'read is {{"NAME": ["COLUMN", …]}} as JSON: {error}.') from error


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, PIECE_SIZE):
            yield piece


def _question(request: Request) -> tuple[int | None, int]:
    given = dict(parse_qsl(request.query, keep_blank_values=True))
    numbers = {}
    for member in ("after", "wait_ms"):
        text = given.get(member, "0")
        if not text.isdecimal() or len(text) > 18:
            raise InvalidArgument(f"{member} is a number, not {text[:100]!r}.")
        numbers[member] = int(text)
    return numbers["after"] if "after" in given else None, min(numbers["wait_ms"], WAIT_MS_MAX)


def _json(value: object) -> Response:
    return Response(200, [("content-type", native.JSON)], msgspec.json.encode(value))
