"""Reads the source of one lane: what is not settled yet, in order within each shard, parents before children.

Of a Kafka topic some offsets hold no record. They are settled as they are passed over; and no more is read of a partition than
`SPAN_MAX` offsets behind what is settled, since the ledger keeps a byte for each of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa

from firehose.book import Book
from firehose.events import MSK, Lost, Passed, Rebased
from firehose.ledger import Coverage
from firehose.manifests import Manifests
from firehose.stream import Lane
from streams.core.clock import Clock
from streams.core.errors import HeadraceError
from streams.core.records import Batch, Records
from streams.core.shards import Shard
from streams.sdk.client import TRIM_HORIZON, Readable, StreamDescription
from streams.sdk.lineage import Lineage

log = logging.getLogger(__name__)

WAIT_MS = 20_000
"""How long one question for new records stays open."""

RESHARDING_PAUSE_S = 5.0
"""How long to wait for the children of a shard that ended, when they are not listed yet."""

SPAN_MAX = 16 << 20
HELD_MS = 500
"""How long others are waited for while a partition is held back."""


@dataclass(frozen=True, slots=True, eq=False)
class Unsettled:
    """Records of one shard and their offsets (int64), without those that an earlier run has settled."""

    shard: Shard
    offsets: np.ndarray
    records: Records


class Source:
    """`open` first; then each `read` goes on where the last one ended; `close` in the end. `connect` gives the client to read
    with, which is closed if it is for this source alone."""

    def __init__(
        self,
        connect: Callable[[], Readable],
        lane: Lane,
        book: Book,
        clock: Clock,
        size_max: int,
        manifests: Manifests,
        *,
        span_max: int = SPAN_MAX,
    ) -> None:
        self._connect = connect
        self._lane = lane
        self._book = book
        self._clock = clock
        self._size_max = size_max
        self._manifests = manifests
        self._span_max = span_max
        self._topic = lane.stream.created.type == MSK
        self._client: Readable | None = None
        self._lineage = Lineage({})
        self._shards: dict[str, Shard] = {}
        self._held: set[str] = set()
        self.trouble: str | None = None
        """Why nothing can be read now."""

    async def open(self) -> None:
        """Positions are those of the journal; a source that was created anew under its name is read from its start."""
        try:
            await self._open()
        except HeadraceError as error:
            self.trouble = error.message
            raise
        self.trouble = None

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None and self._topic:
            await client.close()

    async def _open(self) -> None:
        await self.close()
        self._client = client = self._connect()
        source = self._lane.source
        description = await client.describe_stream(source.stream)
        if description.id != source.id and description.id and source.id:
            log.warning("%s: stream %s is a new one; it is read from its start", self._lane.title, source.stream)
            positions = await client.find(source.stream, TRIM_HORIZON)
            renewed = msgspec.structs.replace(source, id=description.id)
            await self._manifests.rebased(positions)
            await self._book.commit(Rebased(self._lane.number, renewed, positions, self._lane.id))
        self._lineage = Lineage(self._lane.positions())
        await self._take(description)

    async def read(self) -> list[Unsettled]:
        """The next records of all shards, at most about `size_max` bytes; waits for them, and may come back empty."""
        try:
            return await self._read()
        except HeadraceError as error:
            self.trouble = error.message
            raise

    async def _read(self) -> list[Unsettled]:
        assert self._client is not None, "it is open"
        if not self._lineage.reading:
            await self._clock.sleep(RESHARDING_PAUSE_S)
            await self._describe(self._client)
            return []
        asked = {shard: at for shard, at in self._lineage.reading.items() if self._may(shard, at)}
        if not asked:
            await self._clock.sleep(HELD_MS / 1000)
            return []
        held = len(asked) < len(self._lineage.reading)
        fetch = await self._client.fetch(
            self._lane.source.stream, asked, size_max=self._size_max, wait_ms=HELD_MS if held else WAIT_MS
        )
        self.trouble = None
        for batch in fetch.batches:
            if batch.first > asked[batch.shard]:
                await self._lost(batch.shard, asked[batch.shard], batch.first)
        batches = await self._within(fetch.batches) if self._topic else fetch.batches
        found = [self._unsettled(batch) for batch in batches]
        for batch in batches:
            self._lineage.advance(batch.shard, batch.next)
        for shard in fetch.ended:
            self._lineage.end(shard)
        if fetch.ended or fetch.grown:
            await self._describe(self._client)
        return [part for part in found if len(part.records)]

    def _may(self, shard: str, at: int) -> bool:
        """Whether `shard` may be read from `at` on."""
        if not self._topic:
            return True
        low = self._lane.ledger(shard).low
        return at - low < self._span_max and (shard not in self._held or low >= at)

    async def _within(self, batches: Iterable[Batch]) -> list[Batch]:
        """What may be read now, of which the offsets without a record are settled."""
        taken, passed = [], []
        for batch in batches:
            self._held.discard(batch.shard)
            ledger = self._lane.ledger(batch.shard)
            low, oldest = ledger.low, int(batch.offsets[0])
            if oldest - low >= self._span_max:
                if low < batch.first:
                    self._held.add(batch.shard)  # until all before it is settled: then the ledger begins behind the gap
                    continue
                passed.append(Coverage(batch.shard, batch.first, oldest))
                low = oldest
            batch = batch.cut(int(np.searchsorted(batch.offsets, low + self._span_max)))[0]
            taken.append(batch)
            begin = max(low, batch.first)
            if batch.next - begin > len(batch):
                empty = ~ledger.settled(begin, batch.next)
                empty[batch.offsets - begin] = False
                if empty.any():
                    passed.append(Coverage.of_mask(batch.shard, begin, empty))
        if passed:
            await self._manifests.passed(passed)
            await self._book.commit(Passed(self._lane.number, tuple(passed), self._lane.id))
        return taken

    def _unsettled(self, batch: Batch) -> Unsettled:
        offsets, records = batch.offsets, batch.records
        if not len(offsets):
            return Unsettled(self._shards[batch.shard], offsets, records)
        oldest = int(offsets[0])  # what lies before it may be no end of offsets
        settled = self._lane.ledger(batch.shard).settled(oldest, batch.next)[offsets - oldest]
        if settled.any():
            left = np.flatnonzero(~settled)
            offsets, records = offsets[left], records.take(pa.array(left))
        return Unsettled(self._shards[batch.shard], offsets, records)

    async def _describe(self, client: Readable) -> None:
        await self._take(await client.describe_stream(self._lane.source.stream))

    async def _take(self, description: StreamDescription) -> None:
        await self._manifests.listed(description.id, description.shards)
        self._shards = {shard.id: shard for shard in description.shards}
        self._lineage.describe(description.shards)

    async def _lost(self, shard: str, asked: int, first: int) -> None:
        log.error(
            "%s: %s passed out of retention before it was delivered (%d to %d, %d records lost)",
            *(self._lane.title, shard, asked, first - 1, first - asked),
        )
        # A range that the ledger has no room for takes along what was read before it and is not settled yet.
        since = asked if first - self._lane.ledger(shard).low < self._span_max else 0
        await self._manifests.lost(shard, first, since)
        await self._book.commit(Lost(self._lane.number, shard, first, self._lane.id, since))
