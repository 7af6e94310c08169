"""From the records of a batch to pieces for the buffer, in AWS's order: taking records apart, function, partition keys,
format conversion.

Every record of a batch comes out exactly once: in a piece of a partition, in a piece of an error output (with its
original bytes), or as dropped.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from firehose import requests
from firehose.buffer import DROPPED, Partition, Piece
from firehose.configuration import Destination
from firehose.drift import UNKNOWN_KEYS, DriftReader
from firehose.errors import CONVERSION, PROCESSING, CatalogTable, Fault, conversion_line, processing_line
from firehose.events import DIRECT_PUT, KINESIS
from firehose.partitions import ACTIVE_MAX_OF_AWS, Partitioner
from firehose.query import Keys, Query
from firehose.replays import attempts_of
from firehose.splitting import Split, split
from firehose.stream import Lane
from firehose.transform import TOO_LARGE, Transform, Transformed, binary
from streams.core import sequence
from streams.core.clock import Clock
from streams.core.records import Records
from streams.core.shards import Shard

CALLS_MAX = 5
"""Calls of the function at once for one shard, as on AWS."""


_CODES = {"CoercionError": "MalformedData", UNKNOWN_KEYS: "UnknownKeys"}
"""AWS's codes of rows that fail, and one of ours; all others are a ParseError."""


@dataclass(slots=True, eq=False)
class _Work:
    """Records on their way: record i of the batch is at ``data[j]`` for ``index[j] == i``, with its partition keys from
    the function (`keys`) and from the query (`asked`)."""

    data: pa.Array
    index: np.ndarray
    keys: list[dict[str, Any] | None] | None = None
    asked: list[Keys] | None = None


