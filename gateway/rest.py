"""The door for services whose operations are methods and paths: Lambda's. It stands beside the other one, on the same port."""

from __future__ import annotations

import re
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from gateway.auth import Auth
from gateway.http import Request, Response
from gateway.metrics import RequestMetrics
from streams.core.errors import AccessDenied, InternalFailure, RequestError, UnknownOperation
from streams.core.scope import Scope
from streams.wire.rest import Encoded, rest_protocol

if TYPE_CHECKING:
    from gateway.forward import Forward

_PATH = re.compile(r"/20\d\d-\d\d-\d\d/")
"""Every path of Lambda's begins with the date of a version."""

_ACTIONS = {"Invoke": "InvokeFunction"}
"""Permissions that are not named as their operation."""

FROM_A_PAGE = "Functions cannot be created, changed or called from a web page."


class Target(Protocol):
    """A service as this door sees it: replies are members by AWS's names."""

    async def call(self, operation: str, request: Any, scope: Scope) -> dict[str, Any]: ...

    def resource(self, request: Any, scope: Scope) -> str | None: ...

    async def download(self, path: str, query: str) -> bytes | None: ...

    async def item(self, operation: str, request: Any, scope: Scope) -> str | None: ...


class RestDoor:
    """Requests for `service` (as botocore names it), answered by `target`. `secure`: callers come over TLS."""

    def __init__(self, service: str, target: Target, auth: Auth, *, secure: bool = False) -> None:
        self._service = service
        self._scheme = "https" if secure else "http"
        self._target = target
        self._auth = auth

    def serves(self, request: Request) -> bool:
        return is_rest(request)

    async def answer(self, request: Request, requests: RequestMetrics, forward: Forward | None = None) -> Response:
        """What is another process's, `forward` answers. Raises `RequestError`."""
        if "origin" in request.headers:
            # Functions run with the server's rights: any page that its user opens could have them run its code.
            raise AccessDenied(FROM_A_PAGE)
        if (
            request.method == "GET"
            and (content := await self._target.download(request.path, request.query)) is not None
        ):
            return Response(200, [("Content-Type", "application/zip")], content)
        caller = self._auth.caller(request, self._service)
        found = rest_protocol(self._service).route(request.method, request.path)
        if found is None:
            raise UnknownOperation("")
        operation, labels = found
        began = perf_counter()
        code = "ok"
        try:
            asked = operation.decode(labels, request.query, request.headers, request.body)
            if caller.principal is not None:
                action = f"{self._service}:{_ACTIONS.get(operation.name, operation.name)}"
                self._auth.permit(caller, action, self._target.resource(asked, caller.scope), request)
            if forward is not None:
                item = await self._target.item(operation.name, asked, caller.scope)
                answer = None if item is None else await forward.answer(request, item)
                if answer is not None:
                    return answer
            reply = await self._target.call(operation.name, asked, caller.scope)
        except Exception as error:
            code = error.code if isinstance(error, RequestError) else InternalFailure.code
            raise
        finally:
            requests.add(operation.name, code, perf_counter() - began)
        if operation.name == "GetFunction" and "Location" in reply["Code"]:
            # The service knows the path, the door what the caller calls this machine.
            reply["Code"]["Location"] = f"{self._scheme}://{request.headers.get('host', '')}{reply['Code']['Location']}"
        return _response(operation.encode(reply))

    def failed(self, error: RequestError) -> Response:
        return _response(rest_protocol(self._service).encode_error(error))


def is_rest(request: Request) -> bool:
    """Whether a request is for this door."""
    return _PATH.match(request.target) is not None


def _response(encoded: Encoded) -> Response:
    return Response(encoded.status, encoded.headers, encoded.body)
