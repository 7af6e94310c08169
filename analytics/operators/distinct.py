"""SELECT DISTINCT over a stream: a row comes out the first time it is seen; what was seen is forgotten when the monotonic
columns change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from analytics.operators.buffer import Buffer
from analytics.operators.work import Shape, Work


@dataclass(slots=True)
class Distinct:
    """`values` are the names of the monotonic columns, `seen` the table of rows of their present value."""

    buffer: Buffer
    values: Sequence[str]
    seen: str

    def __post_init__(self) -> None:
        self.buffer.also = (self.seen,)

    @property
    def tables(self) -> Mapping[str, Shape]:
        return {self.buffer.table: self.buffer.shape, self.seen: self.buffer.shape}

    def step(self, work: Work) -> pa.Table | None:
        rows = self.buffer.release(work)
        if rows is None:
            return None
        names = ", ".join(name for name, _ in self.buffer.columns)
        changed = " OR ".join(
            f"{name} IS DISTINCT FROM lag({name}) OVER (ORDER BY old DESC, rt, n)" for name in self.values
        )
        every = f"SELECT *, TRUE AS old FROM {self.seen} UNION ALL SELECT *, FALSE FROM released"
        marked = f"SELECT *, {changed} AS changed FROM ({every})"
        runs = (
            "SELECT * EXCLUDE (changed), sum(CAST(changed AS INTEGER)) OVER (ORDER BY old DESC, rt, n) AS run "
            f"FROM ({marked})"
        )
        first = work.table(
            f"SELECT * FROM ({runs}) QUALIFY row_number() OVER (PARTITION BY run, {names} ORDER BY old DESC, rt, n) = 1",
            released=rows,
        )
        work.delete(self.seen, "TRUE")
        kept = "SELECT * EXCLUDE (old, run) FROM first WHERE run = (SELECT max(run) FROM first)"
        work.insert(self.seen, work.table(kept, first=first))
        return work.table(f"SELECT rt, {names} FROM first WHERE NOT old ORDER BY rt, n", first=first)

    def frontier(self, work: Work) -> int | None:
        return work.at[0]

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        return self.buffer.waiting_ms(connection)
