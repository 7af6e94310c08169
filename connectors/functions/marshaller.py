"""What awslambdaric does with JSON, faster where it counts: batches of megabytes. Used in the process of a function.

Up to `SMALL` bytes of event everything is awslambdaric's own work, byte for byte. Beyond, msgspec decodes the event, and
encodes an answer that is made of nothing but JSON's own types; for everything else awslambdaric has the word, so the same
values are refused with the same texts.
"""

from __future__ import annotations

import math
from typing import Any

from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller

SMALL = 64 << 10

INTEGER_MAX = 1 << 63
"""msgspec encodes no integer beyond 64 bits."""

VALUES_MAX = 10_000_000
"""Values of an answer: 6 MB of JSON hold fewer, and what holds itself has no end."""


class Marshaller(LambdaMarshaller):
    """The interface that awslambdaric calls."""

    def __init__(self) -> None:
        super().__init__()
        self._large = False

    def unmarshal_request(self, request: bytes, content_type: str = "application/json") -> Any:
        self._large = len(request) > SMALL and content_type == "application/json"
        if self._large:
            import msgspec

            try:
                return msgspec.json.decode(request)
            except msgspec.DecodeError:
                pass  # the error is awslambdaric's to tell
        return super().unmarshal_request(request, content_type)

    def marshal_response(self, response: Any) -> tuple[Any, str]:
        if self._large and plain(response):
            import msgspec

            try:
                return msgspec.json.encode(response), "application/json"
            except UnicodeEncodeError:
                pass  # half of a surrogate pair, which awslambdaric escapes
        return super().marshal_response(response)


def plain(value: Any) -> bool:
    """Whether msgspec and awslambdaric agree about it: JSON's types, no subclasses, no NaN, nothing that holds itself."""
    waiting = [value]
    seen = 0
    while waiting and seen <= VALUES_MAX:
        one = waiting.pop()
        seen += 1
        kind = type(one)
        if kind is dict:
            for key, inner in one.items():
                if type(key) is not str:
                    return False
                if type(inner) is not str:
                    waiting.append(inner)
        elif kind is list or kind is tuple:
            waiting += one
        elif not (
            kind is str
            or kind is bool
            or one is None
            or (kind is int and -INTEGER_MAX <= one < INTEGER_MAX)
            or (kind is float and math.isfinite(one))
        ):
            return False
    return not waiting
