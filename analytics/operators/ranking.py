"""Ranks among the rows of one instant: GROUP_RANK, and the first of a window's groups for TOP_K_ITEMS_TUMBLING."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from analytics.operators.buffer import Buffer
from analytics.operators.work import Shape, Work


@dataclass(slots=True)
class Ranking:
    """`by` orders the rows of an instant, `rank` is an expression that becomes one more column (empty: none), and the first
    `most` rows come out in the order `out`."""

    buffer: Buffer
    by: str
    most: int
    rank: str = ""
    out: str = ""

    @property
    def tables(self) -> Mapping[str, Shape]:
        return {self.buffer.table: self.buffer.shape}

    def step(self, work: Work) -> pa.Table | None:
        rows = self.buffer.release(work, strict=True)
        if rows is None:
            return None
        count = len(self.buffer.columns)
        names = ", ".join(["rt", *(name for name, _ in self.buffer.columns)])
        more = (
            f", CAST({self.rank} OVER (PARTITION BY rt ORDER BY {self.by}) AS INTEGER) AS c{count}" if self.rank else ""
        )
        out = self.out or f"{self.by}, n"
        return work.table(
            f"SELECT {names}{more} FROM released QUALIFY row_number() OVER (PARTITION BY rt ORDER BY {out}) <= {self.most} "
            f"ORDER BY rt, {out}",
            released=rows,
        )

    def frontier(self, work: Work) -> int | None:
        return work.at[0]

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        first = self.buffer.waiting_ms(connection)
        return None if first is None else first + 1
