"""Plan, deliver, commit: how records get into objects exactly once.

1. *Stage.* Every object is encoded and sealed into a file under ``firehose/staging`` of the data directory, and synced.
2. *Plan.* The journal takes the names of the objects, their staged files, and the offsets that each covers.
3. *Deliver.* Each staged file becomes its object, create-only: a hard link where the store is a local directory.
4. *Commit.* The journal says so; the offsets are settled, the staged files go.

A crash before 2 leaves nothing but stray files: the records are read again. A crash after 2 repeats 3 with the same bytes
under the same names, whatever the function, the configuration or the library versions would make of the records now.
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from connectors.files import Store
from connectors.formats.compression import ENCODINGS
from connectors.formats.lines import write_lines
from connectors.formats.orc import OrcOptions, write_orc
from connectors.formats.parquet import write_parquet
from firehose.book import Book
from firehose.buffer import DATA, DROPPED, Chunk, Piece
from firehose.configuration import Destination
from firehose.events import Delivered, Plan, Planned, StagedObject
from firehose.ledger import Coverage
from firehose.names import moment, object_id, object_suffix, random_string, random_strings
from firehose.partitions import keys_of
from firehose.stream import Lane
from streams.core.clock import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")

PAUSE_S_MAX = 60.0
"""The longest pause between two tries: how late a store that is back is noticed."""

PUBLISH_MAX = 8
"""Objects of one plan on their way at once: enough to hide a remote store's round trips."""


class Delivery:
    """Delivers for one lane, into the store that `open_store` answers for a bucket's name."""

    def __init__(
        self,
        lane: Lane,
        destination: Destination,
        open_store: Callable[[str], Store],
        staging: Path,
        book: Book,
        clock: Clock,
        retry_s: float,
    ) -> None:
        self._lane = lane
        self._destination = destination
        self._open_store = open_store
        self._staging = staging
        self._book = book
        self._clock = clock
        self._retry_s = retry_s
        self._publishing = asyncio.Semaphore(PUBLISH_MAX)

    async def resume(self) -> None:
        """Finishes the plans that were open at the last stop, and removes what no plan refers to."""
        await asyncio.to_thread(self._sweep)
        for plan in list(self._lane.plans.values()):
            await self._finish(plan)

    async def deliver(self, chunks: Sequence[Chunk]) -> bool:
        """The chunks' records are settled when it returns, however long the store takes to answer. False: some of their
        staged bytes vanished, and the records have to be read again."""
        plan = await self._again("staging", lambda: asyncio.to_thread(self._stage, chunks))
        await self._again("planning", lambda: self._book.commit(Planned(self._lane.number, plan, self._lane.id)))
        return await self._finish(plan)

    async def _finish(self, plan: Plan) -> bool:
        async def publish(one: StagedObject) -> str | None:
            async with self._publishing:
                appeared = await self._again(one.key, lambda: asyncio.to_thread(self._publish, one))
                return None if appeared else one.key

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(publish(one)) for one in plan.objects]
        missing = tuple(key for key in (task.result() for task in tasks) if key is not None)
        done = Delivered(self._lane.number, plan.id, missing, self._lane.id)
        await self._again("committing", lambda: self._book.commit(done))
        for one in plan.objects:
            (self._staging / one.staged).unlink(missing_ok=True)
        return not missing

    def _publish(self, one: StagedObject) -> bool:
        store = self._open_store(one.bucket)
        staged = self._staging / one.staged
        if staged.exists():
            store.publish(staged, one.key, one.encoding)
            return True
        if store.has(one.key, one.size):
            return True
        log.error("%s: the staged bytes of %s are gone; its records are read again", self._lane.title, one.key)
        return False

    def _stage(self, chunks: Sequence[Chunk]) -> Plan:
        self._staging.mkdir(parents=True, exist_ok=True)
        objects: list[StagedObject] = []
        dropped: list[Coverage] = []
        for chunk in chunks:
            coverage = _coverage(chunk)
            if chunk.partition.kind == DROPPED:
                dropped += coverage
            else:
                objects.append(self._stage_object(chunk, coverage))
        directory = os.open(self._staging, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        identity = object_id(self._lane, chunks[0], _coverage(chunks[0]))
        return Plan(str(identity), tuple(objects), tuple(dropped), self._lane.stream.splits)

    def _stage_object(self, chunk: Chunk, coverage: tuple[Coverage, ...]) -> StagedObject:
        output, partition = self._destination.output, chunk.partition
        data = partition.kind == DATA
        identity = object_id(self._lane, chunk, coverage)
        at = moment(chunk.oldest_ms, output.zone)
        randomness = random_strings(identity)
        prefix = output.prefix if data else output.error_prefix
        key = prefix.evaluate(
            at, lambda: random_string(randomness), keys_of(output.prefix.keys, partition), partition.kind
        )
        key += object_suffix(self._lane, at, identity, output.extension if data else "")
        # A name of its own for each attempt: one that was cancelled may still be writing in its thread.
        path = self._staging / f"{identity}.{uuid.uuid4().hex}"
        with path.open("wb") as file:
            self._write(file, chunk, str(identity))
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        encoding = ENCODINGS.get(output.compression) if data else None
        return StagedObject(output.bucket, key, path.name, size, chunk.records, coverage, encoding)

    def _write(self, file: BinaryIO, chunk: Chunk, entry: str) -> None:
        payloads = [piece.payload for piece in chunk.pieces]
        destination = self._destination
        if chunk.partition.kind != DATA:
            write_lines(file, payloads)
        elif destination.conversion is None:
            compression = destination.output.compression
            write_lines(file, payloads, delimiter=destination.delimiter, compression=compression, entry=entry)
        elif isinstance(destination.conversion.format, OrcOptions):
            write_orc(file, payloads, destination.conversion.format)
        else:
            write_parquet(file, payloads, destination.conversion.format)

    def _sweep(self) -> None:
        """Removes staged files that no open plan refers to: their plan was never made, or is done."""
        if not self._staging.is_dir():
            return
        wanted = {one.staged for plan in self._lane.plans.values() for one in plan.objects}
        for path in self._staging.iterdir():
            if path.name not in wanted:
                path.unlink()

    async def _again(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Tries until it works, with a pause that doubles: nothing is lost while a store or a disk is away, only late."""
        pause_s = self._retry_s
        while True:
            try:
                return await attempt()
            except Exception as error:
                log.warning("%s: %s failed, again in %.1f s: %s", self._lane.title, what, pause_s, error)
            await self._clock.sleep(pause_s)
            pause_s = min(pause_s * 2, max(PAUSE_S_MAX, self._retry_s))


def _coverage(chunk: Chunk) -> tuple[Coverage, ...]:
    by_shard: dict[str, list[Piece]] = defaultdict(list)
    for piece in chunk.pieces:
        by_shard[piece.shard].append(piece)
    return tuple(_covered(shard, pieces) for shard, pieces in sorted(by_shard.items()))


def _covered(shard: str, pieces: Sequence[Piece]) -> Coverage:
    offsets = np.concatenate([piece.offsets for piece in pieces])
    if all(piece.subs is None for piece in pieces):
        return Coverage.of_offsets(shard, offsets)
    alone = [(np.zeros(len(p.offsets), np.int32), np.ones(len(p.offsets), np.int32)) for p in pieces]
    subs = np.concatenate([zero if p.subs is None else p.subs for p, (zero, _) in zip(pieces, alone, strict=True)])
    counts = np.concatenate([one if p.counts is None else p.counts for p, (_, one) in zip(pieces, alone, strict=True)])
    return Coverage.of_parts(shard, offsets, subs, counts)
