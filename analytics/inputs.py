"""Inputs: the Kinesis streams that an application reads, and how their records become rows with a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from analytics import faults
from analytics.frontier import FUTURE_MS, InputTime, TimeRule
from analytics.mapping import Mapping
from analytics.processing import Processed, Processor
from analytics.relation import Relation
from connectors.delivered.archive import Archive
from connectors.formats.json import decode_json, infer_columns
from connectors.formats.schema import Column, Decoded, RowFault
from connectors.kafka_clusters import TopicAt
from streams.core.records import Batch
from streams.core.sequence import of_record
from streams.core.shards import Shard
from streams.sdk.client import FETCH_SIZE_MAX, TRIM_HORIZON, Readable, Start
from streams.sdk.lineage import Lineage

SOURCE = "SOURCE_SQL_STREAM_001"
MS = pa.timestamp("ms")

ARRIVAL = "arrival"

FAILED = "the function answered ProcessingFailed for the record"

SAMPLE_SIZE = 1 << 20
"""Bytes of records that columns are found in: some thousand records."""


@dataclass(frozen=True, slots=True)
class Input:
    """The Kinesis stream `stream` as the in-application stream `name`; or the Kafka `topic`, which is then called so.

    columns       what its JSON records hold, named exactly as SQL must name them; None: found in the first records
    start         where to begin when the application has no state yet
    rowtime       "arrival", or the column (a TIMESTAMP) whose value is the row's ROWTIME
    lateness_ms   with a column: how far a row may lie behind the latest one before it; more is late
    idle_ms       with a column: a shard without a row for so long holds time back no longer; None: for ever
    future_ms     with a column: how far ahead of the clock a row may lie; more is refused
    mapping       how records become the columns; None: one JSON object each
    processor     a function that records go through before
    share         (n, of): only every of-th shard, from the n-th on, so that several inputs share a stream
    history       where records are that the stream no longer holds: opened and closed with the application
    """

    stream: str
    name: str = SOURCE
    columns: Sequence[Column] | None = None
    start: Start = TRIM_HORIZON
    rowtime: str = ARRIVAL
    lateness_ms: int = 0
    idle_ms: int | None = None
    future_ms: int = FUTURE_MS
    mapping: Mapping | None = None
    processor: Processor | None = None
    share: tuple[int, int] = (0, 1)
    history: Archive | None = None
    topic: TopicAt | None = None

    @property
    def rule(self) -> TimeRule:
        column = None if self.rowtime == ARRIVAL else self.rowtime
        return TimeRule(column, self.lateness_ms, self.idle_ms, self.future_ms)


async def discover_columns(client: Readable, stream: str) -> list[Column]:
    """The columns of the first records that the stream still has. Empty for an empty stream."""
    positions = await client.find(stream, TRIM_HORIZON)
    fetch = await client.fetch(stream, positions, size_max=SAMPLE_SIZE)
    data = [batch.records.data for batch in fetch.batches if len(batch)]
    return infer_columns(pa.concat_arrays(data)) if data else []


@dataclass(slots=True)
class Rows:
    """What some records became: rows of ``rt``, ``c…`` and ``h_…``, and rows of the error stream."""

    table: pa.Table
    faulty: pa.Table


@dataclass(slots=True)
class Decoder:
    """Makes rows of records. Decodes only the columns that some query uses, once for all of them."""

    input: Input
    relation: Relation
    columns: Sequence[Column]
    time: InputTime
    shards: dict[str, Shard] = field(default_factory=dict)
    _wanted: list[tuple[str, Column]] = field(init=False)
    _numbers: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._numbers = [
            number
            for number, column in enumerate(self.columns)
            if f"c{number}" in self.relation.used or column.name == self.time.rule.column
        ]
        self._wanted = [(f"c{number}", self.columns[number]) for number in self._numbers]

    @property
    def wanted(self) -> list[Column]:
        """The columns that it reads."""
        return [column for _, column in self._wanted]

    def parse(self, batch: Batch, processed: Processed | None) -> Decoded:
        """The values of the columns; any thread may do it, in any order. `processed` is what a function made of the
        batch."""
        if processed is None:
            return self.decode(batch.records.data)
        decoded = self.decode(processed.data)
        failed = [RowFault(number, "ProcessingFailed", FAILED) for number in processed.failed]
        return Decoded(
            decoded.rows,
            pa.array(processed.source[decoded.source.to_numpy()]),
            (*(replace(fault, index=int(processed.source[fault.index])) for fault in decoded.faults), *failed),
        )

    def decode(self, data: pa.Array) -> Decoded:
        """The same for records that no function has seen."""
        if self.input.mapping is not None:
            return self.input.mapping.decode(data, self._numbers)
        return decode_json(data, [column for _, column in self._wanted])

    def rows(self, batch: Batch, decoded: Decoded, now_ms: int) -> Rows:
        """`batch` holds records of one shard, the next ones in its order."""
        rows = pa.Table.from_batches([decoded.rows.rename_columns([physical for physical, _ in self._wanted])])
        source = decoded.source.to_numpy()
        arrival = batch.records.arrival_ms()[source]
        faulty = [
            faults.rows(
                now_ms,
                [f.code for f in decoded.faults],
                [f.message for f in decoded.faults],
                [int(batch.records.arrival_ms()[f.index]) for f in decoded.faults],
                [batch.records.data[f.index].as_py() for f in decoded.faults],
            )
        ]
        times, valid = arrival, np.ones(len(rows), bool)
        if self.time.rule.column is not None:
            physical = next(physical for physical, column in self._wanted if column.name == self.time.rule.column)
            event = rows.column(physical).combine_chunks()
            times = event.cast(pa.int64()).fill_null(0).to_numpy()
            if event.null_count:
                valid = event.is_valid().to_numpy(zero_copy_only=False)
                message = f"the row has no {self.time.rule.column}, which is its ROWTIME"
                faulty.append(self._refused(batch, source, arrival, ~valid, "MissingRowtime", message, now_ms))
        admitted, late, future = self.time.admit(batch.shard, times if valid.all() else times[valid], now_ms)
        keep = valid.copy()
        for bad, name, message in (
            (late, "LateRow", "the row is behind the time that the stream has reached"),
            (future, "FutureRow", "the row's time is too far ahead of the clock"),
        ):
            if bad.any():
                mask = np.zeros(len(rows), bool)
                mask[np.flatnonzero(valid)[bad]] = True
                faulty.append(self._refused(batch, source, times, mask, name, message, now_ms))
                keep &= ~mask
        if not keep.all():
            admitted = admitted[~(late | future)]
            rows, source = rows.filter(pa.array(keep)), source[keep]
        rt = pa.array(admitted).cast(MS)
        rows = rows.append_column("rt", rt)
        return Rows(self._hidden(rows, batch, source), pa.concat_tables(faulty))

    def _refused(
        self,
        batch: Batch,
        source: np.ndarray,
        times: np.ndarray,
        mask: np.ndarray,
        name: str,
        message: str,
        now_ms: int,
    ) -> pa.Table:
        records = batch.records.data.take(pa.array(source[mask])).to_pylist()
        count = len(records)
        return faults.rows(now_ms, [name] * count, [message] * count, times[mask].tolist(), records)

    def _hidden(self, rows: pa.Table, batch: Batch, source: np.ndarray) -> pa.Table:
        used, arrival = self.relation.used, batch.records.arrival_ms()
        if "h_arrival" in used:
            rows = rows.append_column("h_arrival", pa.array(arrival[source]).cast(MS))
        if "h_shard" in used:
            rows = rows.append_column("h_shard", pa.array([batch.shard] * len(rows), pa.string()))
        if "h_key" in used:
            rows = rows.append_column("h_key", batch.records.partition_key.take(pa.array(source)))
        if "h_sequence" in used:
            shard, offsets = self.shards[batch.shard], batch.offsets
            numbers = [
                str(of_record(shard.created_ms, shard.index, int(offsets[at]), int(arrival[at]))) for at in source
            ]
            rows = rows.append_column("h_sequence", pa.array(numbers, pa.string()))
        return rows


class Reader:
    """The records of one input in micro-batches, by shard in order, through any resharding."""

    def __init__(self, client: Readable, input: Input, positions: dict[str, int]) -> None:
        self._client = client
        self._input = input
        self._lineage = Lineage(positions)
        self._tips: dict[str, int] = {}
        self.taken = dict(positions)
        self.checked_ms = 0
        self.shards: dict[str, Shard] = {}
        """Every shard that it has met."""

    @property
    def stream(self) -> str:
        return self._input.stream

    @property
    def reading(self) -> set[str]:
        """Shards that are open to be read now."""
        return set(self._lineage.reading)

    @property
    def behind(self) -> set[str]:
        """Shards of which more records are known than were taken, and those that nobody has asked for theirs yet: children
        of a shard that has just ended."""
        unasked = 1 << 62
        return {shard for shard in self._lineage.reading if self.taken.get(shard, 0) < self._tips.get(shard, unasked)}

    @property
    def more(self) -> bool:
        """Whether more records are known than were read."""
        return any(at < self._tips.get(shard, 0) for shard, at in self._lineage.reading.items())

    @property
    def backlog(self) -> int:
        """Records that are known and were not taken."""
        return sum(max(0, tip - self.taken.get(shard, 0)) for shard, tip in self._tips.items())

    async def open(self) -> None:
        """Finds where to begin, unless it is known."""
        if not self._lineage.positions:
            self._lineage = Lineage(await self._client.find(self._input.stream, self._input.start))
        await self._describe()
        self.taken = dict(self._lineage.positions)

    async def tips(self) -> dict[str, int]:
        """Where each shard ends now."""
        fetch = await self._client.fetch(self._input.stream, self._lineage.positions, size_max=1)
        return dict(fetch.tips)

    async def poll(self, now_ms: int, wait_ms: int, size_max: int = FETCH_SIZE_MAX) -> list[Batch]:
        """The next records, at most `size_max` bytes. Waits `wait_ms` for the first of them."""
        if not self._lineage.reading:
            await self._describe()
        fetch = await self._client.fetch(self._input.stream, self._lineage.reading, size_max=size_max, wait_ms=wait_ms)
        self._tips |= fetch.tips
        self.checked_ms = now_ms
        for batch in fetch.batches:
            self._lineage.advance(batch.shard, batch.next)
        for shard in fetch.ended:
            self._lineage.end(shard)
        if fetch.ended or fetch.grown:
            await self._describe()
        return [batch for batch in fetch.batches if len(batch)]

    async def _describe(self) -> None:
        first, of = self._input.share
        description = await self._client.describe_stream(self._input.stream)
        shards = [shard for shard in description.shards if shard.index % of == first]
        self.shards |= {shard.id: shard for shard in shards}
        self._lineage.describe(shards)

    def took(self, batch: Batch) -> None:
        """`batch` is part of the micro-batch that is being committed."""
        self.taken[batch.shard] = batch.next
