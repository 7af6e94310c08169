"""REST-JSON: a method and a path name the operation; members stand in the path, the query, headers and a JSON body.

    PUT /2015-03-31/functions/NAME/configuration     {"Timeout": 10}

A member that is the payload is the body as it stands. Errors name their code in x-amzn-ErrorType.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from streams.core.errors import RequestError, SerializationError
from streams.wire import json, validate
from streams.wire.model import Model, Operation, RestBinding, Shape, load
from streams.wire.types import attribute, type_of

_encode = msgspec.json.Encoder().encode

_LABEL = re.compile(r"\{([A-Za-z0-9]+)\}")


@dataclass(frozen=True, slots=True)
class Encoded:
    """An answer: its status, headers and body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class RestOperation:
    """Requests and replies of one operation."""

    def __init__(self, model: Model, operation: Operation, binding: RestBinding) -> None:
        self.name = operation.name
        self._model = model
        self._operation = operation
        self._binding = binding
        self._type = type_of(operation.input)

    def decode(self, labels: Mapping[str, str], query: str, headers: Mapping[str, str], body: bytes) -> Any:
        """The request as a Struct, as `Protocol.decode` gives it. Raises `SerializationError`, `ValidationError`."""
        binding, members = self._binding, self._operation.input.members
        value: dict[str, Any] = {}
        if binding.payload is None and body:
            given = json.plain(body)
            if not isinstance(given, dict):
                raise SerializationError("")
            value = {name: one for name, one in given.items() if name not in binding.sources}
        elif binding.payload is not None:
            value[binding.payload] = ""  # there, and not to be looked at
        asked: dict[str, list[str]] = {}
        for name, one in parse_qsl(query, keep_blank_values=True):
            asked.setdefault(name, []).append(one)
        for member, (place, name) in binding.sources.items():
            if place == "querystring":
                if name in asked:
                    # A list is its member as often as it is named; of anything else the last one counts.
                    shape = members[member]
                    value[member] = asked[name] if shape.kind == "list" else _typed(shape, asked[name][-1])
                continue
            found = labels.get(name) if place == "uri" else headers.get(name.lower())
            if found is not None:
                value[member] = _typed(members[member], found)
        try:
            request = msgspec.convert(value, self._type)
        except msgspec.ValidationError:
            request = validate.request(self._model, self._operation, value, blobs_are_text=True)
        if binding.payload is not None:
            setattr(request, attribute(binding.payload), body)
        return request

    def encode(self, reply: Mapping[str, Any]) -> Encoded:
        """`reply` has AWS's member names; the status is the operation's, or the member's that stands for it."""
        binding = self._binding
        status, headers, members = binding.status, [], {}
        body = None
        for member, one in reply.items():
            place, name = binding.targets.get(member, ("", ""))
            if place == "statusCode":
                status = one
            elif place == "header":
                headers.append((name, str(one)))
            elif member == binding.answer_payload:
                body = one
            else:
                members[member] = one
        if body is None:
            body = b"" if status == 204 else _encode(members)
        if body:
            headers.append(("Content-Type", "application/json"))
        return Encoded(status, headers, body)


class RestProtocol:
    """The operations of one service by method and path."""

    def __init__(self, service: str) -> None:
        model = load(service)
        self._model = model
        self._routes: dict[str, list[tuple[re.Pattern[str], Operation, RestBinding]]] = {}
        self._operations: dict[str, RestOperation] = {}
        for operation in model.operations.values():
            binding = operation.rest
            if binding is not None and "?" not in binding.uri:  # a few old paths share theirs with another operation
                pattern = re.compile(_LABEL.sub(r"(?P<\1>[^/]+)", binding.uri) + "/?")
                self._routes.setdefault(binding.method, []).append((pattern, operation, binding))

    def route(self, method: str, path: str) -> tuple[RestOperation, dict[str, str]] | None:
        """The operation, and the labels of its path, decoded; None for a path that is none of the service's."""
        for pattern, operation, binding in self._routes.get(method, ()):
            match = pattern.fullmatch(path)
            if match is not None:
                found = self._operations.get(operation.name)
                if found is None:
                    found = self._operations[operation.name] = RestOperation(self._model, operation, binding)
                return found, {name: unquote(text) for name, text in match.groupdict().items()}
        return None

    def encode_error(self, error: RequestError) -> Encoded:
        """In the shape that the model gives to the error; `Message` where it has none."""
        name = "Message" if error.code in self._model.capital_messages else "message"
        told = {"Type": "Service" if error.status >= 500 else "User", name: error.message}
        headers = [("x-amzn-ErrorType", error.code), ("Content-Type", "application/json")]
        return Encoded(error.status, headers, _encode(told))


@cache
def rest_protocol(service: str) -> RestProtocol:
    """The protocol of `service` as botocore names it (``lambda``)."""
    return RestProtocol(service)


def _typed(shape: Shape, text: str) -> Any:
    """What a text of a path, query or header stands for."""
    if shape.kind in ("integer", "long"):
        try:
            return int(text)
        except ValueError as error:
            raise SerializationError("") from error
    if shape.kind == "boolean":
        return text == "true"
    return text
