"""Staging: every object is encoded and sealed into a file of its own, and synced, before anybody hears of it."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
import pyarrow as pa

from connectors.formats.compression import ENCODINGS
from connectors.formats.lines import write_lines
from connectors.formats.orc import OrcOptions, write_orc
from connectors.formats.parquet import write_parquet
from firehose import requests
from firehose.buffer import DATA, DROPPED, Chunk, Partition, Piece
from firehose.configuration import Destination
from firehose.errors import ENDPOINT
from firehose.events import Plan, StagedObject
from firehose.layout import layout_of
from firehose.ledger import Coverage
from firehose.names import moment, object_id, object_suffix, random_string, random_strings
from firehose.partitions import keys_of
from firehose.spill import Spill
from firehose.stream import Lane
from streams.control.depot import Depot
from streams.core.clock import Clock
from streams.core.durable import sync_folder


def staging_shelf(number: int, lane: str) -> str:
    """Where in a depot the staged objects of a lane are."""
    return f"firehose/{number}/{lane}"


class Staging:
    """The folder of one lane. What is no coroutine blocks; only one `stage` runs at a time.

    With a `depot`, what is staged is there too: another process that takes the lane over finds the very bytes of a plan.
    """

    def __init__(
        self,
        folder: Path,
        lane: Lane,
        destination: Destination,
        clock: Clock,
        *,
        between: bool = False,
        depot: Depot | None = None,
        spill: Spill | None = None,
    ) -> None:
        """`between`: a delimiter stands between records, not after the last one of an object. `spill` has what chunks left
        on disk."""
        self.folder = folder
        self._lane = lane
        self._destination = destination
        self._clock = clock
        self._between = between
        self._spill = spill
        self._depot = depot
        self._shelf = staging_shelf(lane.number, lane.id)

    async def share(self, objects: Iterable[StagedObject]) -> None:
        """Others can go on with these when it returns."""
        if self._depot is not None:
            for one in objects:
                await self._depot.put(self._shelf, one.staged, self.path(one))

    async def recall(self) -> None:
        """What open plans refer to and another process has staged is here when it returns, as far as it is anywhere."""
        if self._depot is None:
            return
        wanted = [one for plan in self._lane.plans.values() for one in plan.objects if not self.path(one).exists()]
        if wanted:
            self.folder.mkdir(parents=True, exist_ok=True)
        for one in wanted:
            await self._depot.get(self._shelf, one.staged, self.path(one))

    async def forget(self, objects: Iterable[StagedObject]) -> None:
        """These are where they belong."""
        gone = list(objects)
        for one in gone:
            self.path(one).unlink(missing_ok=True)
        if self._depot is not None:
            await self._depot.remove(self._shelf, [one.staged for one in gone])

    def path(self, one: StagedObject) -> Path:
        return self.folder / one.staged

    def stage(self, chunks: Sequence[Chunk]) -> Plan:
        """What delivers `chunks`: everything it names is on disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        objects: list[StagedObject] = []
        dropped: list[Coverage] = []
        first = self._whole(chunks[0])
        identity = object_id(self._lane, first, _coverage(first))
        for chunk in map(self._whole, chunks):
            if chunk.partition.kind == DROPPED:
                dropped += _coverage(chunk)
            elif chunk.partition.kind == DATA and self._destination.endpoint is not None:
                objects += [self._stage_request(part) for part in requests.cut(chunk)]
            else:
                objects.append(self._stage_object(chunk))
        if self._spill is not None:
            self._spill.rest()
        sync_folder(self.folder)
        return Plan(str(identity), tuple(objects), tuple(dropped), self._lane.stream.splits)

    def _whole(self, chunk: Chunk) -> Chunk:
        """With all of its records, for as long as it is looked at."""
        if self._spill is None or not chunk.extents:
            return chunk
        return chunk.loaded(self._spill.read(chunk))

    def stage_failure(self, one: StagedObject, lines: pa.Array, oldest_ms: int) -> StagedObject:
        """The error output that takes the place of a request which was given up."""
        identity, partition = uuid.UUID(one.key), Partition(ENDPOINT)
        name, size, digest = self._seal(identity, lambda file: write_lines(file, [lines]))
        sync_folder(self.folder)
        key = self.key(identity, partition, oldest_ms)
        bucket = self._destination.output.bucket
        changed = {"bucket": bucket, "key": key, "staged": name, "size": size, "sha256": digest, "request": False}
        return msgspec.structs.replace(one, **changed)

    def sweep(self) -> None:
        """Removes staged files that no open plan refers to: their plan was never made, or is done."""
        if not self.folder.is_dir():
            return
        wanted = {one.staged for plan in self._lane.plans.values() for one in plan.objects}
        for path in self.folder.iterdir():
            if path.name not in wanted:
                path.unlink()

    def _stage_object(self, chunk: Chunk) -> StagedObject:
        output, coverage = self._destination.output, _coverage(chunk)
        identity = object_id(self._lane, chunk, coverage)
        name, size, digest = self._seal(identity, lambda file: self._write(file, chunk, str(identity)))
        encoding = ENCODINGS.get(output.compression) if chunk.partition.kind == DATA else None
        key = self.key(identity, chunk.partition, chunk.oldest_ms)
        return StagedObject(
            *(output.bucket, key, name, size, chunk.records, coverage, encoding, False, digest),
            *(chunk.oldest_ms, chunk.newest_ms, self._lane.version),
            layout_of(chunk, self._destination),
        )

    def _stage_request(self, chunk: Chunk) -> StagedObject:
        coverage = _coverage(chunk)
        identity = object_id(self._lane, chunk, coverage)
        request = requests.staged(str(identity), self._clock.now_ms(), chunk, self._destination.delimiter)
        name, size, digest = self._seal(identity, lambda file: file.write(requests.encode(request)))
        return StagedObject(
            *("", str(identity), name, size, chunk.records, coverage, None, True, digest),
            *(chunk.oldest_ms, chunk.newest_ms, self._lane.version),
        )

    def key(self, identity: uuid.UUID, partition: Partition, oldest_ms: int) -> str:
        """The name of an object."""
        output, data = self._destination.output, partition.kind == DATA
        at = moment(oldest_ms, output.zone)
        randomness = random_strings(identity)
        prefix = output.prefix if data else output.error_prefix
        key = prefix.evaluate(
            at, lambda: random_string(randomness), keys_of(output.prefix.keys, partition), partition.kind
        )
        return key + object_suffix(self._lane, at, identity, output.extension if data else "")

    def _seal(self, identity: uuid.UUID, write: Callable[[BinaryIO], object]) -> tuple[str, int, str]:
        """Name, size and SHA-256 of a file that is on disk."""
        # A name of its own for each attempt: one that was cancelled may still be writing in its thread.
        path = self.folder / f"{identity}.{uuid.uuid4().hex}"
        with path.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        with path.open("rb") as sealed:
            return path.name, size, hashlib.file_digest(sealed, "sha256").hexdigest()

    def _write(self, file: BinaryIO, chunk: Chunk, entry: str) -> None:
        payloads = [piece.payload for piece in chunk.pieces]
        destination = self._destination
        if chunk.partition.kind != DATA:
            write_lines(file, payloads)
        elif destination.conversion is None:
            write_lines(
                file,
                payloads,
                delimiter=destination.delimiter,
                last=not self._between,
                compression=destination.output.compression,
                entry=entry,
            )
        elif isinstance(destination.conversion.format, OrcOptions):
            write_orc(file, payloads, destination.conversion.format)
        else:
            write_parquet(file, payloads, destination.conversion.format)


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
