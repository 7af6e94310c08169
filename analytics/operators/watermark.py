"""Watermarks: which rows come too late. Time has come as far as the greatest time of the rows before, less a bound.

Rows are judged in the order of the ROWTIME that they came with, all rows of one instant alike: against what came before
that instant. So the verdict depends on the rows alone, not on batches, nor on which of several pumps was first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from analytics.frontier import FUTURE_MS
from analytics.operators.buffer import Buffer
from analytics.operators.reached import SHAPE, Reached
from analytics.operators.work import END, Shape, Work

WATERMARKED = "wt"
"""The column of a row's time."""
JUDGED: Shape = (("late", "BOOLEAN"), ("reached", "TIMESTAMP_MS"))
"""What the operator says of each row: whether it is late, and how far time had come."""


@dataclass(slots=True)
class Watermarked:
    """`high` is the greatest time so far. A row more than `FUTURE_MS` ahead of the ROWTIME that it came
    with is refused, since it would make all others late; so is one without a time."""

    buffer: Buffer
    high: Reached
    late_ms: int

    @property
    def tables(self) -> Mapping[str, Shape]:
        return {self.buffer.table: self.buffer.shape, self.high.table: SHAPE}

    def step(self, work: Work) -> pa.Table | None:
        self.high.know(work)
        rows = self.buffer.release(work, strict=True)
        if rows is None:
            return None
        start = "NULL" if self.high.ms is None else str(self.high.ms)
        accepted = f"ms IS NOT NULL AND ms <= epoch_ms(CAST(rt AS TIMESTAMP)) + {FUTURE_MS}"
        judged = work.table(
            f"""SELECT *, greatest({start}, max(CASE WHEN good THEN ms END) OVER (
                ORDER BY rt RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE GROUP)) - {self.late_ms} AS past
            FROM (SELECT *, {accepted} AS good
                FROM (SELECT *, epoch_ms(CAST({WATERMARKED} AS TIMESTAMP)) AS ms FROM released)) ORDER BY rt, n""",
            released=rows,
        )
        names = ", ".join(name for name, _ in self.buffer.columns if name != WATERMARKED)
        for condition, name, message in (
            ("ms IS NULL", "MissingRowtime", "the row has no time, which its stream's WATERMARK is for"),
            ("ms IS NOT NULL AND NOT good", "FutureRow", "the row's time is too far ahead of when it came"),
        ):
            work.refuse(work.table(f"SELECT rt, {names} FROM judged WHERE {condition}", judged=judged), name, message)
        self.high.come(work, work.value_of("SELECT max(ms) FROM judged WHERE good", judged=judged))
        return work.table(
            f"""SELECT rt, {names}, {WATERMARKED}, coalesce(ms < past, FALSE) AS late, make_timestamp_ms(past) AS reached
            FROM judged WHERE good""",
            judged=judged,
        )

    def frontier(self, work: Work) -> int | None:
        self.high.know(work)
        if work.at[0] is not None and work.at[0] >= END:
            return END
        return None if self.high.ms is None else self.high.ms - self.late_ms

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        first = self.buffer.waiting_ms(connection)
        return None if first is None else first + 1
