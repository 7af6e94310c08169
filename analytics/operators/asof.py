"""ASOF joins of two streams: a row of the left one meets the last row of its keys that the right one had until then.

A row of the left waits until both streams have come past its time: then every row that it may meet is there. Rows of the
right are kept as long as a row may still look back to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from analytics.operators.buffer import Buffer
from analytics.operators.work import END, Shape, Work, before

PEER_BITS = 20
"""Rows of one millisecond are told apart by as many bits: more than a batch has."""


@dataclass(slots=True)
class Asof:
    """`same` is the condition of equal keys, over l and r. A row of the right counts for `reach_ms`; with `strict`, it must lie
    before the row of the left, not at its instant. `outer`: a row that meets none comes out alone. What comes out has the
    columns of both, left first, named ``c0``, …"""

    left: Buffer
    right: Buffer
    same: str
    reach_ms: int
    strict: bool
    outer: bool

    @property
    def tables(self) -> Mapping[str, Shape]:
        return {self.left.table: self.left.shape, self.right.table: self.right.shape}

    def step(self, work: Work) -> pa.Table | None:
        fresh = self.right.numbered(work, work.fresh[1])
        rows = self.left.release(work, strict=True, joint=True)
        made = None if rows is None else self._met(work, rows, fresh)
        ended = self._ended(work)
        work.delete(self.right.table, ended)
        if fresh is not None:
            work.insert(self.right.table, work.table(f"SELECT * FROM fresh WHERE NOT ({ended})", fresh=fresh))
        return made

    def _met(self, work: Work, rows: pa.Table, fresh: pa.Table | None) -> pa.Table:
        listed = ", ".join(f"CAST({name} AS {duck}) AS {name}" for name, duck in self.right.shape)
        every, tables = f"SELECT * FROM {self.right.table}", {"released": rows}
        if fresh is not None:
            every, tables = f"{every} UNION ALL SELECT {listed} FROM fresh", {**tables, "fresh": fresh}
        place = f"epoch_ms(CAST({{}} AS TIMESTAMP)) * {1 << PEER_BITS}"
        ordered = f"SELECT *, {place.format('rt')} + row_number() OVER (PARTITION BY rt ORDER BY n) - 1 AS place FROM ({every})"
        until = place.format("l.rt") + (" - 1" if self.strict else f" + {(1 << PEER_BITS) - 1}")
        alive = f"r.rt >= l.rt - to_milliseconds({self.reach_ms})"
        names = [f"l.{name} AS c{number}" for number, (name, _) in enumerate(self.left.columns)]
        names += [
            f"CASE WHEN {alive} THEN r.{name} END AS c{len(self.left.columns) + number}"
            for number, (name, _) in enumerate(self.right.columns)
        ]
        return work.table(
            f"""SELECT l.rt, {", ".join(names)} FROM released AS l ASOF LEFT JOIN ({ordered}) AS r
            ON {self.same} AND {until} >= r.place {"" if self.outer else f"WHERE {alive}"} ORDER BY l.rt, l.n""",
            **tables,
        )

    def _ended(self, work: Work) -> str:
        """The rows of the right that nobody can meet any more."""
        at = work.joint
        if at is None:
            return "FALSE"
        return "TRUE" if at >= END else f"rt + to_milliseconds({self.reach_ms}) < {before(at)}"

    def frontier(self, work: Work) -> int | None:
        return work.joint

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        first = self.left.waiting_ms(connection)
        return None if first is None else first + 1
