"""Many records into CBOR at once: a list of flat structures that all have the same members is encoded member by member,
not record by record, and the pieces are put in order at the end::

    9a 00002710                                 array of 10,000
      a4                                        map of 4, for each
        6e SequenceNumber  78 38 …              text: key, head, bytes
        78 1b ApproximateArrivalTimestamp  c1 1b …
        64 Data  59 03e8 …                      bytes

A library spends three times as long on it, most of that on the tags of timestamps: only structures that have some are
encoded here. Whatever is not of this form is left to the library.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

from streams.wire.model import Shape

COUNT_MIN = 16
"""Records below which the library is as quick."""

HEADS_MAX = 4096
"""Lengths whose heads are remembered in one encoding; records of one stream are of few lengths, or it does not help."""

TEXT, BYTES, ARRAY, MAP = 0x60, 0x40, 0x80, 0xA0


def head(major: int, count: int) -> bytes:
    """The head of an item: its major type and its length or count, as short as it can be."""
    if count < 24:
        return bytes((major | count,))
    for width, code in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if count < 1 << 8 * width:
            return bytes((major | code,)) + count.to_bytes(width, "big")
    raise OverflowError(f"{count} items")


def text(value: str) -> bytes:
    encoded = value.encode()
    return head(TEXT, len(encoded)) + encoded


Pieces = Iterable[bytes]
"""To be joined: the answer is copied once."""


def encoder(shape: Shape) -> Callable[[Sequence[Any]], Pieces | None] | None:
    """For a list of structures with a timestamp, a function from its rows (dicts or Structs) to the pieces of its CBOR, or
    to None where the rows are not flat and all alike. None for any other shape."""
    row = shape.element
    if shape.kind != "list" or row is None or not any(one.kind == "timestamp" for one in row.members.values()):
        return None
    members = row.members

    def encode(rows: Sequence[Any]) -> Pieces | None:
        names = _names(rows)
        if not names or not all(name in members and members[name].kind in _PIECES for name in names):
            return None
        try:
            columns = _columns(rows, names)
            pieces: list[Pieces] = []
            opening = head(MAP, len(names))
            for name, column in zip(names, columns, strict=True):
                pieces += _PIECES[members[name].kind](opening + text(name), column)
                opening = b""
            return itertools.chain((head(ARRAY, len(rows)),), itertools.chain.from_iterable(zip(*pieces, strict=True)))
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            # An absent member, or a value that is not of its shape: the library says what is wrong with it.
            return None

    return encode


def _names(rows: Sequence[Any]) -> tuple[str, ...]:
    """The members that every row has; none where rows are not alike."""
    first = rows[0]
    kind = type(first)
    if not all(type(row) is kind for row in rows):
        return ()
    if kind is dict:
        return tuple(first) if all(len(row) == len(first) for row in rows) else ()
    return kind.__struct_encode_fields__ if issubclass(kind, msgspec.Struct) else ()


def _columns(rows: Sequence[Any], names: tuple[str, ...]) -> list[Any]:
    if isinstance(rows[0], dict):
        return [list(map(itemgetter(name), rows)) for name in names]
    return [list(map(attrgetter(name), rows)) for name in type(rows[0]).__struct_fields__]


def _heads(key: bytes, major: int, lengths: Iterable[int]) -> list[bytes]:
    """Key and head of each value."""
    known: dict[int, bytes] = {}
    heads = []
    for length in lengths:
        found = known.get(length)
        if found is None:
            found = key + head(major, length)
            if len(known) < HEADS_MAX:
                known[length] = found
        heads.append(found)
    return heads


def _texts(key: bytes, column: list[str]) -> list[Pieces]:
    encoded = [value.encode() for value in column]
    return [_heads(key, TEXT, map(len, encoded)), encoded]


def _blobs(key: bytes, column: list[bytes]) -> list[Pieces]:
    if not all(type(value) is bytes for value in column):
        raise TypeError("a blob is bytes")
    return [_heads(key, BYTES, map(len, column)), column]


def _timestamps(key: bytes, column: list[float]) -> list[Pieces]:
    """Tag 1 and an unsigned integer of eight bytes, as Java's writer has it."""
    return [itertools.repeat(key + b"\xc1\x1b", len(column)), [round(s * 1000).to_bytes(8, "big") for s in column]]


_PIECES: dict[str, Callable[[bytes, list[Any]], list[Pieces]]] = {
    "string": _texts,
    "blob": _blobs,
    "timestamp": _timestamps,
}
