"""The inputs of an application at run time: records are polled, wait their turn, and become tables of rows.

Everything that awaits records is here; `Application` says when.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from analytics.ahead import Ahead, Piece
from analytics.frontier import InputTime
from analytics.inputs import Decoder, Reader
from analytics.operators.work import END
from analytics.processing import Processed, Processor
from connectors.formats.schema import Decoded
from streams.core.clock import Clock
from streams.core.records import Batch

DECODERS = min(4, os.cpu_count() or 1)
"""Threads that read JSON, which is most of the work and needs no lock; beyond four, the rest is what takes the time."""
TICK_MS = 250
"""How long the application waits for records while a window may close without any: the delay that this adds."""


@dataclass(slots=True)
class Feed:
    """One input at run time."""

    name: str
    physical: str
    reader: Reader
    decoder: Decoder
    time: InputTime
    processor: Processor | None


@dataclass(frozen=True, slots=True)
class Now:
    """What is known of an input when a micro-batch begins, so that reading on meanwhile changes nothing."""

    checked_ms: int
    behind: set[str]
    reading: set[str]
    pieces: list[Piece]


@dataclass(frozen=True, slots=True)
class Taken:
    """The rows of a micro-batch by the physical name of their input, rows of the error stream, and how far time has come
    in each input."""

    tables: dict[str, pa.Table]
    faulty: list[pa.Table]
    frontiers: dict[str, int]


class Feeds:
    """All inputs of an application. `batch_rows` are the records of a micro-batch."""

    def __init__(self, clock: Clock, batch_rows: int) -> None:
        self.every: list[Feed] = []
        self._clock = clock
        self._batch_rows = batch_rows
        self._threads = ThreadPoolExecutor(DECODERS, "application decodes")
        self._ahead = Ahead(self._threads, batch_rows)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    @property
    def waiting(self) -> bool:
        """Whether records wait for a micro-batch."""
        return len(self._ahead) > 0

    @property
    def enough(self) -> bool:
        """Whether as many wait as a micro-batch may have."""
        return self._ahead.enough

    @property
    def backlog(self) -> bool:
        """Whether an input is known to hold more."""
        return any(feed.reader.more for feed in self.every)

    async def poll(self, wait_ms: int) -> None:
        """The next records of all inputs. Returns with the first that come; behind a backlog with as many as a micro-batch
        may have, which costs hardly more than the few of one answer."""
        found = await self._ask(wait_ms)
        while found and not self._ahead.enough and self.backlog:
            found = await self._ask(0)

    async def _ask(self, wait_ms: int) -> bool:
        """Asks every input once; whether there was anything."""
        now_ms = self._clock.now_ms()
        if len(self.every) == 1:
            found = [await self.every[0].reader.poll(now_ms, wait_ms)]
        else:
            found = await self._poll_many(now_ms, wait_ms)
        for number, (feed, batches) in enumerate(zip(self.every, found, strict=True)):
            self._ahead.add(number, batches, None if feed.processor is not None else feed.decoder.decode)
        return any(found)

    async def _poll_many(self, now_ms: int, wait_ms: int) -> list[list[Batch]]:
        # Whoever has nothing must not hold up whoever has: first all are asked, then one short wait is shared.
        found = await asyncio.gather(*(feed.reader.poll(now_ms, 0) for feed in self.every))
        if any(found) or wait_ms == 0:
            return list(found)
        return list(await asyncio.gather(*(feed.reader.poll(now_ms, min(wait_ms, TICK_MS)) for feed in self.every)))

    def take(self, ends: Sequence[dict[str, int]] | None) -> list[Now]:
        """At most a micro-batch out of the queue; the rest stays. What lies after `ends` is left for another run."""
        taken: list[list[Piece]] = [[] for _ in self.every]
        room = self._batch_rows
        while (piece := self._ahead.take(room)) is not None:
            if ends is not None:
                piece = piece.until(ends[piece.number].get(piece.batch.shard, piece.batch.next))
                if not len(piece.batch):
                    continue
            room -= len(piece.batch)
            taken[piece.number].append(piece)
            self.every[piece.number].reader.took(piece.batch)
        result = []
        for number, feed in enumerate(self.every):
            waiting = self._ahead.shards(number)
            here = {piece.batch.shard for piece in taken[number]}
            behind, reading = feed.reader.behind | waiting, feed.reader.reading | waiting | here
            result.append(Now(feed.reader.checked_ms, behind, reading, taken[number]))
        return result

    async def process(self, inputs: Sequence[Now]) -> list[list[Processed | None]]:
        """What the functions before the inputs make of the batches; None for those of an input without one."""
        return list(
            await asyncio.gather(
                *(self._processed(feed, now.pieces) for feed, now in zip(self.every, inputs, strict=True))
            )
        )

    async def _processed(self, feed: Feed, pieces: list[Piece]) -> list[Processed | None]:
        if feed.processor is None:
            return [None] * len(pieces)
        return [await feed.processor.run(each.batch, feed.reader.shards[each.batch.shard]) for each in pieces]

    def rows(
        self, inputs: Sequence[Now], processed: Sequence[list[Processed | None]], now_ms: int, *, end: bool
    ) -> Taken:
        """The columns and times of what was taken. `end`: the inputs have ended here."""
        tables, faulty, frontiers = {}, [], {}
        for feed, now, made in zip(self.every, inputs, processed, strict=True):
            parsed = self._parsed(feed, now.pieces, made)
            rows = [
                feed.decoder.rows(piece.batch, each, now_ms) for piece, each in zip(now.pieces, parsed, strict=True)
            ]
            faulty += [each.faulty for each in rows if len(each.faulty)]
            if rows:
                tables[feed.physical] = pa.concat_tables([each.table for each in rows])
            at = END if end else feed.time.advance(now.checked_ms, now.behind, now.reading)
            if at is not None:
                frontiers[feed.physical] = at
        return Taken(tables, faulty, frontiers)

    def _parsed(self, feed: Feed, pieces: list[Piece], made: list[Processed | None]) -> list[Decoded]:
        """The columns of pieces, which other threads have been reading meanwhile, or read now."""
        late = [(piece.batch, each) for piece, each in zip(pieces, made, strict=True) if piece.decoding is None]
        found = self._threads.map(lambda each: feed.decoder.parse(*each), late)
        return [next(found) if piece.decoding is None else piece.decoding.result()[piece.place] for piece in pieces]
