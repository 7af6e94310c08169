"""msgspec types built from shapes, so that one decode parses, checks and un-base64es a request.

A structure becomes a Struct whose attributes are its members in snake_case (PartitionKey → partition_key) and whose
wire names are AWS's. A required member must be there; any other is None when it is absent. Blobs are `bytes`,
timestamps float seconds since the epoch. Unknown members are ignored, as AWS ignores them. What the types refuse goes
to `streams.wire.validate`, which says why in AWS's words. A structure that can hold itself is taken as it stands: plain
data, checked only where `streams.wire.validate` looks at it; Kinesis and Firehose have none.

The length of a string is counted in code points (that is how Smithy defines the length trait, and how botocore counts
before it sends), not in the UTF-16 units of Java's `String.length`. Base64 whose last character has bits set that no
byte needs is taken as what it means, where AWS refuses it: finding that would cost a second look at every record.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from botocore import xform_name
from msgspec import Meta

from streams.wire import patterns
from streams.wire.model import Shape

TIMESTAMP_MAX = 253_402_300_799.0
"""The last second of the year 9999: beyond it neither Java's nor Python's dates go, and NaN is not below it."""

INTEGER_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1
WHOLE = ("integer", "long")
DOUBLE_MAX = sys.float_info.max


@cache
def type_of(shape: Shape) -> Any:
    """The type of values of this shape, ready for `msgspec.json.Decoder` or `msgspec.convert`."""
    match shape.kind:
        case "structure":
            return Any if _holds_itself(shape) else _struct(shape)
        case "list":
            assert shape.element is not None
            return _sized(list[type_of(shape.element)], shape)  # type: ignore[misc] # built at run time
        case "map":
            assert shape.element is not None
            assert shape.key is not None
            return _sized(dict[type_of(shape.key), type_of(shape.element)], shape)  # type: ignore[misc] # likewise
        case "string":
            return _string(shape)
        case "blob":
            return _sized(bytes, shape)
        case "boolean":
            return bool
        case "integer" | "long" | "float" | "double":
            least, most = value_bounds(shape)
            number: type = int if shape.kind in WHOLE else float
            return Annotated[number, Meta(ge=least, le=most)]
        case "timestamp":
            return Annotated[float, Meta(ge=-TIMESTAMP_MAX, le=TIMESTAMP_MAX)]


def value_bounds(shape: Shape) -> tuple[int | float, int | float]:
    """The least and the greatest value of a number: the model's, or else its Java type's. NaN is in no bounds."""
    most = {"integer": INTEGER_MAX, "long": LONG_MAX}.get(shape.kind, DOUBLE_MAX)
    least = -most - 1 if isinstance(most, int) else -most
    return (least if shape.min is None else shape.min, most if shape.max is None else shape.max)


def attribute(member: str) -> str:
    """The attribute of a member: StreamARN → stream_arn."""
    return str(xform_name(member))


def _holds_itself(shape: Shape) -> bool:
    seen: set[str] = set()
    waiting = list(shape.members.values())
    while waiting:
        inner = waiting.pop()
        if inner is shape:
            return True
        if inner.name not in seen:
            seen.add(inner.name)
            waiting += inner.members.values()
            waiting += [inner.element] if inner.element is not None else []
    return False


def _struct(shape: Shape) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for member, inner in shape.members.items():
        if inner.eventstream:
            continue
        kind = type_of(inner)
        fields.append((attribute(member), kind) if member in shape.required else (attribute(member), kind | None, None))
    return msgspec.defstruct(
        shape.name,
        fields,
        kw_only=True,
        module=__name__,
        rename={attribute(member): member for member in shape.members},
        # Structs hold only data and never themselves, and they die young.
        gc=False,
    )


def _string(shape: Shape) -> Any:
    if shape.enum:
        return Literal[shape.enum]
    if shape.pattern is None:
        return _sized(str, shape)
    return Annotated[
        str, Meta(min_length=_int(shape.min), max_length=_int(shape.max), pattern=patterns.python(shape.pattern))
    ]


def _sized(kind: Any, shape: Shape) -> Any:
    if not _bounded(shape):
        return kind
    return Annotated[kind, Meta(min_length=_int(shape.min), max_length=_int(shape.max))]


def _bounded(shape: Shape) -> bool:
    return shape.min is not None or shape.max is not None


def _int(bound: int | float | None) -> int | None:
    return None if bound is None else int(bound)
