"""What a log no longer holds, read from the objects that a delivery stream wrote: records by shard and offset, as the log had
them.

A record that the delivery stream converted comes back as a JSON object of the table's columns; partition keys are in no
object and come back empty. Arrivals are what the log wrote. What went to the error output comes back as it was.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from connectors.delivered.contract import ORC, PARQUET, Contents, Entry, Hole, Index, Run
from connectors.delivered.records import column_of
from connectors.delivered.unpacking import DISK_SIZE_MAX, Part, Unpacking, Unreadable, times_of
from streams.core.errors import HeadraceError
from streams.core.records import Batch, Records
from streams.core.shards import Shard

ROWS_MAX = 16_384
"""Records of one batch."""
CONTENTS_MAX = 16
"""Contents of objects that are kept: each takes up to some hundred kilobytes."""


class Deliveries(Protocol):
    """Who knows what a delivery stream has delivered. Both raise `HeadraceError`, also for a name that is none."""

    async def index(self, delivery_stream: str) -> Index: ...

    async def contents(self, delivery_stream: str, place: str) -> Contents: ...


class HistoryGap(HeadraceError):
    """Records are neither in the log nor in an object."""


class Archive:
    """Of one delivery stream. Objects are unpacked in `folder` (see `connectors.delivered.unpacking`), by default a
    temporary one, where they may take `size_max` bytes. `open` it, `close` it."""

    def __init__(
        self,
        deliveries: Deliveries,
        delivery_stream: str,
        *,
        folder: Path | None = None,
        size_max: int = DISK_SIZE_MAX,
    ) -> None:
        self._deliveries = deliveries
        self._name = delivery_stream
        self._keys: frozenset[str] = frozenset()
        self._temporary = None if folder is not None else tempfile.TemporaryDirectory(prefix="headrace-delivered-")
        self._unpacking = Unpacking(
            Path(self._temporary.name if self._temporary else str(folder)) / "objects", size_max
        )
        self._contents: dict[str, Contents] = {}
        self._using = asyncio.Lock()
        self._checked = True
        self._by_shard: dict[str, _Objects] = {}
        self.shards: dict[str, Shard] = {}

    async def open(self) -> None:
        """Asks what there is, also again."""
        self._index = await self._deliveries.index(self._name)
        self._by_shard = {}
        for entry in self._index.objects:
            for shard in entry.shards:
                self._by_shard.setdefault(shard, _Objects(shard)).add(entry)
        self.shards = {entry.id: entry.shard() for entry in self._index.shards}

    def look_for(self, keys: Collection[str]) -> None:
        """The keys that a reader looks for in records, as it spells them: columns of tables are called so. Before reading."""
        self._keys, self._checked = frozenset(keys), not keys
        self._unpacking.spell(self._keys)

    @property
    def tables(self) -> bool:
        """Whether objects hold rows of a table, and not the records themselves."""
        return any(entry.form in (PARQUET, ORC) for entry in self._index.objects)

    def close(self) -> None:
        self._unpacking.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def name(self) -> str:
        return self._name

    @property
    def stream(self) -> str:
        """The source."""
        return self._index.stream

    @property
    def stream_id(self) -> str:
        return self._index.stream_id

    def runs(self, shard: str) -> list[Run]:
        return self._index.runs.get(shard, [])

    def first(self, shard: str) -> int | None:
        """The first record; where none can be read back, the first of those; None where nothing was delivered."""
        return next((each.first for each in (*self.runs(shard), *self._index.holes.get(shard, ()))), None)

    def end(self, shard: str) -> int:
        """The offset after the last record."""
        return max((run.next for run in self.runs(shard)), default=0)

    def run(self, shard: str, offset: int) -> Run | None:
        """The run that has the record."""
        return next((run for run in self.runs(shard) if run.first <= offset < run.next), None)

    def gap(self, shard: str, offset: int, until: int) -> HistoryGap | None:
        """What is wrong with reading [offset, until) here; None: nothing."""
        at = offset
        while at < until:
            run = self.run(shard, at)
            if run is None:
                following = [each.first for each in self.runs(shard) if each.first > at]
                end = min([until, *following])
                return HistoryGap(self._told(shard, at, end))
            at = run.next
        return None

    def _told(self, shard: str, first: int, end: int) -> str:
        runs, holes = self.runs(shard), self._index.holes.get(shard, [])
        what = (
            f"records {first:,} to {end - 1:,} of {shard} of stream {self.stream}"
            if end > first + 1
            else (f"record {first:,} of {shard} of stream {self.stream}")
        )
        hole: Hole | None = next((each for each in holes if each.first < end and each.next > first), None)
        if hole is not None:
            why = hole.why
        elif not runs:
            why = "it has delivered nothing of this shard that can be read back"
        elif first < runs[0].first:
            why = f"its first object begins at offset {runs[0].first:,}"
        else:
            why = f"it has delivered up to offset {runs[-1].next:,}"
        return (
            f"{what} {'are' if end > first + 1 else 'is'} neither in the log nor in an object of delivery stream"
            f" {self._name}: {why}"
        )

    async def read(self, shard: str, offset: int, until: int, size_max: int) -> Batch:
        """Records of a shard from `offset` on, at least one and none from `until` on. Raises `HistoryGap`, `Unreadable`."""
        run = self.run(shard, offset)
        if run is None:
            found = self.gap(shard, offset, until)
            assert found is not None, "no run has it"
            raise found
        end = min(run.next, until, offset + ROWS_MAX)
        async with self._using:
            if not self._checked:
                await self._check()
            entries = self._by_shard[shard].within(offset, end)
            parts = [await self._part(entry, shard) for entry in entries]
            batch = await asyncio.to_thread(_gathered, shard, offset, end, size_max, parts)
            if not len(batch):
                where = ", ".join(entry.key for entry in entries) or "there are none"
                raise Unreadable(
                    f"record {offset:,} of {shard} is not in the objects of delivery stream {self._name} that have those"
                    f" around it: {where}"
                )
            for entry in entries:
                if len(entry.shards) == 1 and entry.shards[shard][1] <= batch.next:
                    self._unpacking.forget(entry.key)
            return batch

    async def find(self, shard: str, arrival_ms: int, first: int, until: int) -> int:
        """The first record of [first, until) that arrived at that time or later; `until` if none did. Arrivals never go
        back in a shard."""
        for entry in self._by_shard[shard].within(first, until) if shard in self._by_shard else ():
            if entry.newest_ms < arrival_ms:
                continue
            contents = await self._known(entry)
            offsets, arrivals = await asyncio.to_thread(times_of, contents, shard)
            late = offsets[(arrivals >= arrival_ms) & (offsets >= first)]
            if len(late):
                return min(int(late.min()), until)
        return until

    async def _known(self, entry: Entry) -> Contents:
        if entry.place not in self._contents:
            self._contents[entry.place] = await self._deliveries.contents(self._name, entry.place)
            while len(self._contents) > CONTENTS_MAX:
                self._contents.pop(next(iter(self._contents)))
        return self._contents[entry.place]

    async def _check(self) -> None:
        """Whether the table has the columns that the reader looks for: older objects may lack some that came later."""
        tables = [entry for entry in self._index.objects if entry.form in (PARQUET, ORC)]
        if tables:
            contents = await self._known(tables[-1])
            columns = await asyncio.to_thread(self._unpacking.columns, contents) or []
            for key in self._keys:
                if column_of(key, columns) is None:
                    raise Unreadable(
                        f"the objects of delivery stream {self._name} have no column {key}, which the input reads: their"
                        f" table has {', '.join(columns)}"
                    )
        self._checked = True

    async def _part(self, entry: Entry, shard: str) -> Part:
        found = self._unpacking.part(entry.key, shard)
        if found is None:
            await asyncio.to_thread(self._unpacking.unpack, await self._known(entry))
            found = self._unpacking.part(entry.key, shard)
            assert found is not None, "the last one that was unpacked makes room for nobody"
        return found


def _gathered(shard: str, offset: int, end: int, size_max: int, parts: Sequence[Part]) -> Batch:
    """The records of [offset, end) as far as they are there without a gap, up to `size_max` bytes but at least one."""
    offsets, arrivals, data = [], [], []
    for part in parts:
        first, last = np.searchsorted(part.offsets, [offset, end]).tolist()
        if first < last:
            offsets.append(part.offsets[first:last])
            arrivals.append(part.arrivals[first:last])
            data.append(part.slice(first, last))
    if not offsets:
        return Batch(shard, offset, offset, Records.empty())
    places, times = np.concatenate(offsets), np.concatenate(arrivals)
    values = data[0] if len(data) == 1 else pa.concat_arrays(data)
    if len(data) > 1:
        places, order = np.unique(places, return_index=True)
        times, values = times[order], values.take(pa.array(order))
    wrong = np.flatnonzero(places != np.arange(offset, offset + len(places)))
    count = int(wrong[0]) if len(wrong) else len(places)
    keys = pa.repeat(pa.scalar("", pa.string()), count)
    records = Records(values.slice(0, count), keys).with_arrival(times[:count])
    records = records.slice(0, records.count_within(size_max))
    return Batch(shard, offset, offset + len(records), records)


class _Objects:
    """Those of one shard, by their first offsets."""

    def __init__(self, shard: str) -> None:
        self._shard = shard
        self._entries: list[Entry] = []
        self._bounds: np.ndarray | None = None

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._bounds = None

    def within(self, first: int, end: int) -> list[Entry]:
        """The objects that may have records of [first, end), in order."""
        if self._bounds is None:
            self._entries.sort(key=lambda entry: entry.shards[self._shard])
            self._bounds = np.array([entry.shards[self._shard] for entry in self._entries], np.int64).reshape(-1, 2)
        hits = (self._bounds[:, 0] < end) & (self._bounds[:, 1] > first)
        return [self._entries[place] for place in np.flatnonzero(hits).tolist()]
