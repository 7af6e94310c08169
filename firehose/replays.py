"""Records that come again out of the error output, and how often they have been tried before.

Whoever replays puts each record in an envelope, and the direct put takes it off again:

    MAGIC (16 bytes) · u16 attempts, big-endian · the record as it was

In the source the attempts stand in the partition key, which a direct put has no other use for: ``KEY`` for a record that is
put the first time, ``KEY:3`` for one that was tried three times. What fails again says the sum in its `attemptsMade`.
"""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MAGIC = bytes.fromhex("f7485250594c0d0a1a9d3be2c64f8e01")
ATTEMPTS_MAX = 0xFFFF

_ATTEMPTS = struct.Struct(">H")
_HEAD_SIZE = len(MAGIC) + _ATTEMPTS.size


def enveloped(record: bytes, attempts: int) -> bytes:
    """Attempts beyond `ATTEMPTS_MAX` are counted as so many."""
    return MAGIC + _ATTEMPTS.pack(min(attempts, ATTEMPTS_MAX)) + record


def opened(data: bytes) -> tuple[bytes, int]:
    """The record, and how often it was tried before: 0 for one that has no envelope."""
    if not data.startswith(MAGIC) or len(data) < _HEAD_SIZE:
        return data, 0
    (attempts,) = _ATTEMPTS.unpack_from(data, len(MAGIC))
    return data[_HEAD_SIZE:], attempts


def key_of(key: str, attempts: int) -> str:
    """The partition key of a record in the source of a direct put."""
    return f"{key}:{attempts}" if attempts else key


def attempts_of(keys: pa.Array) -> np.ndarray | None:
    """int64: how often the record of each partition key was tried before; None where none was."""
    marked = pc.match_substring(keys, ":")
    if not pc.any(marked).as_py():
        return None
    parts = [key.rpartition(":") for key in keys.to_pylist()]
    return np.array([int(count) if mark and count.isdigit() else 0 for _, mark, count in parts], np.int64)
