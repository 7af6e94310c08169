"""Event streams: AWS's framing of what an operation sends piece by piece.

    message   = prelude prelude-crc headers payload message-crc
    prelude   = total-length headers-length           ; each 4 bytes, big-endian; the total counts everything
    headers   = *( name-length name %x07 value-length value )
                                                      ; lengths of 1 and 2 bytes; type 7 is a UTF-8 string
    *-crc     = 4 bytes                               ; CRC-32 (IEEE) of everything before

A stream begins with an event of type ``initial-response``, without which botocore does not believe in it. Then come
events, and at most one exception, which is the last message.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any

import cbor2
import msgspec

from streams.core.errors import RequestError
from streams.wire.cbor import CborCodec
from streams.wire.json import JsonCodec
from streams.wire.model import Model, Operation, Shape

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_PRELUDE = struct.Struct(">II")
_CRC = struct.Struct(">I")
_STRING = 7
_OVERHEAD = _PRELUDE.size + 2 * _CRC.size


class EventStream:
    """Encodes the messages of one operation for callers of one content type (JSON or CBOR)."""

    def __init__(self, model: Model, operation: Operation, content_type: str, *, cbor: bool) -> None:
        shape = _stream_shape(operation)
        codec = CborCodec if cbor else JsonCodec
        self.content_type = content_type
        self._cbor = cbor
        self._codecs = {
            name: codec(model, Operation(name, Shape(name, "structure"), event))
            for name, event in shape.members.items()
        }

    def initial_response(self) -> bytes:
        return self._event("initial-response", cbor2.dumps({}) if self._cbor else b"{}")

    def event(self, name: str, event: Any) -> bytes:
        """The member `name` of the stream's shape."""
        return self._event(name, self._codecs[name].encode(event))

    def exception(self, error: RequestError) -> bytes:
        told = {"message": error.message}
        headers = {
            ":message-type": "exception",
            ":exception-type": error.code,
            ":content-type": self.content_type,
        }
        return message(headers, cbor2.dumps(told) if self._cbor else msgspec.json.encode(told))

    def _event(self, name: str, payload: bytes) -> bytes:
        headers = {":message-type": "event", ":event-type": name, ":content-type": self.content_type}
        return message(headers, payload)


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message; its headers are strings."""
    packed = b"".join(
        struct.pack(f">B{len(key)}sBH", len(key), key, _STRING, len(value)) + value
        for key, value in ((name.encode(), text.encode()) for name, text in headers.items())
    )
    prelude = _PRELUDE.pack(_OVERHEAD + len(packed) + len(payload), len(packed))
    head = prelude + _CRC.pack(zlib.crc32(prelude)) + packed
    return b"".join((head, payload, _CRC.pack(zlib.crc32(payload, zlib.crc32(head)))))


def streams_events(operation: Operation) -> bool:
    """Whether it answers with an event stream."""
    return operation.output is not None and any(member.eventstream for member in operation.output.members.values())


def _stream_shape(operation: Operation) -> Shape:
    assert operation.output is not None
    return next(member for member in operation.output.members.values() if member.eventstream)
