"""Joins of two streams where a window is a number of rows: a row is alive until so many more of its stream have come.

Which rows are in such a window depends on their order, so both streams are taken by time, an instant at once when time has
passed it. At an instant the last rows of that or an earlier time are in the window, and in any case all rows of the instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from analytics.operators.buffer import Buffer
from analytics.operators.work import END, Change, Shape, Work, before

_NEVER = "TIMESTAMP_MS 'infinity'"


@dataclass(frozen=True, slots=True)
class RowSide:
    """One side: `buffer` has its rows until time has passed them, `kept` those that are alive. A window is `rows` before the
    last one, or None: until the time in column ``u``. `outer`: rows without a match come out."""

    buffer: Buffer
    kept: str
    rows: int | None
    outer: bool

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.buffer.columns if name != "u"]

    @property
    def shape(self) -> Shape:
        return (*self.buffer.shape, ("met", "BOOLEAN"))


@dataclass(slots=True)
class RowJoining:
    """`condition` is over the aliases l and r. What comes out has the columns of both, left first, named ``c0``, …, and
    ``u``, which is its time again."""

    left: RowSide
    right: RowSide
    condition: str

    @property
    def tables(self) -> Mapping[str, Shape]:
        sides = (self.left, self.right)
        return {side.buffer.table: side.buffer.shape for side in sides} | {side.kept: side.shape for side in sides}

    def step(self, work: Work) -> pa.Table | None:
        at = work.joint
        together = Work(work.connection, work.fresh, [at, at], work.now_ms, work.changes)
        fresh = [side.buffer.release(together, i, strict=True) for i, side in enumerate((self.left, self.right))]
        if at is None:
            return None
        tables = {f"fresh_{name}": rows for name, rows in zip("lr", fresh, strict=True) if rows is not None}
        alive = {
            name: self._alive(side, f"fresh_{name}" if rows is not None else None)
            for name, side, rows in zip("lr", (self.left, self.right), fresh, strict=True)
        }
        pairs = None
        if tables:
            pairs = work.table(
                f"""SELECT l.n AS ln, r.n AS rn, {self._columns("l", "r")} FROM {alive["l"]} AS l JOIN {alive["r"]} AS r
                ON ({self.condition}) AND (l.fresh OR r.fresh) AND {_within(self.left, "l")} AND {_within(self.right, "r")}
                ORDER BY rt, ln, rn""",
                **tables,
            )
        made = [] if pairs is None or not len(pairs) else [pairs.drop_columns(["ln", "rn"])]
        for name, side, key in (("l", self.left, "ln"), ("r", self.right, "rn")):
            met = pa.table({"n": pa.array([], pa.int64()) if pairs is None else pairs.column(key)})
            lonely = self._ended(work, side, name, alive[name], met, tables, at)
            if lonely is not None and len(lonely):
                made.append(lonely)
        return pa.concat_tables(made) if made else None

    def _alive(self, side: RowSide, fresh: str | None) -> str:
        """The rows of a side that are in its window at some instant of this batch, `fresh` or not, with its end in ``e``."""
        names = ", ".join(name for name, _ in side.buffer.shape)
        parts = f"SELECT {names}, met, FALSE AS fresh FROM {side.kept}"
        if fresh is not None:
            typed = ", ".join(f"CAST({name} AS {duck}) AS {name}" for name, duck in side.buffer.shape)
            parts += f" UNION ALL SELECT {typed}, FALSE AS met, TRUE AS fresh FROM {fresh}"
        end = "u" if side.rows is None else f"coalesce(lead(rt, {side.rows + 1}) OVER (ORDER BY rt, n), {_NEVER})"
        return f"(SELECT *, {end} AS e FROM ({parts}))"

    def _columns(self, left: str | None, right: str | None) -> str:
        """The output's columns; those of a side that is None are NULL, and the time is ``e``."""
        parts = ["greatest(l.rt, r.rt) AS rt", "greatest(l.rt, r.rt) AS u"] if left and right else ["e AS rt", "e AS u"]
        number = 0
        for alias, side in ((left, self.left), (right, self.right)):
            kinds = dict(side.buffer.columns)
            for name in side.names:
                value = f"CAST(NULL AS {kinds[name]})" if alias is None else f"{alias}.{name}"
                parts.append(f"{value} AS c{number}")
                number += 1
        return ", ".join(parts)

    def _ended(
        self, work: Work, side: RowSide, name: str, alive: str, met: pa.Table, tables: Mapping[str, pa.Table], at: int
    ) -> pa.Table | None:
        """Takes rows whose window has ended out of the state; those that met nobody, where they come out."""
        over = "TRUE" if at >= END else f"e < {before(at)}"
        rows = work.table(
            f"SELECT *, met OR n IN (SELECT n FROM met) AS met_now, {over} AS over FROM {alive}", met=met, **tables
        )
        lonely = None
        if side.outer:
            listed = self._columns("a" if name == "l" else None, "a" if name == "r" else None)
            # A row that no other has pushed out has no end: it comes out with the last one.
            lonely = work.table(
                f"""SELECT {listed} FROM (SELECT * REPLACE (CASE WHEN e = {_NEVER} THEN max(rt) OVER () ELSE e END AS e)
                FROM rows) AS a WHERE over AND NOT met_now ORDER BY e, n""",
                rows=rows,
            )
            work.changes.append(Change(f"UPDATE {side.kept} SET met = TRUE WHERE n IN (SELECT n FROM added)", met))
        ended = work.table("SELECT n FROM rows WHERE over AND NOT fresh", rows=rows)
        if len(ended):
            work.changes.append(Change(f"DELETE FROM {side.kept} WHERE n IN (SELECT n FROM added)", ended))
        kept = ", ".join(column for column, _ in side.buffer.shape)
        work.insert(
            side.kept, work.table(f"SELECT {kept}, met_now AS met FROM rows WHERE fresh AND NOT over", rows=rows)
        )
        return lonely

    def frontier(self, work: Work) -> int | None:
        return work.joint

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        ends = []
        for side in (self.left, self.right):
            ends.append(side.buffer.waiting_ms(connection))
            if side.rows is None:
                sql = f"SELECT epoch_ms(CAST(min(u) AS TIMESTAMP)) FROM {side.kept}"
                ends += [end for (end,) in connection.execute(sql).fetchall()]
        return min((end for end in ends if end is not None), default=None)


def _within(side: RowSide, name: str) -> str:
    """That a row of the pair is in its window at the instant of the pair."""
    if side.rows is None:
        return f"greatest(l.rt, r.rt) <= {name}.e"
    return f"(greatest(l.rt, r.rt) < {name}.e OR {name}.rt = greatest(l.rt, r.rt))"
