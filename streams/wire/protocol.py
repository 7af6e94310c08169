"""A service's protocol: bytes of a request → a typed request, a reply → bytes."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from streams.core.errors import RequestError, SerializationError, UnknownOperation
from streams.wire.model import Model, load
from streams.wire.types import type_of

JSON = "application/x-amz-json-1.1"
CBOR = "application/x-amz-cbor-1.1"


def parse_target(target: str) -> tuple[str, str]:
    """``Kinesis_20131202.PutRecords`` → its prefix and operation; both may be names that nobody knows."""
    prefix, _, operation = target.rpartition(".")
    return prefix, operation


class Protocol:
    """`operations` are the names in the service's model."""

    def __init__(self, model: Model) -> None:
        self.service = model.service
        self.target_prefix = model.target_prefix
        self.operations = frozenset(model.operations)
        self._model = model
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {}

    def decode(self, operation: str, content_type: str, body: bytes) -> Any:
        """The request as a Struct with AWS's members in snake_case."""
        decoder = self._decoders.get(operation)
        if decoder is None:
            if operation not in self.operations:
                raise UnknownOperation("")
            decoder = msgspec.json.Decoder(type_of(self._model.operations[operation].input))
            self._decoders[operation] = decoder
        try:
            return decoder.decode(body)
        except msgspec.DecodeError as error:
            raise SerializationError(str(error)) from error

    def encode(self, operation: str, content_type: str, reply: Any) -> bytes:
        """`reply` is a dict with AWS's member names, or Structs that have them as field names."""
        if not reply and self._model.operations[operation].output is None:
            return b""
        return msgspec.json.encode(reply)

    def encode_error(self, content_type: str, error: RequestError) -> tuple[bytes, dict[str, str]]:
        key = "Message" if isinstance(error, SerializationError) else "message"
        body = msgspec.json.encode({"__type": error.code, key: error.message})
        return body, {"Content-Type": JSON, "x-amzn-ErrorType": error.code}


@cache
def protocol(service: str) -> Protocol:
    """The protocol of `service` as botocore names it (``kinesis``, ``firehose``)."""
    return Protocol(load(service))
