"""Runs: rows that follow each other with the same value of a monotonic expression. A run ends with the first row of another
value, and its rows come out then, with that row's time as their own, beside it in column ``w``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from analytics.operators.buffer import Buffer
from analytics.operators.work import END, Shape, Work


@dataclass(slots=True)
class Runs:
    """`values` are the names of the monotonic columns, `kept` the table of the run that has not ended. With `timed`, rows
    get the time of the end; without, they keep theirs, and come out sorted by `order`."""

    buffer: Buffer
    values: Sequence[str]
    kept: str
    timed: bool = True
    order: str = "rt, n"
    _held: int | None = None

    def __post_init__(self) -> None:
        self.buffer.also = (self.kept,)

    @property
    def tables(self) -> Mapping[str, Shape]:
        return {self.buffer.table: self.buffer.shape, self.kept: self.buffer.shape}

    def step(self, work: Work) -> pa.Table | None:
        rows = self.buffer.release(work)
        ended = work.at[0] is not None and work.at[0] >= END
        if rows is None and not ended:
            return None
        every = f"SELECT * FROM {self.kept}"
        tables = {}
        if rows is not None:
            every += " UNION ALL SELECT * FROM released"
            tables["released"] = rows
        changed = " OR ".join(f"{name} IS DISTINCT FROM lag({name}) OVER (ORDER BY rt, n)" for name in self.values)
        marked = f"SELECT *, {changed} AS changed FROM ({every})"
        run = f"SELECT * EXCLUDE (changed), sum(CAST(changed AS INTEGER)) OVER (ORDER BY rt, n) AS run FROM ({marked})"
        numbered = work.table(run, **tables)
        if not len(numbered):
            return None
        last = work.value_of("SELECT max(run) FROM numbered", numbered=numbered)
        names = ", ".join(name for name, _ in self.buffer.columns)
        starts = "SELECT run - 1 AS run, min(rt) AS w FROM numbered GROUP BY run"
        if ended:
            starts += " UNION ALL SELECT max(run), max(rt) FROM numbered"
        time = "starts.w AS rt" if self.timed else "numbered.rt"
        made = work.table(
            f"SELECT {time}, {names}, starts.w FROM numbered JOIN ({starts}) AS starts USING (run) "
            f"ORDER BY run, {self.order}",
            numbered=numbered,
        )
        keep = "FALSE" if ended else f"run = {last}"
        work.delete(self.kept, "TRUE")
        kept = work.table(f"SELECT * EXCLUDE (run) FROM numbered WHERE {keep}", numbered=numbered)
        work.insert(self.kept, kept)
        self._held = work.value_of("SELECT min(epoch_ms(CAST(rt AS TIMESTAMP))) FROM kept", kept=kept)
        return made

    def frontier(self, work: Work) -> int | None:
        """Rows that keep their time hold back time until they come out."""
        at = work.at[0]
        return at if self.timed or at is None or self._held is None else min(at, self._held)

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        ((self._held,),) = connection.execute(
            f"SELECT min(epoch_ms(CAST(rt AS TIMESTAMP))) FROM {self.kept}"
        ).fetchall()
        return self.buffer.waiting_ms(connection)
