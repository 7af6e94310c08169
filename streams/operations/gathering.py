"""Records that are put one by one, gathered while the event loop goes through what has come in: those of a shard are one
append, since an append costs as much as twenty more records in it, and those of all shards are asked for at once.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

from streams.core.errors import HeadraceError
from streams.core.records import Records
from streams.log.log import Appended, Appends

GATHERED_SIZE_MAX = 1 << 20
"""Bytes of data that are gathered for a shard before they are appended at once: a frame's worth."""

Append = Callable[[Sequence[int], Sequence[int], Records], asyncio.Future[Appends]]
"""Starts appends to the shards at some routes, as `Log.append_each` does; the future is never cancelled."""


class _Group:
    """Records of one shard, and who waits for the offset of each."""

    __slots__ = ("_waiting", "data", "hash_keys", "keys", "size")

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.data: list[bytes] = []
        self.hash_keys: list[bytes | None] = []
        self.size = 0
        self._waiting: list[asyncio.Future[Appended]] = []

    def add(self, key: str, data: bytes, hash_key: bytes | None, future: asyncio.Future[Appended]) -> None:
        self.keys.append(key)
        self.data.append(data)
        self.hash_keys.append(hash_key)
        self.size += len(data)
        self._waiting.append(future)

    def __len__(self) -> int:
        return len(self.keys)

    def settle(self, outcome: Appended | HeadraceError) -> None:
        if isinstance(outcome, HeadraceError):
            self.fail(outcome)
            return
        first, arrival_ms = outcome
        for offset, future in enumerate(self._waiting, first):
            if not future.done():
                future.set_result(Appended(offset, arrival_ms))

    def fail(self, error: BaseException) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_exception(error)

    def cancel(self) -> None:
        for future in self._waiting:
            future.cancel()


class Gathering:
    """What has been put since the event loop's turn began, by route."""

    def __init__(self, append: Append) -> None:
        self._append = append
        self._groups: dict[int, _Group] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def put(self, route: int, key: str, data: bytes, hash_key: bytes | None) -> asyncio.Future[Appended]:
        """Where the record lies, once it is durable. Whoever waits may be cancelled: the record is appended nevertheless."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        groups = self._groups
        group = groups.get(route)
        if group is None:
            if not groups:
                loop.call_soon(self.flush)
            group = groups[route] = _Group()
        future: asyncio.Future[Appended] = loop.create_future()
        group.add(key, data, hash_key, future)
        if group.size >= GATHERED_SIZE_MAX:
            del groups[route]
            self._start({route: group})
        return future

    def flush(self) -> None:
        """Starts the appends of all that has been gathered. Before the routes mean other shards."""
        groups, self._groups = self._groups, {}
        if groups:
            self._start(groups)

    def _start(self, by_route: dict[int, _Group]) -> None:
        groups = list(by_route.values())
        hash_keys = list(itertools.chain.from_iterable(group.hash_keys for group in groups))
        records = Records.of(
            list(itertools.chain.from_iterable(group.keys for group in groups)),
            list(itertools.chain.from_iterable(group.data for group in groups)),
            hash_keys if any(hash_keys) else None,
        )

        def settle(append: asyncio.Future[Appends]) -> None:
            if append.cancelled():  # the event loop ends
                for group in groups:
                    group.cancel()
            elif (error := append.exception()) is not None:
                for group in groups:
                    group.fail(error)
            else:
                for group, outcome in zip(groups, append.result(), strict=True):
                    group.settle(outcome)

        ends = list(itertools.accumulate(map(len, groups)))
        self._append(list(by_route), ends, records).add_done_callback(settle)
