"""KPL aggregation: many user records in one record of a stream, as the Kinesis Producer Library packs them.

    aggregate = MAGIC (F3 89 9A C2), message, MD5 of message (16 bytes)
    message   = protobuf, proto2:
        AggregatedRecord  1: partition_key_table (string*)  2: explicit_hash_key_table (string*)  3: records (Record*)
        Record            1: partition_key_index (uint64)  2: explicit_hash_key_index (uint64?)  3: data (bytes)
                          4: tags (message*, passed over)
    e.g. "hi" of key "k": F3899AC2 0A016B 1A060800 1A026869 19875FA5…E35742

A record that does not begin with MAGIC, whose MD5 is wrong, or whose message is damaged is a record as it stands: that
is how the KCL treats it. The codec is written out here: three messages of two wire types are no reason to depend on
protobuf, whose C code reads a record in 0.8 to 1.9 µs where this walk takes 1.6 to 3.1, and writes it no faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import md5
from typing import NamedTuple

from streams.core.hashing import explicit_hash_key, hash_key

MAGIC = b"\xf3\x89\x9a\xc2"
DIGEST_SIZE = 16
RECORD_OVERHEAD = 80
"""Bytes that a record adds to an aggregate beside its data and key, at most: a hash key of 39 digits with its frame,
two indices, and lengths."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_UINT64_MAX = (1 << 64) - 1

Entry = tuple[int, bytes, int | None]
"""Index of the key, data, index of the hash key."""


class UserRecord(NamedTuple):
    """A record inside of an aggregate. `hash_key` (16 bytes, big-endian) stands where it was given explicitly."""

    partition_key: str
    data: bytes
    hash_key: bytes | None = None

    def place(self) -> bytes:
        """The hash key that decides its shard."""
        return hash_key(self.partition_key) if self.hash_key is None else self.hash_key


def encode(records: Sequence[UserRecord]) -> bytes:
    """The aggregate of `records`, as data of one record."""
    keys: dict[str, int] = {}
    hash_keys: dict[bytes, int] = {}
    entries: list[bytes] = []
    for key, data, explicit in records:
        entry = b"\x08" + _varint(keys.setdefault(key, len(keys)))
        if explicit is not None:
            entry += b"\x10" + _varint(hash_keys.setdefault(explicit, len(hash_keys)))
        entry += b"\x1a" + _varint(len(data))
        entries += (b"\x1a", _varint(len(entry) + len(data)), entry, data)
    tables = [_field(b"\x0a", key.encode()) for key in keys]
    tables += [_field(b"\x12", str(int.from_bytes(explicit, "big")).encode()) for explicit in hash_keys]
    message = b"".join(tables + entries)
    return b"".join((MAGIC, message, md5(message).digest()))


def decode(data: bytes) -> list[UserRecord] | None:
    """The records of an aggregate in order, or None where `data` is none."""
    if not data.startswith(MAGIC) or len(data) < len(MAGIC) + DIGEST_SIZE:
        return None
    message = data[len(MAGIC) : -DIGEST_SIZE]
    if md5(message).digest() != data[-DIGEST_SIZE:]:
        return None
    try:
        return _records(message)
    except (ValueError, IndexError):
        return None


def _records(message: bytes) -> list[UserRecord]:
    """Raises ValueError or IndexError for what is no message of the grammar above."""
    keys: list[str] = []
    hash_keys: list[bytes] = []
    entries: list[Entry] = []
    at, end = 0, len(message)
    while at < end:
        tag, at = _read_varint(message, at)
        if tag == 0x1A:
            first, at = _span(message, at, end)
            entries.append(_short(message, first, at) or _entry(message, first, at))
        elif tag == 0x0A:
            first, at = _span(message, at, end)
            keys.append(message[first:at].decode())
        elif tag == 0x12:
            first, at = _span(message, at, end)
            hash_keys.append(explicit_hash_key(message[first:at].decode()))
        else:
            at = _skip(message, at, end, tag)
    return [UserRecord(keys[key], data, None if place is None else hash_keys[place]) for key, data, place in entries]


def _short(message: bytes, at: int, end: int) -> Entry | None:
    """The form that almost every record has, in half the time: a key of the first 128, no hash key, less than 16 KiB."""
    if end - at < 5 or message[at] != 0x08 or message[at + 2] != 0x1A or message[at + 1] >= 0x80:
        return None
    size, first = message[at + 3], at + 4
    if size >= 0x80:
        size, first = size & 0x7F | message[first] << 7, first + 1
    return (message[at + 1], message[first:end], None) if size < 1 << 14 and first + size == end else None


def _entry(message: bytes, at: int, end: int) -> Entry:
    key = hash_key = data = None
    while at < end:
        tag, at = _read_varint(message, at)
        if tag == 0x1A:
            first, at = _span(message, at, end)
            data = message[first:at]
        elif tag == 0x08:
            key, at = _read_varint(message, at)
        elif tag == 0x10:
            hash_key, at = _read_varint(message, at)
        else:
            at = _skip(message, at, end, tag)
    if key is None or data is None or at != end:
        raise ValueError("a record without key or data, or one that goes on in the next")
    return key, data, hash_key


def _varint(value: int) -> bytes:
    if value < 0x80:
        return value.to_bytes()
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _field(tag: bytes, value: bytes) -> bytes:
    return tag + _varint(len(value)) + value


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and what comes after it."""
    digit = message[at]
    if digit < 0x80:
        return digit, at + 1
    value = shift = 0
    while digit >= 0x80:
        value |= (digit & 0x7F) << shift
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
        at += 1
        digit = message[at]
    return (value | digit << shift) & _UINT64_MAX, at + 1


def _span(message: bytes, at: int, end: int) -> tuple[int, int]:
    """[first, after) of the bytes whose length stands at `at`."""
    size, first = _read_varint(message, at)
    if first + size > end:
        raise ValueError("bytes that go on after the message")
    return first, first + size


def _skip(message: bytes, at: int, end: int, tag: int) -> int:
    """Passes over a field that nobody here knows, as protobuf wants it."""
    kind = tag & 7
    if tag >> 3 == 0:
        raise ValueError("field number 0")
    if kind == _VARINT:
        _, at = _read_varint(message, at)
    elif kind == _BYTES:
        _, at = _span(message, at, end)
    elif kind in (_FIXED64, _FIXED32):
        at += 8 if kind == _FIXED64 else 4
    else:
        raise ValueError(f"wire type {kind}")
    if at > end:
        raise ValueError("a field that goes on after the message")
    return at
