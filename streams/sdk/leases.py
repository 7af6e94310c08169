"""`Leases`: the shards that a member of a consumer group has, for as long as it is heard of."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streams.core.clock import Clock
from streams.core.errors import ResourceInUse
from streams.sdk.client import Client, Lease, Progress, Start
from streams.sdk.retry import pauses, retriable
from streams.sdk.waiting import news_within

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Held:
    """A shard of this member. `position` is the next record to fetch, `done` the next that is not done, `end` where it ends
    if that has been read; `leaving`: others are waiting for it.

    A shard that is lost and had again is another one of these, also where its generation is the same (the group never heard
    that it was lost): it begins at what was saved, and nothing fetched for the one before counts for it."""

    generation: int
    position: int
    done: int
    intent: int | None
    end: int | None = None
    leaving: bool = False


class Leases:
    """`held` is what `keep` was told. `busy` says whether a batch of a shard is worked on: such a shard is kept until that is
    done. `turned` is set with every change of what is held, `news` where whoever iterates has to look."""

    def __init__(
        self,
        client: Client,
        stream: str,
        group: str,
        member: str,
        start: Start,
        lease_ms: int,
        clock: Clock,
        randomness: random.Random,
        *,
        busy: Callable[[str], bool],
        news: asyncio.Event,
    ) -> None:
        self.held: dict[str, Held] = {}
        self.turned = asyncio.Event()
        self.synced_ms = 0
        """When the group's coordinator last heard of this member, at the earliest."""
        self._client = client
        self._stream = stream
        self._group = group
        self._member = member
        self._start = start
        self._lease_ms = lease_ms
        self._clock = clock
        self._randomness = randomness
        self._busy = busy
        self._news = news

    async def keep(self) -> None:
        """Says that we live, and takes and gives back shards as we are told, until it is cancelled."""
        try:
            retry = pauses(self._randomness)
            while True:
                asked = {shard: one.generation for shard, one in self.held.items()}
                leaving = any(one.leaving for one in self.held.values())
                asked_ms = self._clock.now_ms()
                try:
                    leases = await self._client.sync_group(
                        self._stream,
                        self._group,
                        self._member,
                        asked,
                        start=self._start,
                        lease_ms=self._lease_ms,
                        wait_ms=0 if leaving else self._lease_ms // 3,
                    )
                except Exception as error:
                    if not retriable(error):
                        raise
                    log.warning("group %s of stream %s does not answer: %s", self._group, self._stream, error)
                    await self._clock.sleep(min(next(retry), self._lease_ms / 3000))
                    continue
                retry = pauses(self._randomness)
                # From when we asked: the server counts from a moment that is no earlier.
                self.synced_ms = asked_ms
                self._apply(leases, asked)
                if any(one.leaving for one in self.held.values()):
                    # It is told again and again until the batch is done: no hurry.
                    self.turned.clear()
                    await news_within(self.turned, self._clock, self._lease_ms / 3000)
        finally:
            self._news.set()

    def drop(self, shard: str) -> None:
        """We have done with a shard that others wait for, or that has ended."""
        self.held.pop(shard, None)
        self.turned.set()

    def left_s(self) -> float:
        """How long the shards are still ours, whatever happens; a whole lease where that has passed."""
        return max(0, self.synced_ms + self._lease_ms - self._clock.now_ms()) / 1000 or self._lease_ms / 1000

    def expire(self) -> bool:
        """Whether we were silent for a lease, whyever: others have our shards by now."""
        if self._clock.now_ms() - self.synced_ms < self._lease_ms or not self.held:
            return False
        log.warning("member %s of group %s was silent for its lease", self._member, self._group)
        self.held.clear()
        self.turned.set()
        return True

    async def save(self, progress: Mapping[str, Progress]) -> None:
        """Tries again for as long as the lease lasts. Raises `ResourceInUse` where it is lost."""
        for pause in pauses(self._randomness):
            try:
                await self._client.save_group(self._stream, self._group, self._member, progress)
                return
            except ResourceInUse:
                for shard in progress:
                    self.held.pop(shard, None)
                self.turned.set()
                raise
            except Exception as error:
                if not retriable(error):
                    raise
                log.warning("group %s of stream %s does not answer: %s", self._group, self._stream, error)
            await self._clock.sleep(pause)

    def _apply(self, leases: Mapping[str, Lease], asked: Mapping[str, int]) -> None:
        for shard, held in list(self.held.items()):
            lease = leases.get(shard)
            if lease is not None and lease.generation == held.generation:
                held.leaving = False
            elif asked.get(shard) == held.generation:
                held.leaving = True
                if not self._busy(shard):
                    del self.held[shard]
        for shard, lease in leases.items():
            if shard not in self.held and asked.get(shard) != lease.generation:
                self.held[shard] = Held(lease.generation, lease.position, lease.position, lease.intent)
        self.turned.set()
        self._news.set()
