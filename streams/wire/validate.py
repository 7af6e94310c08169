"""The slow path: what is wrong with a request, in AWS's words.

It runs only when the types of `streams.wire.types` have refused a request, in AWS's two steps. First every value must
have its member's type, or one that can be turned into it (`streams.wire.coerce`): the first that has not is a
SerializationException. Then every constraint is checked, and all that fail are told in one ValidationException::

    2 validation errors detected: Value '' at 'streamName' failed to satisfy constraint: Member must have length
    greater than or equal to 1; Value null at 'shardId' failed to satisfy constraint: Member must not be null

Texts are those that kinesalite recorded from AWS; the order of the errors is the model's.
"""

from __future__ import annotations

import itertools
import logging
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec

from streams.core.errors import SerializationError, ValidationError
from streams.wire.coerce import VALUE_PRINT_MAX, Coercion, shortened
from streams.wire.model import Model, Operation, Shape
from streams.wire.patterns import compiled
from streams.wire.types import type_of, value_bounds

logger = logging.getLogger(__name__)

ERRORS_MAX = 10
"""AWS tells no more than ten at once."""

PATTERN_LENGTH_MAX = 8192
"""Characters up to which a string that is already too long is matched against its pattern as well: some of AWS's
patterns take cubic time."""

SILENT = frozenset({"firehose"})
"""Services that say where a wrong value stands but do not repeat it."""

ENUM_ORDER = {
    "ShardIteratorType": ("AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON"),
    "CompressionFormat": ("ZIP", "HADOOP_SNAPPY", "Snappy", "GZIP", "UNCOMPRESSED"),
}
"""The order in which AWS lists an enum's values, where it has been seen; else the model's."""


def request(model: Model, operation: Operation, value: Any, *, blobs_are_text: bool) -> Any:
    """The request that plain decoded `value` stands for, or why it is none: `SerializationError`, `ValidationError`.

    `blobs_are_text`: see `Coercion`.
    """
    shape = operation.input
    if not isinstance(value, dict | list):
        raise SerializationError("")
    try:
        value = Coercion(blobs_are_text).coerce(shape, value)
        found = list(itertools.islice(_Constraints(model).violations(shape, value, ""), ERRORS_MAX))
    except RecursionError as error:
        # Only a structure that can hold itself nests so deep.
        raise SerializationError("") from error
    if found:
        plural = "s" if len(found) > 1 else ""
        raise ValidationError(f"{len(found)} validation error{plural} detected: {'; '.join(found)}")
    try:
        return msgspec.convert(value, type_of(shape), builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        # The two paths disagree, which is a bug; the caller still gets a refusal rather than a failure of ours.
        logger.error("%s: the types refuse what the constraints allow: %s", operation.name, error)
        raise SerializationError("") from error


class _Constraints:
    """Which constraints a coerced value fails, one text each. Paths are ``records.1.member.data``."""

    def __init__(self, model: Model) -> None:
        self._package = model.java_package
        self._silent = model.service in SILENT

    def violations(self, shape: Shape, value: Any, path: str) -> Iterator[str]:
        for constraint in _constraints(shape, value):
            yield self._told(shape, value, path, constraint)
        match shape.kind:
            case "structure":
                for member, inner in shape.members.items():
                    there = f"{path}.{member[0].lower()}{member[1:]}".lstrip(".")
                    if member in value:
                        yield from self.violations(inner, value[member], there)
                    elif member in shape.required:
                        yield self._told(inner, None, there, "Member must not be null")
            case "list":
                assert shape.element is not None
                yield from self._elements(shape, value, path, enumerate(value, 1), "Member")
            case "map":
                assert shape.key is not None
                if any(True for key in value for _ in _constraints(shape.key, key)):
                    yield self._told(shape, value, path, f"Map keys must satisfy constraint: {_summary(shape.key)}")
                yield from self._elements(shape, value, path, value.items(), "Map value")

    def _elements(self, shape: Shape, value: Any, path: str, elements: Any, noun: str) -> Iterator[str]:
        """Scalars are told in one sentence about the whole, structures each by its own path."""
        inner = shape.element
        assert inner is not None
        failed = False
        for name, one in elements:
            there = f"{path}.{shortened(str(name))}.member"
            if one is None:
                yield self._told(inner, None, there, "Member must not be null")
            elif inner.kind in ("structure", "list", "map"):
                yield from self.violations(inner, one, there)
            elif not failed and any(True for _ in _constraints(inner, one)):
                failed = True
                yield self._told(shape, value, path, f"{noun} must satisfy constraint: {_summary(inner)}")

    def _told(self, shape: Shape, value: Any, path: str, constraint: str) -> str:
        if self._silent or shape.sensitive:
            shown = ""
        elif value is None:
            shown = " null"
        else:
            shown = f" '{shortened(self._print(shape, value))}'"
        return f"Value{shown} at '{path}' failed to satisfy constraint: {constraint}"

    def _print(self, shape: Shape, value: Any) -> str:
        """As Java's toString prints it."""
        match shape.kind:
            case "blob":
                return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
            case "list":
                assert shape.element is not None
                # A few values more than will be shown, and no more.
                return f"[{', '.join(self._print(shape.element, one) for one in value[:VALUE_PRINT_MAX])}]"
            case "map":
                return "{" + ", ".join(f"{key}={one}" for key, one in value.items()) + "}"
            case "structure":
                # Java prints an address, which means nothing to anybody: any eight digits do.
                return f"{self._package}.{shape.name}@{zlib.crc32(repr(sorted(value)).encode()):08x}"
            case "boolean":
                return str(value).lower()
            case _:
                return str(value)


def _constraints(shape: Shape, value: Any) -> Iterator[str]:
    """The constraints of this shape alone that `value` fails."""
    match shape.kind:
        case "string":
            if shape.enum and value not in shape.enum:
                yield _enum(shape)
            too_long = shape.max is not None and len(value) > shape.max
            matched = shape.pattern is not None and not (too_long and len(value) > PATTERN_LENGTH_MAX)
            if matched and compiled(str(shape.pattern)).search(value) is None:
                yield _pattern(shape)
            yield from _lengths(shape, value)
        case "blob" | "list" | "map":
            yield from _lengths(shape, value)
        case "integer" | "long" | "float" | "double":
            least, most = value_bounds(shape)
            if value < least:
                yield f"Member must have value greater than or equal to {least}"
            if value > most:
                yield f"Member must have value less than or equal to {most}"


def _lengths(shape: Shape, value: Any) -> Iterator[str]:
    if shape.max is not None and len(value) > shape.max:
        yield f"Member must have length less than or equal to {shape.max}"
    if shape.min is not None and len(value) < shape.min:
        yield f"Member must have length greater than or equal to {shape.min}"


def _summary(shape: Shape) -> str:
    """All constraints of a map's keys or values or a list's scalars, as AWS lists them together."""
    told = []
    if shape.max is not None:
        told.append(f"Member must have length less than or equal to {shape.max}")
    if shape.min is not None:
        told.append(f"Member must have length greater than or equal to {shape.min}")
    if shape.pattern is not None:
        told.append(_pattern(shape))
    if shape.enum:
        told.append(_enum(shape))
    return f"[{', '.join(told)}]"


def _pattern(shape: Shape) -> str:
    return f"Member must satisfy regular expression pattern: {shape.pattern}"


def _enum(shape: Shape) -> str:
    values = ENUM_ORDER.get(shape.name, shape.enum)
    # A table that has fallen behind the model must not hide a value.
    return (
        f"Member must satisfy enum value set: [{', '.join(values if set(values) == set(shape.enum) else shape.enum)}]"
    )
