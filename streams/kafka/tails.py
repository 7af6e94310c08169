"""Who waits for records that others append: one question to each broker, held there until something comes.

A shard is asked for from the first wait on, and for `LINGER_S` after the last one. A question goes round every `POLL_MS`,
which is how long a shard may wait to be in it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from aiokafka.errors import KafkaError

from streams.kafka.cluster import PAUSE_S_MAX, Cluster
from streams.kafka.places import Place

_logger = logging.getLogger(__name__)

POLL_MS = 250
LINGER_S = 60.0

Moved = Callable[[int | None], None]
"""Told of the next offset of a shard, or None: it is gone."""


class _Watch:
    def __init__(self, next_: int, moved: Moved) -> None:
        self.next = next_
        self.moved = moved
        self.waiting = 0
        self.left_s = 0.0


class Tails:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._watches: dict[Place, _Watch] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._leaderless: asyncio.Task[None] | None = None

    def enter(self, place: Place, next_: int, moved: Moved) -> None:
        """Somebody waits for the record at `next_`, or a later one."""
        watch = self._watches.get(place)
        if watch is None:
            watch = self._watches[place] = _Watch(next_, moved)
        watch.next = max(watch.next, next_)
        watch.waiting += 1
        self._start()

    def leave(self, place: Place) -> None:
        watch = self._watches.get(place)
        if watch is not None:
            watch.waiting -= 1
            watch.left_s = asyncio.get_running_loop().time()

    def moved(self, place: Place, next_: int) -> None:
        """This process knows it already."""
        watch = self._watches.get(place)
        if watch is not None:
            watch.next = max(watch.next, next_)

    def forget(self, place: Place) -> None:
        self._watches.pop(place, None)

    async def close(self) -> None:
        self._watches.clear()
        tasks = [*self._tasks.values(), *([self._leaderless] if self._leaderless else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self) -> None:
        """Every broker that leads a shard that is waited for is asked."""
        for place in self._watches:
            leader = self._cluster.leader(place)
            if leader is None:
                if self._leaderless is None or self._leaderless.done():
                    self._leaderless = asyncio.create_task(self._look_again())
            elif leader not in self._tasks:
                task = self._tasks[leader] = asyncio.create_task(self._ask(leader))
                task.add_done_callback(partial(self._ended, leader))

    def _ended(self, leader: int, _: asyncio.Task[None]) -> None:
        del self._tasks[leader]
        if self._watches:
            self._start()

    async def _look_again(self) -> None:
        """A shard without a leader gets one, or is gone."""
        await asyncio.sleep(PAUSE_S_MAX)
        if await self._cluster.refresh():
            for place, watch in list(self._watches.items()):
                if place.partition >= self._cluster.partitions(place.topic):
                    del self._watches[place]
                    watch.moved(None)
        asyncio.get_running_loop().call_soon(self._start)

    async def _ask(self, leader: int) -> None:
        """Until it leads nothing that is waited for."""
        while mine := self._led_by(leader):
            try:
                found = await self._cluster.poll(leader, mine, POLL_MS, "tails")
            except (KafkaError, TimeoutError) as error:
                _logger.debug("waiting at broker %d: %r", leader, error)
                await asyncio.sleep(PAUSE_S_MAX)
                await self._cluster.refresh()
                continue
            for place, next_ in found.items():
                watch = self._watches.get(place)
                if watch is not None and next_ > watch.next:
                    watch.next = next_
                    watch.moved(next_)
            if len(found) < len(mine):
                await asyncio.sleep(POLL_MS / 1000)
                await self._cluster.refresh()
                self._start()

    def _led_by(self, leader: int) -> list[tuple[Place, int]]:
        now_s = asyncio.get_running_loop().time()
        for place in [
            place for place, watch in self._watches.items() if not watch.waiting and now_s - watch.left_s > LINGER_S
        ]:
            del self._watches[place]
        return [(place, watch.next) for place, watch in self._watches.items() if self._cluster.leader(place) == leader]
