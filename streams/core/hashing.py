"""From a partition key to a shard: MD5 as 16 big-endian bytes, then a search among the shards' first hash keys.

Hash keys stay bytes on the hot path: big-endian bytes of one length order as the numbers do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from streams.core.records import Records
from streams.core.shards import HASH_KEY_MAX

try:  # half the time of hashlib's, which goes through OpenSSL's context for each key
    from _md5 import md5
except ImportError:  # pragma: no cover - builds without the built-in digests
    from hashlib import md5


def hash_key(partition_key: str) -> bytes:
    """The hash key of a partition key: the MD5 of its UTF-8."""
    return md5(partition_key.encode()).digest()


def explicit_hash_key(text: str) -> bytes:
    """A decimal ExplicitHashKey. Raises ValueError where it is not a number in [0, 2¹²⁸ - 1]."""
    if not (text.isascii() and text.isdigit()) or len(text) > 39 or int(text) > HASH_KEY_MAX:
        raise ValueError(f"not a hash key: {text[:80]!r}")
    return int(text).to_bytes(16, "big")


class Router:
    """Finds the shard of a key among shards that cover the hash key space.

    `first_keys` are the first hash keys of the shards, ascending, beginning with 16 zero bytes. A route is an index into
    them.
    """

    def __init__(self, first_keys: Sequence[bytes]) -> None:
        self._bounds = list(first_keys[1:])

    def route_one(self, partition_key: str, hash_key: bytes | None = None) -> int:
        bounds = self._bounds
        if not bounds:
            return 0
        return bisect_right(bounds, md5(partition_key.encode()).digest() if hash_key is None else hash_key)

    def route(self, partition_keys: Sequence[str], hash_keys: Sequence[bytes | None] | None = None) -> list[int]:
        """The route of each key; `hash_keys` override where they are not None."""
        bounds = self._bounds
        if not bounds:
            return [0] * len(partition_keys)
        if hash_keys is None:
            distinct = set(partition_keys)
            if 2 * len(distinct) <= len(partition_keys):
                found = {key: bisect_right(bounds, md5(key.encode()).digest()) for key in distinct}
                return [found[key] for key in partition_keys]
            return [bisect_right(bounds, md5(key.encode()).digest()) for key in partition_keys]
        return [
            bisect_right(bounds, md5(key.encode()).digest() if explicit is None else explicit)
            for key, explicit in zip(partition_keys, hash_keys, strict=True)
        ]

    def route_arrow(self, records: Records) -> np.ndarray:
        """int32 routes of all records. Keys that repeat are hashed once (13 ns a record for a few keys, 0.3 µs for a key
        of its own on the machine of the figures: MD5 itself is 0.2 µs)."""
        if not self._bounds:
            return np.zeros(len(records), np.int32)
        keys = records.partition_key.cast(pa.binary())  # the same bytes: no copy, and no text to encode again
        if _repeats(keys):
            encoded = keys.dictionary_encode()
            routes = self._search(encoded.dictionary)[encoded.indices.to_numpy(zero_copy_only=False)]
        else:
            routes = self._search(keys)
        if records.hash_key is not None and records.hash_key.null_count < len(records):
            places = np.flatnonzero(records.hash_key.is_valid().to_numpy(zero_copy_only=False))
            explicit = records.hash_key.drop_null().to_pylist()
            routes[places] = [bisect_right(self._bounds, hash_key) for hash_key in explicit]
        return routes

    def _search(self, keys: pa.Array) -> np.ndarray:
        bounds = self._bounds
        found = (bisect_right(bounds, md5(key).digest()) for key in keys.to_pylist())
        return np.fromiter(found, np.int32, len(keys))


def _repeats(keys: pa.Array) -> bool:
    """Whether a dictionary pays: judged by the first thousand keys."""
    sample = keys.slice(0, 1000)
    return 2 * len(sample.unique()) < len(sample)
