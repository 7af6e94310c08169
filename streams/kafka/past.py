"""What a shard holds already, as far as an append must know: its latest arrival, and the last append of each producer.

Both are in the partition itself. The marks are read from its records: those of the last `MARKS_MS` before the newest one
when a gateway first needs them, and from there on whatever others append between its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka.errors import OffsetOutOfRangeError

from streams.core.records import ProducerMark
from streams.kafka.cluster import EARLIEST, LATEST, Cluster
from streams.kafka.codec import decode
from streams.kafka.places import Place
from streams.log.copying import Part
from streams.log.marks import Marks

MARKS_MS = 900_000
"""How far back a gateway that starts looks for marks, from the newest record on: a retry comes within minutes of its first
try, and a shard that takes 1 MB/s has 900 MB in these."""

READ_SIZE = 8 << 20


class Past:
    """Of the shard at `place`."""

    def __init__(self, cluster: Cluster, shard: str, place: Place) -> None:
        self.marks = Marks()
        self._cluster = cluster
        self._shard = shard
        self._place = place
        self._arrival_ms: int | None = None
        self._covered: int | None = None
        """All marks of records from the first look up to here are known."""

    async def arrival_ms(self) -> int:
        """That of the newest record; 0 where there is none. Afterwards this process's own appends are followed."""
        if self._arrival_ms is None:
            self._arrival_ms = await self._newest_ms()
        return self._arrival_ms

    async def catch_up(self) -> None:
        """The marks of all records that are there now are known."""
        next_ = await self._cluster.offset(self._place, LATEST)
        if self._covered is None:
            self._covered = await self._begin(next_)
        while self._covered < next_:
            for part in await self._read(self._covered):
                for mark, first in part.marks:
                    if first >= self._covered:
                        self.marks.note(mark, first)
                self._covered = max(self._covered, part.next)

    def extend(self, first: int, count: int, arrival_ms: int, marks: Sequence[tuple[ProducerMark, int]]) -> None:
        """This process has appended."""
        self._arrival_ms = arrival_ms
        if first == self._covered:
            self._covered += count
            for mark, at in marks:
                self.marks.note(mark, at)

    async def _newest_ms(self) -> int:
        next_ = await self._cluster.offset(self._place, LATEST)
        first = await self._cluster.offset(self._place, EARLIEST)
        if first >= next_:
            return 0
        parts = await self._read(next_ - 1)
        return int(parts[-1].records.arrival_ms().max()) if parts else 0

    async def _begin(self, next_: int) -> int:
        newest_ms = await self._newest_ms()
        found = await self._cluster.offset(self._place, max(0, newest_ms - MARKS_MS))
        return next_ if found < 0 else found

    async def _read(self, offset: int) -> list[Part]:
        try:
            fetched = await self._cluster.fetch(self._place, offset, READ_SIZE)
        except OffsetOutOfRangeError:
            # Trimmed meanwhile: what is left begins later.
            first = await self._cluster.offset(self._place, EARLIEST)
            if first <= offset:
                return []
            self._covered = first if self._covered is None else max(self._covered, first)
            return []
        return list(decode(fetched.data, self._shard))
