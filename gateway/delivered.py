"""Delivered objects at the native door: for readers of a stream that begin before its log does.

    GET  /native/v1/delivered/NAME                  what the delivery stream has delivered of its source → msgpack
    GET  /native/v1/delivered/NAME/contents?place=  one object → msgpack

The answers are `connectors.delivered.contract`'s `Index` and `Contents`.
"""

from __future__ import annotations

import logging
from urllib.parse import parse_qsl, unquote

from connectors.delivered.contract import PATH, encode_contents, encode_index
from firehose import Firehose
from gateway.http import Request, Response
from gateway.native import failure, scope_of
from streams.core.errors import InternalFailure, RequestError, UnknownOperation
from streams.core.scope import Scope
from streams.core.work import delivery_item

ACTION = "firehose:DescribeDeliveryStream"
"""What both need the permission for."""
CONTENT_TYPE = "application/vnd.msgpack"

log = logging.getLogger(__name__)


class DeliveredDoor:
    """Answers every request under `PATH`."""

    def __init__(self, firehose: Firehose) -> None:
        self._firehose = firehose

    async def handle(self, request: Request, scope: Scope) -> Response:
        """Never raises."""
        try:
            name, what = _route(request)
            scope = scope_of(request, scope)
            if what == "":
                body = encode_index(await self._firehose.delivered(scope, name))
            else:
                place = dict(parse_qsl(request.query)).get("place", "")
                body = encode_contents(await self._firehose.contents(scope, name, place))
            return Response(200, [("content-type", CONTENT_TYPE)], body)
        except RequestError as error:
            return failure(error)
        except Exception:
            log.exception("%s %s fails", request.method, request.path)
            return failure(InternalFailure("The server failed to answer; its log says why."))

    async def item(self, request: Request, scope: Scope) -> str | None:
        """The delivery stream, whose owner has its manifests. Raises `RequestError`."""
        return delivery_item(scope_of(request, scope), _route(request)[0])

    @staticmethod
    def question(request: Request, scope: Scope) -> tuple[str, str]:
        """The action that a request is, and the ARN of its delivery stream. Raises `RequestError`."""
        return ACTION, scope.delivery_stream_arn(_route(request)[0])


def _route(request: Request) -> tuple[str, str]:
    name, _, rest = request.path.removeprefix(PATH).partition("/")
    if request.method != "GET" or rest not in ("", "contents") or not name:
        raise UnknownOperation(f"The native door knows no {request.method} {request.path[:200]}.")
    return unquote(name), rest
