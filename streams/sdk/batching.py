"""The batching machine of a producer: records and times in, drafts of puts out. No clock, no I/O.

A draft closes when one more record would exceed `size_max` bytes or `count_max` records, when bulk records come behind
it (order is kept), when it is told to (`close`), or when its first record has waited for `linger_ms`.
"""

from __future__ import annotations

from collections import deque

from streams.core.records import Records
from streams.sdk.delivery import Outcome


class Draft:
    """Records that will travel in one put. `room` is what they hold of the producer's buffer, in bytes; a `complete`
    draft gets no more records."""

    __slots__ = ("_bulk", "complete", "data", "hash_keys", "keys", "outcome", "room", "since_ms", "size")

    def __init__(self, since_ms: int, bulk: Records | None = None) -> None:
        self.since_ms = since_ms
        self.outcome = Outcome()
        self.keys: list[str] = []
        self.data: list[bytes] = []
        self.hash_keys: list[bytes | None] | None = None
        self.size = 0 if bulk is None else bulk.size
        self.room = 0
        self.complete = bulk is not None
        self._bulk = bulk

    def __len__(self) -> int:
        return len(self.keys) if self._bulk is None else len(self._bulk)

    def add(self, key: str, data: bytes, hash_key: bytes | None, size: int) -> None:
        if hash_key is not None and self.hash_keys is None:
            self.hash_keys = [None] * len(self.keys)
        if self.hash_keys is not None:
            self.hash_keys.append(hash_key)
        self.keys.append(key)
        self.data.append(data)
        self.size += size

    def records(self) -> Records:
        return Records.of(self.keys, self.data, self.hash_keys) if self._bulk is None else self._bulk


class Batcher:
    """Collects drafts in the order in which records were given."""

    def __init__(self, *, linger_ms: int, size_max: int, count_max: int) -> None:
        assert min(linger_ms, size_max - 1, count_max - 1) >= 0, "a batch without room for a record"
        self._linger_ms = linger_ms
        self._size_max = size_max
        self._count_max = count_max
        self._closed: deque[Draft] = deque()
        self._open: Draft | None = None

    def __len__(self) -> int:
        """Drafts that have not been taken."""
        return len(self._closed) + (self._open is not None)

    def add(self, key: str, data: bytes, hash_key: bytes | None, room: int, now_ms: int) -> Draft:
        """The draft that the record became part of: its last one."""
        size = len(key) + len(data)
        draft = self._open
        if draft is not None and draft.size + size > self._size_max:
            self.close()
            draft = None
        if draft is None:
            draft = self._open = Draft(now_ms)
        draft.add(key, data, hash_key, size)
        draft.room += room
        if len(draft.keys) >= self._count_max or draft.size >= self._size_max:
            self.close()
        return draft

    def add_bulk(self, records: Records, room: int, now_ms: int) -> Draft:
        """Records that are a put of their own, behind what was given before."""
        self.close()
        draft = Draft(now_ms, records)
        draft.room = room
        self._closed.append(draft)
        return draft

    def close(self) -> None:
        """What is there need not wait for company."""
        if self._open is not None:
            self._open.complete = True
            self._closed.append(self._open)
            self._open = None

    def wait_ms(self, now_ms: int) -> int | None:
        """How long until `take` gives a draft: 0 when it does now, None while there is nothing."""
        if self._closed:
            return 0
        if self._open is None:
            return None
        waited_ms = now_ms - self._open.since_ms
        # A clock that was set back has not made the record wait longer.
        return self._linger_ms - waited_ms if 0 <= waited_ms < self._linger_ms else 0

    def take(self, now_ms: int) -> Draft | None:
        """The next draft that is due."""
        if self.wait_ms(now_ms) != 0:
            return None
        if not self._closed:
            self.close()
        return self._closed.popleft()
