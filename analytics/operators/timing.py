"""``… AS ROWTIME``, and ORDER BY: rows that get another time, and rows that wait for the end of a stretch of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from analytics.frontier import FUTURE_MS
from analytics.operators.buffer import Buffer
from analytics.operators.reached import SHAPE, Reached
from analytics.operators.work import END, Shape, Work, before

LATE = "the row's ROWTIME lies behind that of a row before it"
FUTURE = "the row's ROWTIME is too far ahead of when it came"


@dataclass(slots=True)
class Retimed:
    """Column `time` becomes the row's time. Time goes on with the rows: one that lies behind an earlier one is refused, as is
    one without a time. `high` is how far time has come. Where the time is the row's `own`, and not made of the ROWTIME that
    it came with, one more than `FUTURE_MS` ahead of that is refused: it would make all others late."""

    buffer: Buffer
    time: str
    high: Reached
    own: bool

    @property
    def tables(self) -> Mapping[str, Shape]:
        return {self.buffer.table: self.buffer.shape, self.high.table: SHAPE}

    def step(self, work: Work) -> pa.Table | None:
        self.high.know(work)
        rows = self.buffer.release(work)
        if rows is None:
            return None
        start = "NULL" if self.high.ms is None else str(self.high.ms)
        ms = f"epoch_ms(CAST({self.time} AS TIMESTAMP))"
        if self.own:
            far = f"{ms} > epoch_ms(CAST(rt AS TIMESTAMP)) + {FUTURE_MS}"
            work.refuse(self._named(work, rows, far), "FutureRow", FUTURE)
            rows = work.table(f"SELECT * FROM released WHERE ({far}) IS NOT TRUE", released=rows)
        judged = work.table(
            f"""SELECT *, ms IS NULL OR ms < coalesce(greatest({start}, max(ms) OVER (
                ORDER BY rt, n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)), ms) AS late
            FROM (SELECT *, {ms} AS ms FROM released) ORDER BY rt, n""",
            released=rows,
        )
        names = ", ".join(name for name, _ in self.buffer.columns)
        work.refuse(self._named(work, judged, "late"), "LateRow", LATE)
        self.high.come(work, work.value_of("SELECT max(ms) FROM judged WHERE NOT late", judged=judged))
        return work.table(f"SELECT {self.time} AS rt, {names} FROM judged WHERE NOT late", judged=judged)

    def _named(self, work: Work, rows: pa.Table, condition: str) -> pa.Table:
        """Those of the rows that the condition names, as they came."""
        names = ", ".join(name for name, _ in self.buffer.columns)
        return work.table(f"SELECT rt, {names} FROM named WHERE {condition} ORDER BY rt, n", named=rows)

    def frontier(self, work: Work) -> int | None:
        return END if work.at[0] is not None and work.at[0] >= END else self.high.ms

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        return self.buffer.waiting_ms(connection)


@dataclass(slots=True)
class Ordered:
    """Rows wait until time has passed `end`, an expression over them, and then come out by `order`."""

    buffer: Buffer
    end: str
    order: str
    _held: int | None = None

    @property
    def tables(self) -> Mapping[str, Shape]:
        return {self.buffer.table: self.buffer.shape}

    def step(self, work: Work) -> pa.Table | None:
        fresh, at = self.buffer.numbered(work, work.fresh[0]), work.at[0]
        if fresh is not None:
            typed = ", ".join(f"CAST({name} AS {duck}) AS {name}" for name, duck in self.buffer.shape)
            fresh = work.table(f"SELECT {typed} FROM rows", rows=fresh)
        if at is None:
            if fresh is not None:
                work.insert(self.buffer.table, fresh)
            return None
        due = "TRUE" if at >= END else f"{self.end} <= {before(at)}"
        every, tables = f"SELECT * FROM {self.buffer.table}", {}
        if fresh is not None:
            every, tables = f"{every} UNION ALL SELECT * FROM fresh", {"fresh": fresh}
        made = work.table(f"SELECT * FROM ({every}) WHERE {due} ORDER BY {self.order}", **tables)
        if len(made):
            work.delete(self.buffer.table, due)
        if fresh is not None:
            work.insert(self.buffer.table, work.table(f"SELECT * FROM fresh WHERE NOT ({due})", fresh=fresh))
        self._held = work.value_of(
            f"SELECT min(epoch_ms(CAST(rt AS TIMESTAMP))) FROM ({every}) WHERE NOT ({due})", **tables
        )
        return made.drop_columns(["n"]) if len(made) else None

    def frontier(self, work: Work) -> int | None:
        """Rows that wait will come out with their own times."""
        at = work.at[0]
        return at if at is None or self._held is None else min(at, self._held)

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        self._held = self.buffer.waiting_ms(connection)
        return self._held
