"""Sliding windows: for every row, aggregates over the rows before it that its frame holds.

A frame of RANGE reaches back in time, its far end included; one of ROWS counts rows of the partition. Of rows with the same
time, one sees those that came before it, not those that came after. Rows stay in the state while a frame can reach them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from analytics.operators.buffer import Buffer
from analytics.operators.work import END, Shape, Work, before

PEER_BITS = 20
"""Bits of the order among rows of one millisecond: a million of them, more than a batch holds."""
PEERS = (1 << PEER_BITS) - 1
"""The mask of that order: the remainder of a time before 1970 would be negative."""


@dataclass(frozen=True, slots=True)
class Frame:
    """`range_ms` or `rows`: how far back it reaches. `partition` are names of columns."""

    partition: tuple[str, ...]
    range_ms: int | None
    rows: int | None

    @property
    def over(self) -> str:
        by = f"PARTITION BY {', '.join(self.partition)} " if self.partition else ""
        if self.rows is not None:
            return f"({by}ORDER BY k ROWS BETWEEN {self.rows} PRECEDING AND CURRENT ROW)"
        reach = f"{(self.range_ms or 0) << PEER_BITS} + (k & {PEERS})"
        return f"({by}ORDER BY k RANGE BETWEEN {reach} PRECEDING AND CURRENT ROW)"

    @property
    def order(self) -> str:
        """The partition in order, without a frame."""
        by = f"PARTITION BY {', '.join(self.partition)} " if self.partition else ""
        return f"({by}ORDER BY k)"


@dataclass(slots=True)
class Sliding:
    """`results` are expressions over the columns, ``k`` (the order) and ``i`` (the number in each frame's partition); they
    come out as further columns."""

    buffer: Buffer
    kept: str
    frames: Sequence[Frame]
    results: Sequence[tuple[str, str]]

    def __post_init__(self) -> None:
        self.buffer.also = (self.kept,)

    @property
    def tables(self) -> Mapping[str, Shape]:
        return {self.buffer.table: self.buffer.shape, self.kept: self.buffer.shape}

    def step(self, work: Work) -> pa.Table | None:
        rows = self.buffer.release(work)
        if rows is None:
            return None
        made = self.computed(work, rows)
        self._evict(work, rows)
        return made

    def computed(self, work: Work, rows: pa.Table) -> pa.Table:
        """The rows with their results, by a query over all rows that a frame reaches."""
        keyed = f"""SELECT *, epoch_ms(CAST(rt AS TIMESTAMP)) * {1 << PEER_BITS}
            + row_number() OVER (PARTITION BY rt ORDER BY n) AS k
            FROM (SELECT *, FALSE AS fresh FROM {self.kept} UNION ALL SELECT *, TRUE FROM released)"""
        counted = [f"row_number() OVER {frame.order} AS i{number}" for number, frame in enumerate(self.frames)]
        listed = [f"{sql} AS {name}" for name, sql in self.results]
        names = ["rt", *(name for name, _ in self.buffer.columns), *(name for name, _ in self.results)]
        return work.table(
            f"SELECT {', '.join(names)} FROM (SELECT *, {', '.join(listed)} FROM "
            f"(SELECT *, {', '.join(counted)} FROM ({keyed}))) WHERE fresh ORDER BY k",
            released=rows,
        )

    def _evict(self, work: Work, rows: pa.Table) -> None:
        work.insert(self.kept, rows)
        at = work.at[0]
        assert at is not None, "rows were released"
        keep = []
        reach = max((frame.range_ms for frame in self.frames if frame.range_ms is not None), default=None)
        if reach is not None:
            keep.append(f"rt >= {before(at)} - to_milliseconds({reach})" if at < END else "FALSE")
        for frame in self.frames:
            if frame.rows is not None:
                by = f"PARTITION BY {', '.join(frame.partition)} " if frame.partition else ""
                last = f"SELECT n FROM {self.kept} QUALIFY row_number() OVER ({by}ORDER BY rt DESC, n DESC) <= {frame.rows}"
                keep.append(f"n IN ({last})")
        work.delete(self.kept, f"NOT ({' OR '.join(keep)})")

    def frontier(self, work: Work) -> int | None:
        return work.at[0]

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        return self.buffer.waiting_ms(connection)
