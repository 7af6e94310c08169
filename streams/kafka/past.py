"""What a shard holds already, as far as an append must know: its latest arrival, and the last append of each producer.

Both are in the partition itself. A process that first needs the marks takes what was written down of them last
(`remembered`), reads the records since that may have others, and from there on whatever others append between its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka.errors import OffsetOutOfRangeError

from streams.core.records import ProducerMark
from streams.kafka.cluster import EARLIEST, LATEST, Cluster
from streams.kafka.codec import decode
from streams.kafka.places import Place
from streams.kafka.remembered import SAVE_MS, Kept, Remembered
from streams.log.copying import Part
from streams.log.marks import Marks

SLACK_MS = 300_000
"""How far the clocks of processes may be apart, for the marks that a dead one had not written down."""

MARKS_MS = 900_000
"""How far back a process looks, from the newest record on, in a shard of which nothing was ever written down."""

READ_SIZE = 8 << 20


class Past:
    """Of the shard at `place`."""

    def __init__(self, cluster: Cluster, shard: str, place: Place, remembered: Remembered) -> None:
        self.marks = Marks()
        self._cluster = cluster
        self._shard = shard
        self._place = place
        self._remembered = remembered
        self._arrival_ms: int | None = None
        self._covered: int | None = None
        """All marks of records below are known."""
        self._saved_ms: int | None = None

    async def arrival_ms(self) -> int:
        """That of the newest record; 0 where there is none. Afterwards this process's own appends are followed."""
        if self._arrival_ms is None:
            self._arrival_ms = await self._newest_ms()
        return self._arrival_ms

    async def catch_up(self) -> None:
        """The marks of all records that are there now are known."""
        next_ = await self._cluster.offset(self._place, LATEST)
        if self._covered is None:
            await self._begin(next_)
        await self._read_to(next_)

    async def remember(self, now_ms: int) -> None:
        """Before something is appended under a mark: what is known is written down, unless it was lately. Raises
        `LogError`."""
        if self._saved_ms is not None and 0 <= now_ms - self._saved_ms < SAVE_MS:
            return
        assert self._covered is not None, "caught up"
        await self._remembered.save(self._shard, Kept(self._covered, now_ms, self.marks.copy()))
        self._saved_ms = now_ms

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

    async def _begin(self, next_: int) -> None:
        """Knows all marks below `next_`."""
        kept = await self._remembered.load(self._shard)
        if kept is None:
            self._covered = await self._since(max(0, await self._newest_ms() - MARKS_MS), next_)
            return
        self.marks = Marks(kept.last)
        self._covered = kept.offset
        # Whoever appended a mark after that had written something down no longer than this before.
        await self._read_to(await self._since(kept.at_ms + SAVE_MS + SLACK_MS, next_))
        self._covered = max(self._covered, next_)

    async def _since(self, at_ms: int, next_: int) -> int:
        """The offset of the first record that arrived then or later; `next_` where there is none."""
        found = await self._cluster.offset(self._place, at_ms)
        return next_ if found < 0 else min(found, next_)

    async def _read_to(self, end: int) -> None:
        assert self._covered is not None, "begun"
        while self._covered < end:
            for part in await self._read(self._covered):
                for mark, first in part.marks:
                    if first >= self._covered:
                        self.marks.note(mark, first)
                self._covered = max(self._covered, part.next)

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
