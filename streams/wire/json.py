"""JSON 1.1: blobs are base64, timestamps are numbers of seconds since the epoch with a fraction."""

from __future__ import annotations

from typing import Any

import msgspec

from streams.core.errors import SerializationError
from streams.wire import validate
from streams.wire.model import Model, Operation
from streams.wire.types import type_of

_encode = msgspec.json.Encoder().encode


class JsonCodec:
    """Requests and replies of one operation. One decode does it all, unless the request is at fault."""

    def __init__(self, model: Model, operation: Operation) -> None:
        self._model = model
        self._operation = operation
        self._silent = operation.output is None
        self._decoder = msgspec.json.Decoder(type_of(operation.input))

    def decode(self, body: bytes) -> Any:
        """The request, or `SerializationError`, `ValidationError`."""
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError:
            return validate.request(self._model, self._operation, plain(body), blobs_are_text=True)
        except (ValueError, RecursionError) as error:
            raise SerializationError("") from error

    def encode(self, reply: Any) -> bytes:
        if not reply:
            return b"" if self._silent else b"{}"
        return _encode(reply)


def plain(body: bytes) -> Any:
    """JSON as it stands. Raises `SerializationError` for what is not JSON, or nested too deep, or holds a number that no
    double reaches. AWS gives it no text."""
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise SerializationError("") from error
