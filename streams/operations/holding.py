"""Holding a stream before its shards are split or merged, where other processes append to them: see `fence`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from streams.control.controller import Controller
from streams.control.events import ShardsHeld, ShardsReleased
from streams.control.following import Following
from streams.core.clock import Clock
from streams.core.errors import InternalFailure, LogError
from streams.core.waits import first

HOLD_MS = 10_000
"""How long a stream is held at most: a split takes some ten milliseconds, and a process that died in one must not hold
others up for longer than their requests last."""


class Holding:
    """`by` names this process."""

    def __init__(self, controller: Controller, following: Following, clock: Clock, by: str) -> None:
        self._controller = controller
        self._following = following
        self._clock = clock
        self._by = by
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._stopped = False

    @asynccontextmanager
    async def hold(self, stream_id: str) -> AsyncIterator[None]:
        """Nobody else reshards the stream, and what others append to it from now on waits for what comes of it. Raises
        `LogError`. Inside of a preparation of the controller."""
        while True:
            held = self._controller.catalog.held.get(stream_id)
            now_ms = self._clock.now_ms()
            expected = self._controller.position
            if held is None:
                event = ShardsHeld(at_ms=now_ms, id=stream_id, by=self._by, until_ms=now_ms + HOLD_MS)
                if await self._controller.propose(event, expected=expected):
                    break
            elif held.by == self._by or held.until_ms <= now_ms:
                await self._controller.propose(ShardsReleased(at_ms=now_ms, id=stream_id), expected=expected)
            else:
                await self._wait(held)
        try:
            yield
        finally:
            await self._release(stream_id)

    def check(self, stream_id: str) -> None:
        """Raises `InternalFailure` where the time of a hold has ended before what it was for was committed."""
        held = self._controller.catalog.held.get(stream_id)
        if held is None or held.by != self._by:
            raise InternalFailure(
                "The stream could not be changed in time; nothing was changed, and it may be tried again."
            )

    def by_others(self, stream_id: str) -> bool:
        held = self._controller.catalog.held.get(stream_id)
        return held is not None and held.by != self._by

    def changed(self) -> None:
        """Whoever holds a stream may die: somebody ends it then."""
        for stream_id, held in self._controller.catalog.held.items():
            if held.by != self._by and stream_id not in self._watches and not self._stopped:
                task = self._watches[stream_id] = asyncio.create_task(self._watch(stream_id, held))
                task.add_done_callback(partial(self._watched, stream_id))

    async def stop(self) -> None:
        self._stopped = True
        tasks = list(self._watches.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, stream_id: str, held: ShardsHeld) -> None:
        while self._controller.catalog.held.get(stream_id) is held:
            now_ms = self._clock.now_ms()
            if held.until_ms > now_ms:
                await self._wait(held)
                continue
            released = ShardsReleased(at_ms=now_ms, id=stream_id)
            try:
                await self._controller.propose(released, expected=self._controller.position)
            except LogError:
                await self._clock.sleep(1)

    def _watched(self, stream_id: str, _: asyncio.Task[None]) -> None:
        del self._watches[stream_id]
        self.changed()

    async def _wait(self, held: ShardsHeld) -> None:
        """Until something changes, or the time of the hold is over."""
        left_s = max(0, held.until_ms - self._clock.now_ms()) / 1000
        await first(self._following.change.wait(), self._clock.sleep(left_s))

    async def _release(self, stream_id: str) -> None:
        """Where nothing came of it. What fails here ends with the time of the hold."""
        while True:
            held = self._controller.catalog.held.get(stream_id)
            if held is None or held.by != self._by:
                return
            released = ShardsReleased(at_ms=self._clock.now_ms(), id=stream_id)
            try:
                await self._controller.propose(released, expected=self._controller.position)
            except LogError:
                return