class Pipeline:
    """What one delivery stream does to its records. `rows` reads them where rows are written; of a read no more partitions
    come than make `active_max` with those that are active. More than AWS's share the memory of their records."""

    def __init__(
        self,
        lane: Lane,
        destination: Destination,
        clock: Clock,
        *,
        transform: Transform | None = None,
        query: Query | None = None,
        rows: DriftReader | None = None,
        active_max: int = ACTIVE_MAX_OF_AWS,
    ) -> None:
        self._lane = lane
        self._destination = destination
        self._clock = clock
        self._transform = transform
        self._query = query
        self._rows = rows
        self._partitioner = Partitioner(destination, active_max) if destination.partitioned else None
        self._shared = active_max > ACTIVE_MAX_OF_AWS
        self._calls = asyncio.Semaphore(CALLS_MAX)
        # Behind a Kinesis stream KPL aggregates are taken apart without being asked, as on AWS.
        self._aggregates = lane.stream.created.type == KINESIS
        # Elsewhere than behind direct puts, partition keys are the producers' own.
        self._replays = lane.stream.created.type == DIRECT_PUT

    async def process(
        self, shard: Shard, offsets: np.ndarray, records: Records, active: Collection[Partition]
    ) -> list[Piece]:
        """`offsets` (int64) are those of `records`; `active` are the partitions that the buffer holds now."""
        batch = await self._split(shard, offsets, records)
        whole = np.arange(len(batch.records))
        if batch.faults:
            whole = np.setdiff1d(whole, np.array([fault.index for fault in batch.faults], np.int64))
        going = batch.records if len(whole) == len(batch.records) else batch.records.take(pa.array(whole))
        dropped: list[int] = []
        faults = batch.faults
        if self._transform is None:
            work = _Work(going.data, whole)
        else:
            large = self._transform.too_large(going)
            if len(large):
                faults = faults + [
                    Fault(int(whole[at]), PROCESSING, "Lambda.RequestTooLarge", TOO_LARGE, 0) for at in large
                ]
                whole = np.delete(whole, large)
                going = batch.records.take(pa.array(whole))
            done = await self._transformed(self._transform, shard, batch, going, whole)
            work = _Work(binary(done.data), np.array(done.index, np.int64), done.keys)
            dropped, faults = done.dropped, faults + done.faults
        if self._query is not None:
            work.asked = await self._query.run(work.data)
        if self._rows is not None:
            await self._rows.prepare(work.data)
        if self._rows is None and self._partitioner is None and not faults:
            return self._pieces(shard, batch, work, dropped, faults, active)
        return await asyncio.to_thread(self._pieces, shard, batch, work, dropped, faults, active)

    async def _split(self, shard: Shard, offsets: np.ndarray, records: Records) -> Split:
        """Without the parts of records that have been settled before."""
        steps = self._destination.splitting

        def apart() -> Split:
            return split(shard, offsets, records, steps, aggregates=self._aggregates)

        batch = await asyncio.to_thread(apart) if steps.any else apart()
        if batch.parts is None:
            return batch
        return batch.keep(self._lane.ledger(shard.id).unsettled_parts(*batch.parts))

    async def _transformed(
        self, transform: Transform, shard: Shard, batch: Split, records: Records, whole: np.ndarray
    ) -> Transformed:
        """What the function makes of `records`, which stand at the places `whole` of the batch."""
        offsets = batch.offsets[whole]
        subs = None if batch.subs is None else batch.subs[whole]

        async def call(first: int, following: int) -> Transformed:
            async with self._calls:
                part = records.slice(first, following - first)
                places = None if subs is None else subs[first:following]
                return await transform.run(shard, offsets[first:following], places, part, first)

        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(call(*bounds)) for bounds in transform.slices(records)]
        done = Transformed()
        at = whole.tolist()
        for part in (task.result() for task in calls):
            done.data += part.data
            done.index += [at[index] for index in part.index]
            done.keys += part.keys
            done.dropped += [at[index] for index in part.dropped]
            done.faults += [replace(fault, index=at[fault.index]) for fault in part.faults]
        return done

    def _pieces(
        self,
        shard: Shard,
        batch: Split,
        work: _Work,
        dropped: list[int],
        faults: list[Fault],
        active: Collection[Partition],
    ) -> list[Piece]:
        groups = self._grouped(work, faults, active)
        cut = _Cutter(shard, batch, attempts_of(batch.records.partition_key) if self._replays else None)
        pieces = []
        rows_of = None if self._rows is None else self._converted(work, faults)
        if rows_of is not None:
            rows, place = rows_of
            fitting = ((partition, chosen[place[chosen] >= 0]) for partition, chosen in groups)
            groups = [(partition, chosen) for partition, chosen in fitting if len(chosen)]
            payloads = self._taken(rows, [place[chosen] for _, chosen in groups])
        else:
            payloads = self._taken(work.data, [chosen for _, chosen in groups])
        sizes = _sizes(work.data)
        for (partition, chosen), payload in zip(groups, payloads, strict=True):
            if self._destination.endpoint is not None:
                payload = _addressed(shard, batch, cut, work.index[chosen], payload, self._originals(batch))
            pieces.append(cut.piece(partition, work.index[chosen], payload, int(sizes[chosen].sum())))
        if dropped:
            pieces.append(cut.piece(Partition(DROPPED), np.array(dropped, np.int64)))
        if len(batch.empty):
            now_ms = self._clock.now_ms()
            pieces.append(Piece(Partition(DROPPED), shard.id, batch.empty, None, 0, now_ms, now_ms))
        return pieces + self._failed(shard, batch, cut, faults)

    def _taken(self, values: Any, groups: Sequence[np.ndarray]) -> Iterator[Any]:
        """For each group those of `values` (an array or a batch) at its places."""
        if self._shared and groups:
            sorted_ = values.take(pa.array(np.concatenate(groups)))
            for end, group in zip(np.cumsum([len(group) for group in groups]).tolist(), groups, strict=True):
                yield sorted_.slice(end - len(group), len(group))
        else:
            for group in groups:
                yield values if len(group) == len(values) else values.take(pa.array(group))

    def _grouped(
        self, work: _Work, faults: list[Fault], active: Collection[Partition]
    ) -> list[tuple[Partition, np.ndarray]]:
        """(partition, places in `work`) of the records that have one; the others become faults."""
        everything = np.arange(len(work.data))
        if not len(everything):
            return []
        if self._partitioner is None:
            return [(Partition(), everything)]
        return self._partitioner.group(work.data, work.index, work.keys, work.asked, faults, active)

    def _originals(self, batch: Split) -> pa.Array | None:
        """None where nothing has changed the records."""
        if batch.raw is not None:
            return batch.raw
        return None if self._transform is None else batch.records.data

    def _converted(self, work: _Work, faults: list[Fault]) -> tuple[pa.RecordBatch, np.ndarray]:
        """The rows, and for each place in `work` the row's place among them (-1: it has none)."""
        assert self._rows is not None
        decoded = self._rows.read(work.data)
        failed = {fault.index for fault in faults}
        for fault in decoded.faults:
            index = int(work.index[fault.index])
            if index not in failed:  # a record without a partition has failed already
                code = _CODES.get(fault.code, "ParseError")
                faults.append(Fault(index, CONVERSION, f"DataFormatConversion.{code}", fault.message))
        place = np.full(len(work.data), -1, np.int64)
        place[decoded.source.to_numpy()] = np.arange(decoded.rows.num_rows)
        return decoded.rows, place

    def _failed(self, shard: Shard, batch: Split, cut: _Cutter, faults: Sequence[Fault]) -> list[Piece]:
        """One piece for each type of error output."""
        by_kind: dict[str, list[Fault]] = defaultdict(list)
        for fault in faults:
            by_kind[fault.kind].append(fault)
        pieces = []
        for kind, failed in by_kind.items():
            lines = [self._line(shard, batch, cut, fault) for fault in failed]
            index = np.array([fault.index for fault in failed], np.int64)
            pieces.append(cut.piece(Partition(kind), index, binary(lines), sum(map(len, lines))))
        return pieces

    def _line(self, shard: Shard, batch: Split, cut: _Cutter, fault: Fault) -> bytes:
        now_ms, index = self._clock.now_ms(), fault.index
        raw, arrival_ms = batch.original(index), int(cut.arrivals[index])
        if cut.attempts is not None:
            fault = replace(fault, attempts=fault.attempts + int(cut.attempts[index]))
        if fault.kind == CONVERSION:
            number = sequence.of_record(shard.created_ms, shard.index, int(batch.offsets[index]), arrival_ms)
            sub = None if batch.subs is None else int(batch.subs[index])
            return conversion_line(fault, arrival_ms, now_ms, raw, str(number), sub, self._catalog_table())
        function = self._destination.function
        arn = function.arn if function is not None and fault.kind == PROCESSING else None
        return processing_line(fault, arrival_ms, now_ms, raw, arn)

    def _catalog_table(self) -> CatalogTable:
        scope = self._lane.scope
        assert self._destination.conversion is not None
        database, table = self._destination.conversion.table
        arn = f"arn:aws:glue:{scope.region}:{scope.account}:catalog"
        version = self._lane.stream.created.table_version
        return CatalogTable(scope.account, database, table, scope.region, version, arn)


