"""Joins of two streams. A row is alive from its time until its window ends; two rows meet if both are alive at one instant,
which is the later of their times, and the result carries that time. A row that met nobody comes out, where the join is an
outer one, when its window has ended, with that end as its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analytics.operators.buffer import Buffer
from analytics.operators.work import END, Change, Shape, Work, before


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a join: `buffer` keeps its rows while they are alive; column `until` is when a row's window ends. `outer`:
    rows without a match come out."""

    buffer: Buffer
    until: str
    outer: bool

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.buffer.columns if name != self.until]

    @property
    def shape(self) -> Shape:
        return (*self.buffer.shape, ("met", "BOOLEAN"))


@dataclass(slots=True)
class Joining:
    """`condition` is over the aliases l and r. What comes out has the columns of both, left first, named ``c0``, …, and
    ``u``, when the pair's windows end."""

    left: Side
    right: Side
    condition: str

    @property
    def tables(self) -> Mapping[str, Shape]:
        return {side.buffer.table: side.shape for side in (self.left, self.right)}

    def step(self, work: Work) -> pa.Table | None:
        fresh = {}
        for number, (name, side) in enumerate((("l", self.left), ("r", self.right))):
            rows = side.buffer.numbered(work, work.fresh[number])
            fresh[name] = side.buffer.shape, rows
        made = []
        pairs = self._pairs(work, fresh)
        if pairs is not None and len(pairs):
            made.append(pairs.drop_columns(["ln", "rn"]))
        for name, side, key in (("l", self.left, "ln"), ("r", self.right, "rn")):
            _, rows = fresh[name]
            met = pa.table({"n": pa.array([], pa.int64())}) if pairs is None else pa.table({"n": pairs.column(key)})
            if rows is not None and side.outer and len(met):
                rows = work.table("SELECT rows.*, rows.n IN (SELECT n FROM met) AS met FROM rows", rows=rows, met=met)
            elif rows is not None:  # who has met somebody matters to an outer join alone
                rows = rows.append_column("met", pa.array(np.zeros(len(rows), bool)))
            lonely = self._expired(work, side, rows, met, name)
            if lonely is not None and len(lonely):
                made.append(lonely)
        return pa.concat_tables(made) if made else None

    def _pairs(self, work: Work, fresh: dict[str, tuple[Shape, pa.Table | None]]) -> pa.Table | None:
        tables = {f"fresh_{name}": rows for name, (_, rows) in fresh.items() if rows is not None}
        if not tables:
            return None
        old = {"l": self.left.buffer.table, "r": self.right.buffer.table}
        meetings = []
        if "fresh_l" in tables:
            meetings.append((self._typed("l", "fresh_l"), old["r"]))
            if "fresh_r" in tables:
                meetings.append((self._typed("l", "fresh_l"), self._typed("r", "fresh_r")))
        if "fresh_r" in tables:
            meetings.append((old["l"], self._typed("r", "fresh_r")))
        alive = f"greatest(l.rt, r.rt) <= least(l.{self.left.until}, r.{self.right.until})"
        parts = [
            f"SELECT l.n AS ln, r.n AS rn, {self._columns('l', 'r')} FROM {left} AS l JOIN {right} AS r "
            f"ON ({self.condition}) AND {alive}"
            for left, right in meetings
        ]
        return work.table(f"SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY rt, ln, rn", **tables)

    def _typed(self, name: str, table: str) -> str:
        side = self.left if name == "l" else self.right
        listed = ", ".join(f"CAST({column} AS {duck}) AS {column}" for column, duck in side.buffer.shape)
        return f"(SELECT {listed} FROM {table})"

    def _columns(self, left: str | None, right: str | None) -> str:
        """The output's columns; those of a side that is None are NULL."""
        if left and right:
            parts = ["greatest(l.rt, r.rt) AS rt", f"least(l.{self.left.until}, r.{self.right.until}) AS u"]
        else:
            side = self.left if left else self.right
            parts = [f"{side.until} AS rt", f"{side.until} AS u"]
        number = 0
        for alias, side in ((left, self.left), (right, self.right)):
            kinds = dict(side.buffer.columns)
            for name in side.names:
                value = (
                    f"CAST(NULL AS {kinds[name]})" if alias is None else f"{alias}.{name}" if left and right else name
                )
                parts.append(f"{value} AS c{number}")
                number += 1
        return ", ".join(parts)

    def _expired(self, work: Work, side: Side, rows: pa.Table | None, met: pa.Table, name: str) -> pa.Table | None:
        table, at = side.buffer.table, work.joint
        if side.outer and len(met):
            work.changes.append(_met(table, met))
        ended = "FALSE" if at is None else "TRUE" if at >= END else f"{side.until} < {before(at)}"
        made = None
        if at is not None:
            listed = self._columns("l" if name == "l" else None, "r" if name == "r" else None)
            if side.outer:
                names = ", ".join(column for column, _ in side.buffer.shape)
                every = f"SELECT {names}, met OR n IN (SELECT n FROM met) AS met FROM {table} WHERE {ended}"
                tables = {"met": met}
                if rows is not None:
                    tables["rows"] = rows
                    typed = ", ".join(f"CAST({column} AS {duck}) AS {column}" for column, duck in side.shape)
                    every += f" UNION ALL SELECT {typed} FROM rows WHERE {ended}"
                made = work.table(f"SELECT {listed} FROM ({every}) WHERE NOT met ORDER BY {side.until}, n", **tables)
            work.delete(table, ended)
        if rows is not None and at is not None:
            rows = rows.filter(pc.greater_equal(rows.column(side.until).cast(pa.int64()), at))
        if rows is not None:
            work.insert(table, rows)
        return made

    def frontier(self, work: Work) -> int | None:
        return work.joint

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        ends = []
        for side in (self.left, self.right):
            sql = f"SELECT epoch_ms(CAST(min({side.until}) AS TIMESTAMP)) FROM {side.buffer.table}"
            ends += [end for (end,) in connection.execute(sql).fetchall() if end is not None]
        return min(ends, default=None)


def _met(table: str, met: pa.Table) -> Change:
    return Change(f"UPDATE {table} SET met = TRUE WHERE NOT met AND n IN (SELECT n FROM added)", met)
