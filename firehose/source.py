"""Reads the source of one lane: what is not settled yet, in order within each shard, parents before children."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from firehose.book import Book
from firehose.events import Lost, Rebased, SourceSpec
from firehose.manifests import Manifests
from firehose.stream import Lane
from firehose.threads import to_its_end
from streams.core.clock import Clock
from streams.core.records import Batch, Records
from streams.core.shards import Shard
from streams.sdk.client import TRIM_HORIZON, Client
from streams.sdk.lineage import Lineage

log = logging.getLogger(__name__)

WAIT_MS = 20_000
"""How long one question for new records stays open."""

RESHARDING_PAUSE_S = 5.0
"""How long to wait for the children of a shard that ended, when they are not listed yet."""


@dataclass(frozen=True, slots=True, eq=False)
class Unsettled:
    """Records of one shard and their offsets (int64), without those that an earlier run has settled."""

    shard: Shard
    offsets: np.ndarray
    records: Records


class Source:
    """`open` first; then each `read` goes on where the last one ended."""

    def __init__(
        self, client: Client, lane: Lane, book: Book, clock: Clock, size_max: int, manifests: Manifests
    ) -> None:
        self._client = client
        self._lane = lane
        self._book = book
        self._clock = clock
        self._size_max = size_max
        self._manifests = manifests
        self._lineage = Lineage({})
        self._shards: dict[str, Shard] = {}

    async def open(self) -> None:
        """Positions are those of the journal; a source that was created anew under its name is read from its start."""
        source = self._lane.source
        description = await self._client.describe_stream(source.stream)
        if description.id != source.id:
            log.warning("%s: stream %s is a new one; it is read from its start", self._lane.title, source.stream)
            positions = await self._client.find(source.stream, TRIM_HORIZON)
            renewed = SourceSpec(source.stream, description.id, source.arn, source.role_arn)
            await to_its_end(self._manifests.rebased, positions)
            await self._book.commit(Rebased(self._lane.number, renewed, positions, self._lane.id))
        self._lineage = Lineage(self._lane.positions())
        self._shards = {shard.id: shard for shard in description.shards}
        self._lineage.describe(description.shards)

    async def read(self) -> list[Unsettled]:
        """The next records of all shards, at most about `size_max` bytes; waits for them, and may come back empty."""
        if not self._lineage.reading:
            await self._clock.sleep(RESHARDING_PAUSE_S)
            await self._describe()
            return []
        asked = dict(self._lineage.reading)
        fetch = await self._client.fetch(self._lane.source.stream, asked, size_max=self._size_max, wait_ms=WAIT_MS)
        found = []
        for batch in fetch.batches:
            if batch.first > asked[batch.shard]:
                await self._lost(batch.shard, asked[batch.shard], batch.first)
            found.append(self._unsettled(batch))
        for batch in fetch.batches:
            self._lineage.advance(batch.shard, batch.next)
        for shard in fetch.ended:
            self._lineage.end(shard)
        if fetch.ended:
            await self._describe()
        return [part for part in found if len(part.records)]

    def _unsettled(self, batch: Batch) -> Unsettled:
        offsets = np.arange(batch.first, batch.next)
        records = batch.records
        settled = self._lane.ledger(batch.shard).settled(batch.first, batch.next)
        if settled.any():
            left = np.flatnonzero(~settled)
            offsets, records = offsets[left], records.take(pa.array(left))
        return Unsettled(self._shards[batch.shard], offsets, records)

    async def _describe(self) -> None:
        description = await self._client.describe_stream(self._lane.source.stream)
        self._shards = {shard.id: shard for shard in description.shards}
        self._lineage.describe(description.shards)

    async def _lost(self, shard: str, asked: int, first: int) -> None:
        log.error(
            "%s: %s passed out of retention before it was delivered (%d to %d, %d records lost)",
            *(self._lane.title, shard, asked, first - 1, first - asked),
        )
        await to_its_end(self._manifests.lost, shard, first)
        await self._book.commit(Lost(self._lane.number, shard, first, self._lane.id))