class _Cutter:
    """Makes pieces of a batch's records."""

    def __init__(self, shard: Shard, batch: Split, attempts: np.ndarray | None) -> None:
        self._shard = shard
        self._batch = batch
        self.arrivals = batch.records.arrival_ms()
        self.attempts = attempts
        """How often each record was tried before, where one was."""

    def piece(self, partition: Partition, index: np.ndarray, payload: Any = None, size: int = 0) -> Piece:
        batch = self._batch
        arrivals = self.arrivals[index]
        times = int(arrivals.min()), int(arrivals.max())
        subs = None if batch.subs is None else batch.subs[index]
        counts = None if batch.counts is None else batch.counts[index]
        return Piece(partition, self._shard.id, batch.offsets[index], payload, size, *times, subs, counts, arrivals)


def _addressed(
    shard: Shard, batch: Split, cut: _Cutter, index: np.ndarray, data: pa.Array, raw: pa.Array | None
) -> pa.RecordBatch:
    """Records with what an endpoint's error output tells about each; `raw` are all of the batch's, where `data` are not
    as the source had them."""
    arrivals, offsets = cut.arrivals[index], batch.offsets[index]
    subs = np.zeros(len(index), np.int32) if batch.subs is None else batch.subs[index]
    ids = [
        f"{sequence.of_record(shard.created_ms, shard.index, offset, arrival)}.{sub}"
        for offset, arrival, sub in zip(offsets.tolist(), arrivals.tolist(), subs.tolist(), strict=True)
    ]
    raw = data if raw is None else raw.take(pa.array(index))
    attempts = np.zeros(len(index), np.int64) if cut.attempts is None else cut.attempts[index]
    columns = [data, pa.array(arrivals), pa.array(ids, pa.string()), raw, pa.array(attempts)]
    return pa.RecordBatch.from_arrays(columns, schema=requests.SCHEMA)


def _sizes(data: pa.Array) -> np.ndarray:
    """Bytes of each value of a binary array."""
    return np.diff(np.frombuffer(data.buffers()[1], np.int32, len(data) + 1, data.offset * 4))
