"""A service's protocol: bytes of a request → a typed request, a reply → bytes.

What AWS checks, in its order, and who does it here: the method, the body's presence, the content type and the target
(`classify`); that the body parses at all (`check_body`, which the gateway calls before it refuses a caller); who calls
(`streams.wire.sigv4`); types, then constraints (`Protocol.decode`); and the rest is the operation's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

import cbor2
import msgspec

from streams.core.errors import AccessDenied, RequestError, SerializationError, UnknownOperation
from streams.wire import cbor, json
from streams.wire.cbor import CborCodec
from streams.wire.eventstream import EventStream, streams_events
from streams.wire.json import JsonCodec
from streams.wire.model import Model, load

JSON = "application/x-amz-json-1.1"
CBOR = "application/x-amz-cbor-1.1"


Codec = JsonCodec | CborCodec

CALLS_MAX = 1024
"""Pairs of content type and target that are remembered: a caller sends the same few all day."""


class Unauthorizable(AccessDenied):
    """No POST, or a body whose content type and target name no operation: answered as XML."""

    status = 403


class UnknownContentType(UnknownOperation):
    """A target with a content type that is neither JSON 1.1 nor CBOR 1.1: answered as XML."""

    status = 404


class Protocol:
    """`operations` are the names in the service's model."""

    def __init__(self, model: Model) -> None:
        self.service = model.service
        self.target_prefix = model.target_prefix
        self.operations = frozenset(model.operations)
        self._model = model
        self._streaming = frozenset(name for name, one in model.operations.items() if streams_events(one))
        self._events: dict[tuple[str, str], EventStream] = {}
        self._json: dict[str, JsonCodec] = {}
        self._cbor: dict[str, CborCodec] = {}

    def decode(self, operation: str, content_type: str, body: bytes) -> Any:
        """The request as a Struct whose attributes are AWS's members in snake_case, None where absent.

        Raises `UnknownOperation`, `SerializationError` for bytes that do not parse or values of a wrong type,
        `ValidationError` with every constraint that is not met.
        """
        return self.codec(operation, content_type).decode(body)

    def encode(self, operation: str, content_type: str, reply: Any) -> bytes:
        """`reply` is a dict with AWS's member names, or Structs that have them as field names; leave out what is absent.
        An operation that answers nothing has an empty body."""
        return self.codec(operation, content_type).encode(reply)

    def encode_error(self, content_type: str, error: RequestError) -> tuple[bytes, dict[str, str]]:
        """The body and the headers that belong to it; the status is the error's own."""
        return encode_error(content_type, error)

    def codec(self, operation: str, content_type: str) -> Codec:
        """What decodes and encodes this operation. Raises `UnknownOperation`."""
        if operation not in self.operations:
            raise UnknownOperation("")
        if media_type(content_type) == CBOR:
            if operation not in self._cbor:
                self._cbor[operation] = CborCodec(self._model, self._model.operations[operation])
            return self._cbor[operation]
        if operation not in self._json:
            self._json[operation] = JsonCodec(self._model, self._model.operations[operation])
        return self._json[operation]

    def events(self, operation: str, content_type: str) -> EventStream | None:
        """What encodes the answer of this operation, where that is an event stream."""
        if operation not in self._streaming:
            return None
        kind = media_type(content_type)
        known = self._events.get((operation, kind))
        if known is None:
            known = EventStream(self._model, self._model.operations[operation], kind, cbor=kind == CBOR)
            self._events[operation, kind] = known
        return known


@cache
def protocol(service: str) -> Protocol:
    """The protocol of `service` as botocore names it (``kinesis``, ``firehose``)."""
    return Protocol(load(service))


@dataclass(frozen=True, slots=True)
class Call:
    """What a request asks for, before anybody has looked into its body."""

    protocol: Protocol
    operation: str
    content_type: str
    codec: Codec
    events: EventStream | None = None


class Calls:
    """`classify` for a table of protocols by target prefix, which remembers what it has found."""

    def __init__(self, protocols: Mapping[str, Protocol]) -> None:
        self._protocols = protocols
        self._known: dict[tuple[str, str], Call] = {}

    def classify(self, method: str, headers: Mapping[str, str], body: bytes) -> Call:
        key = headers.get("content-type", ""), headers.get("x-amz-target", "")
        known = self._known.get(key)
        if known is not None and body and method == "POST":
            return known
        call = classify(method, headers, body, self._protocols)
        if len(self._known) < CALLS_MAX:
            self._known[key] = call
        return call


def parse_target(target: str) -> tuple[str, str]:
    """``Kinesis_20131202.PutRecords`` → its prefix and operation; both may be names that nobody knows."""
    prefix, _, operation = target.rpartition(".")
    return prefix, operation


def media_type(content_type: str) -> str:
    """Without parameters: ``application/x-amz-json-1.1; charset=utf-8`` → ``application/x-amz-json-1.1``."""
    return content_type.partition(";")[0].strip().lower()


def answer_type(content_type: str) -> str:
    """The content type of the answer to a request of this one: the same, and CBOR to whoever names none of ours."""
    kind = media_type(content_type)
    return kind if kind == JSON else CBOR


def classify(method: str, headers: Mapping[str, str], body: bytes, protocols: Mapping[str, Protocol]) -> Call:
    """Which operation of which of the `protocols` (by target prefix) is called. `headers` have lower-case names.

    Raises, in AWS's order: `Unauthorizable` (403, XML), `UnknownOperation` or `SerializationError` for an empty body,
    `Unauthorizable` or `UnknownContentType` (404, XML) for a content type, `SerializationError` for a body that does not
    parse and whose target nobody knows, `UnknownOperation`.
    """
    if method != "POST":
        raise Unauthorizable("Unable to determine service/operation name to be authorized")
    content_type = media_type(headers.get("content-type", ""))
    prefix, operation = parse_target(headers.get("x-amz-target", ""))
    known = protocols.get(prefix)
    if known is not None and operation not in known.operations:
        known = None
    if not body:
        raise UnknownOperation("") if known is None else SerializationError("")
    if content_type not in (JSON, CBOR):
        if not prefix or not operation:
            raise Unauthorizable("Unable to determine service/operation name to be authorized")
        raise UnknownContentType("")
    if known is None:
        check_body(content_type, body)
        raise UnknownOperation("")
    events = known.events(operation, content_type)
    return Call(known, operation, content_type, known.codec(operation, content_type), events)


def check_body(content_type: str, body: bytes) -> None:
    """Raises `SerializationError` for a body that does not parse. AWS tells that before it tells a caller that it does
    not know them; so does the gateway, without parsing on behalf of strangers otherwise."""
    value = cbor.plain(body) if media_type(content_type) == CBOR else json.plain(body)
    if not isinstance(value, dict | list):
        raise SerializationError("")


def encode_error(content_type: str, error: RequestError) -> tuple[bytes, dict[str, str]]:
    """The body of an error and the headers that belong to it. `content_type` is the request's."""
    headers = {"x-amzn-ErrorType": error.code}
    if isinstance(error, Unauthorizable | UnknownContentType):
        return _xml(error), headers
    told: dict[str, Any] = {"__type": error.code}
    if error.message:
        told["Message" if isinstance(error, SerializationError) else "message"] = error.message
    told |= error.members
    kind = answer_type(content_type)
    headers["Content-Type"] = kind
    return (cbor2.dumps(told) if kind == CBOR else msgspec.json.encode(told)), headers


def _xml(error: RequestError) -> bytes:
    if not error.message:
        return f"<{error.code}/>\n".encode()
    return f"<{error.code}>\n  <Message>{escape(error.message)}</Message>\n</{error.code}>\n".encode()
