"""CBOR 1.1, as AWS's Java SDK speaks it: maps may be of indefinite length, blobs are byte strings, and a timestamp is
tag 1 with whole *milliseconds* since the epoch, where RFC 8949 has seconds::

    c1 1b 000001a20a162294        tag 1, uint64: 2026-11-23T20:25:52.532Z

So tag 1 is ours to read and write, never a library's. No other tag means anything here, and all are refused: some make
a library build huge numbers, compile patterns, or refer to values from within themselves.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, NoReturn

import cbor2
import msgspec

from streams.core.errors import SerializationError
from streams.wire import columns, validate
from streams.wire.model import Model, Operation, Shape
from streams.wire.types import type_of

DEPTH_MAX = 64
"""Nested lists and maps in a request; the deepest request of any model has under twenty."""

TIMESTAMP = 1
_LIBRARY_TAGS = (0, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 100, 256, 258, 260, 261, 1004, 43000, 55799)


class CborCodec:
    """Requests and replies of one operation."""

    def __init__(self, model: Model, operation: Operation) -> None:
        self._model = model
        self._operation = operation
        self._type = type_of(operation.input)
        output = operation.output
        self._silent = output is None
        self._stamps = _stamps(output) if output is not None else None
        encoders = {name: columns.encoder(shape) for name, shape in output.members.items()} if output else {}
        self._columns = {name: encoder for name, encoder in encoders.items() if encoder is not None}

    def decode(self, body: bytes) -> Any:
        """The request, or `SerializationError`, `ValidationError`."""
        value = plain(body)
        try:
            return msgspec.convert(value, self._type, builtin_types=(bytes,))
        except msgspec.ValidationError:
            return validate.request(self._model, self._operation, value, blobs_are_text=False)

    def encode(self, reply: Any) -> bytes:
        """`reply` is not changed."""
        if not reply:
            return b"" if self._silent else cbor2.dumps({})
        if isinstance(reply, dict):
            for name, encoder in self._columns.items():
                rows = reply.get(name)
                if isinstance(rows, list) and len(rows) >= columns.COUNT_MIN:
                    encoded = encoder(rows)
                    if encoded is not None:
                        return self._encode_around(reply, name, encoded)
        return self._encode_whole(reply)

    def _encode_around(self, reply: dict[str, Any], name: str, encoded: columns.Pieces) -> bytes:
        """A reply whose member `name` is already encoded, in its place."""
        pieces = [columns.head(columns.MAP, len(reply))]
        for member, value in reply.items():
            if member == name:
                pieces.append(columns.text(name))
                pieces.extend(encoded)
            else:
                # A map of one, without that map's head of one byte.
                pieces.append(self._encode_whole({member: value})[1:])
        return b"".join(pieces)

    def _encode_whole(self, reply: Any) -> bytes:
        built = msgspec.to_builtins(reply, builtin_types=(bytes,))
        if self._stamps is not None:
            _stamp(self._stamps, built)
        return cbor2.dumps(built)


def plain(body: bytes) -> Any:
    """CBOR as it stands, timestamps as float seconds. Raises `SerializationError` for what is not one item of CBOR, or too
    deep."""
    stream = BytesIO(body)
    decoder = cbor2.CBORDecoder(
        stream,
        # Read at once: in pieces of the library's own size, half of the time goes into joining them.
        read_size=max(len(body), 1),
        max_depth=DEPTH_MAX,
        semantic_decoders=_DECODERS,
        tag_hook=_refuse,
        # Keys that are neither text nor bytes can be made to collide.
        strict_hashable_types=True,
    )
    try:
        value = decoder.decode()
    except (cbor2.CBORDecodeError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise SerializationError("") from error
    # The decoder leaves the stream where the item ends.
    if stream.tell() != len(body):
        raise SerializationError("")
    return value


def _seconds(value: Any, _immutable: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a timestamp is a number of milliseconds")
    return value / 1000


def _refuse(*_: Any) -> NoReturn:
    raise ValueError("no tag but 1 has a meaning here")


_DECODERS: Any = {TIMESTAMP: _seconds} | dict.fromkeys(_LIBRARY_TAGS, _refuse)


Stamps = dict[str, Any]
"""Where timestamps stand in a shape: member → True for a timestamp, or the `Stamps` of what it holds; "" stands for
each element of a list or a map."""


def _stamps(shape: Shape, above: frozenset[str] = frozenset()) -> Any:
    if shape.kind == "timestamp":
        return True
    if shape.name in above:
        return None
    above |= {shape.name}
    inner = {"": shape.element} if shape.element is not None else shape.members
    found = {name: _stamps(one, above) for name, one in inner.items()}
    return {name: stamps for name, stamps in found.items() if stamps} or None


def _stamp(stamps: Stamps, value: Any) -> None:
    """Replace seconds by tagged milliseconds, in place."""
    if "" in stamps:
        keys = range(len(value)) if isinstance(value, list) else list(value)
        inner = stamps[""]
        if inner is not True:
            for key in keys:
                _stamp(inner, value[key])
        else:
            for key in keys:
                value[key] = milliseconds(value[key])
        return
    for member, inner in stamps.items():
        held = value.get(member)
        if held is None:
            continue
        if inner is True:
            value[member] = milliseconds(held)
        else:
            _stamp(inner, held)


def milliseconds(seconds: float) -> cbor2.CBORTag:
    """The timestamp on the wire."""
    return cbor2.CBORTag(TIMESTAMP, round(seconds * 1000))
