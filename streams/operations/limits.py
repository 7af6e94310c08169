"""What a record and a batch of records may be. Sizes are bytes of data and partition key together."""

from __future__ import annotations

from collections.abc import Sequence

from streams.control.stream import Stream
from streams.core.errors import InvalidArgument, ValidationError
from streams.core.hashing import explicit_hash_key

BATCH_SIZE_MAX = 10 << 20
"""Bytes of keys and data in one PutRecords, and in one answer of GetRecords: AWS's."""
KEY_SIZE_MAX = 4 * 256
"""A partition key has at most 256 characters, of at most four bytes: what is this far from a limit need not be looked at."""


def hash_key_of(text: str) -> bytes:
    try:
        return explicit_hash_key(text)
    except ValueError:
        raise InvalidArgument(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was " + text
        ) from None


def check_batch(stream: Stream, keys: Sequence[str | None], data: Sequence[bytes]) -> None:
    if None in keys:
        raise missing_keys([f"records.{place}.member.partitionKey" for place, key in enumerate(keys, 1) if key is None])
    size = sum(map(len, data))
    if size + KEY_SIZE_MAX > stream.record_size_max_kib << 10:
        for place, (key, one) in enumerate(zip(keys, data, strict=True), 1):
            check_size(stream, one, key, f"records.{place}.member.data")
    if (
        size + KEY_SIZE_MAX * len(keys) > BATCH_SIZE_MAX
        and size + sum(len((key or "").encode()) for key in keys) > BATCH_SIZE_MAX
    ):
        raise InvalidArgument("Records size exceeds 10 MiB limit")


def check_size(stream: Stream, data: bytes, key: str | None, member: str) -> None:
    size_max = stream.record_size_max_kib << 10
    if len(data) > size_max:
        raise ValidationError(
            f"1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim={len(data)} cap={len(data)}]' at"
            f" '{member}' failed to satisfy constraint: Member must have length less than or equal to {size_max}"
        )
    if len(data) + KEY_SIZE_MAX > size_max and len(data) + len((key or "").encode()) > size_max:
        raise InvalidArgument(
            f"Data and partition key of {len(data) + len((key or '').encode())} bytes exceed the maximum record size of"
            f" {stream.record_size_max_kib} KiB of stream {stream.name} under account {stream.account}."
        )


def missing_keys(members: list[str]) -> ValidationError:
    """AWS lists ten errors at most."""
    errors = "; ".join(
        f"Value null at '{member}' failed to satisfy constraint: Member must not be null" for member in members[:10]
    )
    count = len(members[:10])
    return ValidationError(f"{count} validation error{'s' if count > 1 else ''} detected: {errors}")
