"""Records that are put one by one, gathered while the event loop goes through what has come in: those of a shard are one
append, since an append costs as much as twenty more records in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streams.core.records import Records

GATHERED_SIZE_MAX = 1 << 20
"""Bytes of data that are gathered for a shard before they are appended at once: a frame's worth."""

Append = Callable[[int, Records], asyncio.Future[int]]
"""Starts an append of records to the shard at a route; the future gets the first offset, and is never cancelled."""


class _Group:
    """Records of one shard, and who waits for the offset of each."""

    __slots__ = ("_waiting", "data", "hash_keys", "keys", "size")

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.data: list[bytes] = []
        self.hash_keys: list[bytes | None] = []
        self.size = 0
        self._waiting: list[asyncio.Future[int]] = []

    def add(self, key: str, data: bytes, hash_key: bytes | None, future: asyncio.Future[int]) -> None:
        self.keys.append(key)
        self.data.append(data)
        self.hash_keys.append(hash_key)
        self.size += len(data)
        self._waiting.append(future)

    def records(self) -> Records:
        return Records.of(self.keys, self.data, self.hash_keys if any(self.hash_keys) else None)

    def settle(self, append: asyncio.Future[int]) -> None:
        if append.cancelled():  # the event loop ends
            for future in self._waiting:
                future.cancel()
            return
        error = append.exception()
        if error is not None:
            for future in self._waiting:
                if not future.done():
                    future.set_exception(error)
            return
        for offset, future in enumerate(self._waiting, append.result()):
            if not future.done():
                future.set_result(offset)


class Gathering:
    """What has been put since the event loop's turn began, by route."""

    def __init__(self, append: Append) -> None:
        self._append = append
        self._groups: dict[int, _Group] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def put(self, route: int, key: str, data: bytes, hash_key: bytes | None) -> asyncio.Future[int]:
        """The record's offset, once it is durable. Whoever waits may be cancelled: the record is appended nevertheless."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        groups = self._groups
        group = groups.get(route)
        if group is None:
            if not groups:
                loop.call_soon(self.flush)
            group = groups[route] = _Group()
        future: asyncio.Future[int] = loop.create_future()
        group.add(key, data, hash_key, future)
        if group.size >= GATHERED_SIZE_MAX:
            del groups[route]
            self._start(route, group)
        return future

    def flush(self) -> None:
        """Starts the appends of all that has been gathered. Before the routes mean other shards."""
        groups, self._groups = self._groups, {}
        for route, group in groups.items():
            self._start(route, group)

    def _start(self, route: int, group: _Group) -> None:
        self._append(route, group.records()).add_done_callback(group.settle)
