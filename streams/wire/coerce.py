"""Types: plain decoded data → the same with every value of its member's type, or why that cannot be.

AWS turns some values rather than refuse them, and so do we: 2.5 → 2, "true" → True. Texts are those that kinesalite
recorded from AWS.
"""

from __future__ import annotations

import base64
import itertools
import math
import re
from collections.abc import Collection, Iterable
from typing import Any

from streams.core.errors import SerializationError
from streams.wire.model import Shape
from streams.wire.types import LONG_MAX, TIMESTAMP_MAX, WHOLE

VALUE_PRINT_MAX = 4096
"""Characters of a wrong value that are repeated in a message: an answer must not be as large as a hostile request."""

_BOOLEANS = {"TRUE": True, "1": True, "YES": True, "FALSE": False, "0": False, "NO": False}
_BASE64_ALIEN = re.compile(r"[^a-zA-Z0-9+/=]|=(?=[^=])")
_LIST_START = "Start of list found where not expected"
_STRUCTURE_START = "Start of structure or map found where not expected."


class Coercion:
    """Unknown and null members are left out; null in a list or a map stays None. `blobs_are_text` says that blobs came as
    base64 (JSON); otherwise they are byte strings, and numbers too large to be seconds are milliseconds (CBOR)."""

    def __init__(self, blobs_are_text: bool) -> None:
        self._blobs_are_text = blobs_are_text

    def coerce(self, shape: Shape, value: Any) -> Any:
        match shape.kind:
            case "structure":
                if not isinstance(value, dict):
                    raise _mismatch(value, "Expected null")
                return {
                    member: self.coerce(inner, value[member])
                    for member, inner in shape.members.items()
                    if value.get(member) is not None
                }
            case "list":
                assert shape.element is not None
                if not isinstance(value, list):
                    raise _mismatch(value, "Expected list or null")
                return [None if one is None else self.coerce(shape.element, one) for one in _bounded(shape, value)]
            case "map":
                assert shape.element is not None
                if not isinstance(value, dict):
                    raise _mismatch(value, "Expected map or null")
                entries = list(_bounded(shape, value.items()))
                if not all(isinstance(key, str) for key, _ in entries):
                    raise SerializationError("Map keys must be strings")
                return {key: None if one is None else self.coerce(shape.element, one) for key, one in entries}
            case "string":
                if not isinstance(value, str):
                    raise _mismatch(value, f"{_java(value)} can not be converted to an String")
                return value
            case "blob":
                return self._blob(value)
            case "boolean":
                if isinstance(value, bool):
                    return value
                if not isinstance(value, str):
                    raise _mismatch(value, f"{_java(value)} can not be converted to an Boolean")
                upper = shortened(value.upper())
                if upper not in _BOOLEANS:
                    raise SerializationError(f"'{upper}' can not be converted to an Boolean")
                return _BOOLEANS[upper]
            case "integer" | "long" | "float" | "double":
                return _number(shape, value)
            case "timestamp":
                return self._timestamp(value)

    def _blob(self, value: Any) -> bytes:
        if isinstance(value, bytes) and not self._blobs_are_text:
            return value
        if not isinstance(value, str) or not self._blobs_are_text:
            raise _mismatch(value, f"{_java(value)} can not be converted to a Blob")
        shown = shortened(value)
        if len(value) % 4:
            raise SerializationError(
                f"'{shown}' can not be converted to a Blob: "
                f"Base64 encoded length is expected a multiple of 4 bytes but found: {len(value)}"
            )
        alien = _BASE64_ALIEN.search(value)
        if alien is not None:
            raise SerializationError(
                f"'{shown}' can not be converted to a Blob: Invalid Base64 character: '{alien[0][0]}'"
            )
        try:
            return base64.b64decode(value, validate=True)
        except ValueError as error:
            raise SerializationError(
                # The spelling is AWS's.
                f"'{shown}' can not be converted to a Blob: Invalid last non-pad Base64 character dectected"
            ) from error

    def _timestamp(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _mismatch(value, f"{_java(value)} can not be converted to milliseconds since epoch")
        if not self._blobs_are_text and abs(value) > TIMESTAMP_MAX:
            value = value / 1000 if abs(value) <= TIMESTAMP_MAX * 1000 else math.nan
        if not -TIMESTAMP_MAX <= value <= TIMESTAMP_MAX:
            raise SerializationError("Number out of range can not be converted to milliseconds since epoch")
        return float(value)


def _bounded(shape: Shape, elements: Collection[Any]) -> Iterable[Any]:
    """No more than one beyond the greatest length: the request is refused for that one, and ten million more would only
    take time."""
    return elements if shape.max is None else itertools.islice(elements, int(shape.max) + 1)


def _number(shape: Shape, value: Any) -> int | float:
    java = shape.kind.capitalize()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch(value, f"{_java(value)} can not be converted to an {java}")
    if not -LONG_MAX - 1 <= value <= LONG_MAX and shape.kind in WHOLE:
        # AWS keeps the low bits of such a number; we rather let no other number than the caller's through.
        if isinstance(value, float) and math.isnan(value):
            raise SerializationError(f"NaN can not be converted to an {java}")
        return LONG_MAX + 1 if value > 0 else -LONG_MAX - 2
    if shape.kind in WHOLE:
        return int(value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SerializationError(f"Number out of range can not be converted to an {java}")
    return number


def _mismatch(value: Any, otherwise: str) -> SerializationError:
    """A list or a structure where none belongs is told by its start, anything else by `otherwise`."""
    if isinstance(value, list):
        return SerializationError(_LIST_START)
    if isinstance(value, dict):
        return SerializationError(_STRUCTURE_START)
    return SerializationError(otherwise)


def _java(value: Any) -> str:
    match value:
        case bool():
            return "class java.lang.Boolean"
        case int() | float():
            return "class com.amazon.coral.value.json.numbers.TruncatingBigNumber"
        case str():
            return "class java.lang.String"
        case _:
            return "class java.nio.HeapByteBuffer"


def shortened(text: str) -> str:
    return text if len(text) <= VALUE_PRINT_MAX else text[:VALUE_PRINT_MAX] + "…"
