"""Checkpoints of native consumers: how far each has come in each shard, kept in a journal of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from streams.control.controller import write_snapshot
from streams.control.events import decode_as, encode
from streams.control.journal import Journal, Replay
from streams.log.log import Log

JOURNAL = "control/checkpoints"
SNAPSHOT_EVENTS = 10_000
"""Saves after which a snapshot is written: they are small and frequent, and ten thousand replay in some 20 ms."""


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """One save, and in a snapshot what all saves of one consumer add up to. Positions by shard id."""

    stream: str
    consumer: str
    positions: dict[str, int]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    saved: list[Saved]


class Checkpoints:
    """Positions by (stream id, consumer). A stream that is gone takes its checkpoints with it at the next snapshot.

    `exists` says whether a stream is there, of all that there were when `current` was awaited. Over a log that processes
    share, a save holds wherever it lies in the journal: the last one of a consumer counts.
    """

    def __init__(self, log: Log, exists: Callable[[str], bool], current: Callable[[], Awaitable[None]]) -> None:
        self._journal = Journal(log, JOURNAL)
        self._exists = exists
        self._current = current
        self._positions: dict[tuple[str, str], dict[str, int]] = {}
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._replay(await self._journal.open())

    async def load(self, stream_id: str, consumer: str) -> dict[str, int]:
        if self._journal.shared:
            async with self._lock:
                await self._journal.catch_up(self._replay)
        return dict(self._positions.get((stream_id, consumer), {}))

    async def save(self, stream_id: str, consumer: str, positions: Mapping[str, int]) -> None:
        """Durable when it returns, and seen by `load` only then."""
        saved = Saved(stream=stream_id, consumer=consumer, positions=dict(positions))
        task = asyncio.create_task(self._save(saved))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.shield(task)

    async def close(self) -> None:
        if self._running:
            await asyncio.wait(self._running)

    async def _save(self, saved: Saved) -> None:
        # One at a time, so that a snapshot stands for exactly the saves before it.
        async with self._lock:
            if self._journal.shared:
                await self._journal.add([encode(saved)])
                await self._journal.catch_up(self._replay)
            else:
                await self._journal.append([encode(saved)])
                self._apply(saved)
            if self._journal.events_since_snapshot >= SNAPSHOT_EVENTS:
                await self._current()
                await write_snapshot(self._journal, encode(self._snapshot()))

    def _replay(self, replay: Replay) -> None:
        if replay.snapshot is not None:
            self._positions = {}
            for saved in decode_as(Snapshot, replay.snapshot).saved:
                self._apply(saved)
        for data in replay.events:
            self._apply(decode_as(Saved, data))

    def _apply(self, saved: Saved) -> None:
        self._positions.setdefault((saved.stream, saved.consumer), {}).update(saved.positions)

    def _snapshot(self) -> Snapshot:
        self._positions = {key: value for key, value in self._positions.items() if self._exists(key[0])}
        return Snapshot(
            saved=[
                Saved(stream=stream, consumer=consumer, positions=positions)
                for (stream, consumer), positions in self._positions.items()
            ]
        )
