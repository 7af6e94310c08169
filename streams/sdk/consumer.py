"""`Consumer`: every record of a stream, over all shards and through any resharding, each shard in order."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar

from streams.core.clock import Clock, SystemClock
from streams.core.errors import ValidationError
from streams.core.records import Batch
from streams.sdk.client import FETCH_SIZE_MAX, TRIM_HORIZON, Client, Fetch, Start
from streams.sdk.lineage import Lineage
from streams.sdk.packing import unpack
from streams.sdk.retry import PAUSE_S_MAX, pauses, retriable
from streams.sdk.waiting import news_within

log = logging.getLogger(__name__)

T = TypeVar("T")

WAIT_MS = 20_000
"""How long one question for new records stays open. Shorter than the idle timeouts of proxies (60 s and more); a new
question once in 20 s costs nothing."""


class Consumer:
    """An async iterator of `Batch`es of one stream.

    It begins at the `positions` given (shard id → offset, the next to read), else at the checkpoint that the server
    keeps under `name`, else at `start`; the starting point of a new name is saved at once. Shards that a resharding
    made since then are read from their beginning, after their parents.

    `checkpoint` saves what was handed out: call it after the effect of the last batch. With `auto_checkpoint_s`, asking
    for the next batch means that the one before is done, and positions are saved then, at most that often, and at the
    end of the iteration. A consumer that crashes repeats what came after its last checkpoint, and misses nothing.

    While one batch is worked on, the next fetch is under way: it holds at most three fetches of `size_max` bytes.
    Errors with ``retry`` are tried again until the stream answers; others end the iteration by being raised.

    With `deaggregate` it gives `UnpackedBatch`es: the user records that a KPL (or a `Producer` that aggregates) packed.
    """

    def __init__(
        self,
        client: Client,
        stream: str,
        *,
        name: str | None = None,
        start: Start = TRIM_HORIZON,
        positions: Mapping[str, int] | None = None,
        size_max: int = FETCH_SIZE_MAX,
        auto_checkpoint_s: float | None = None,
        deaggregate: bool = False,
        clock: Clock | None = None,
        randomness: random.Random | None = None,
    ) -> None:
        if auto_checkpoint_s is not None and name is None:
            raise ValidationError("a checkpoint needs a name: Consumer(…, name=…)")
        self._client = client
        self._stream = stream
        self._name = name
        self._start = start
        self._given = positions
        self._size_max = size_max
        self._auto_ms = None if auto_checkpoint_s is None else round(auto_checkpoint_s * 1000)
        self._deaggregate = deaggregate
        self._clock = clock or SystemClock()
        self._randomness = randomness or random.Random()
        self._lineage: Lineage | None = None
        self._ready: deque[Batch] = deque()
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._fetching: asyncio.Task[None] | None = None
        self._stopped = False
        self._handed: dict[str, int] = {}
        self._saved: dict[str, int] = {}
        self._saved_ms = 0
        self.tips: dict[str, int] = {}
        """For each shard that is being read the offset after its newest record, as of the last fetch."""

    @property
    def positions(self) -> dict[str, int]:
        """Shard id → offset after the last record handed out: what `checkpoint` saves. Empty until it has begun."""
        return dict(self._handed)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        """The next batch, waiting for it as long as it takes. Cancel it freely. Ends after `stop`."""
        await self._open()
        while not self._stopped:
            if self._ready:
                await self._auto_checkpoint()
                return self._hand_out()
            assert self._fetching is not None
            if self._fetching.done():
                self._fetching.result()
            self._changed.clear()
            await news_within(self._changed, self._clock, await self._auto_checkpoint())
        if self._auto_ms is not None:
            await self.checkpoint()
        raise StopAsyncIteration

    async def checkpoint(self) -> None:
        """Saves the positions of all that was handed out before, durably, under the consumer's name. Raises
        `ValidationError` for a consumer without one."""
        if self._name is None:
            raise ValidationError("a checkpoint needs a name: Consumer(…, name=…)")
        unsaved = self._unsaved()
        if unsaved:
            await self._client.save_checkpoint(self._stream, self._name, unsaved)
            self._saved |= unsaved
        self._saved_ms = self._clock.now_ms()

    def stop(self) -> None:
        """The iteration ends before its next batch."""
        self._stopped = True
        self._changed.set()

    async def close(self) -> None:
        """Stops, and gives up what was fetched ahead."""
        self.stop()
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
            if not self._fetching.cancelled():
                self._fetching.exception()  # who no longer asks for batches does not want it
        self._ready.clear()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _open(self) -> None:
        """Finds where to begin, once, and starts to fetch."""
        if self._fetching is not None or self._stopped:
            return
        if self._lineage is None:
            positions = dict(self._given or {})
            if self._name is not None and self._given is None:
                positions = self._saved = await self._client.load_checkpoint(self._stream, self._name)
            fresh = not positions
            if fresh:
                positions = await self._client.find(self._stream, self._start)
            lineage = Lineage(positions)
            lineage.describe((await self._client.describe_stream(self._stream)).shards)
            self._handed = dict(lineage.positions)
            if fresh and self._name is not None:
                await self.checkpoint()
            self._lineage = lineage
            self._saved_ms = self._clock.now_ms()
        self._fetching = asyncio.create_task(self._fetch_ahead(self._lineage), name=f"consumer of {self._stream}")

    def _hand_out(self) -> Batch:
        batch = self._ready.popleft()
        self._handed[batch.shard] = batch.next
        if not self._ready:
            self._wanted.set()
        if self._deaggregate:
            assert self._lineage is not None
            return unpack(batch, self._lineage.hash_range(batch.shard))
        return batch

    def _unsaved(self) -> dict[str, int]:
        return {shard: at for shard, at in self._handed.items() if self._saved.get(shard) != at}

    async def _auto_checkpoint(self) -> float | None:
        """Saves what is done if it is time to; else, if there is something to save, in how many seconds it will be."""
        if self._auto_ms is None or not self._unsaved():
            return None
        left_ms = self._saved_ms + self._auto_ms - self._clock.now_ms()
        if left_ms > 0:
            return left_ms / 1000
        await self.checkpoint()
        return None

    async def _fetch_ahead(self, lineage: Lineage) -> None:
        """Keeps one fetch ahead of the reader."""
        try:
            while True:
                fetch = await self._fetch(lineage)
                while self._ready:
                    self._wanted.clear()
                    await self._wanted.wait()
                self._ready.extend(fetch.batches)
                self._changed.set()
                if fetch.ended or fetch.grown or not lineage.reading:
                    lineage.describe((await self._again(lambda: self._client.describe_stream(self._stream))).shards)
        finally:
            self._changed.set()

    async def _fetch(self, lineage: Lineage) -> Fetch:
        """The next records of all shards that are being read, which moves their positions."""
        if not lineage.reading:
            # The stream is between two states (it is being deleted, or a parent's children are not listed yet).
            await self._clock.sleep(PAUSE_S_MAX)
            return Fetch(())
        asked = dict(lineage.reading)
        fetch = await self._again(
            lambda: self._client.fetch(self._stream, asked, size_max=self._size_max, wait_ms=WAIT_MS)
        )
        for batch in fetch.batches:
            if batch.first > asked[batch.shard]:
                log.warning(
                    "%s of stream %s: records %d to %d passed out of retention before they were read (%d lost)",
                    *(batch.shard, self._stream, asked[batch.shard], batch.first - 1, batch.first - asked[batch.shard]),
                )
            lineage.advance(batch.shard, batch.next)
        for shard in fetch.ended:
            if shard not in fetch.tips:
                log.warning(
                    "%s of stream %s passed out of retention whole; it had been read up to record %d",
                    *(shard, self._stream, asked[shard]),
                )
            lineage.end(shard)
        self.tips = dict(fetch.tips)
        return fetch

    async def _again(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Asks until there is an answer, or an error that will not pass."""
        for pause in pauses(self._randomness):
            try:
                return await ask()
            except Exception as error:
                if not retriable(error):
                    raise
                log.warning("stream %s does not answer, asking again in %.1f s: %s", self._stream, pause, error)
            await self._clock.sleep(pause)
        raise AssertionError("pauses never end")
