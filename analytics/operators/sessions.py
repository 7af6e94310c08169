"""Session windows: rows of a key belong together while none is as long as the gap after the one before it.

Rows are aggregated in stretches no longer than the gap, which are always of one session, and appended; which stretches make a
session is found out when one of them might be over. So rows may come in any order before the frontier, and none is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from analytics.operators.work import END, Change, Shape, Work
from analytics.partials import Partials

_TIME = "TIMESTAMP_MS"


@dataclass(slots=True)
class Sessions:
    """`table` keeps partial rows from the first row ``w`` to the last row ``e`` of a stretch. A session is over `gap_ms`
    after its last row; what comes out has its first row's time ``w`` and its end ``e``."""

    partials: Partials
    gap_ms: int
    table: str
    _base: int | None = None

    @property
    def shape(self) -> Shape:
        return (("w", _TIME), ("e", _TIME), *self.partials.keys, *self.partials.state)

    @property
    def tables(self) -> Mapping[str, Shape]:
        return {self.table: self.shape}

    def step(self, work: Work) -> pa.Table | None:
        fresh, at = self._stretches(work), work.at[0]
        over = (
            None
            if at is None
            else "TRUE"
            if at >= END
            else f"e + to_milliseconds({self.gap_ms}) <= make_timestamp_ms({at})"
        )
        if over is None or not self._due(work, fresh, over):
            if fresh is not None:
                work.insert(self.table, fresh)
            return None
        tables = {} if fresh is None else {"fresh": fresh}
        every = f"SELECT *, FALSE AS new FROM {self.table}"
        if fresh is not None:
            every += " UNION ALL SELECT *, TRUE FROM fresh"
        keys = [name for name, _ in self.partials.keys]
        if keys:
            due = f"SELECT DISTINCT {', '.join(keys)} FROM ({every}) WHERE {over}"
            touched = work.table(
                f"SELECT a.* FROM ({every}) AS a JOIN ({due}) AS b ON {_same(keys, 'a', 'b')}", **tables
            )
            self._forget(work, touched, keys)
            if fresh is not None:
                rest = f"SELECT a.* FROM fresh AS a ANTI JOIN ({due}) AS b ON {_same(keys, 'a', 'b')}"
                work.insert(self.table, work.table(rest, **tables))
        else:
            touched = work.table(every, **tables)
            work.delete(self.table, "TRUE")
        joined = work.table(self._joined(), touched=touched)
        kept = self.partials.compact(["w", "e"]).format(source=f"(SELECT * FROM joined WHERE NOT ({over}))")
        work.insert(self.table, work.table(kept, joined=joined))
        merged = self.partials.merge(["w", "e"]).format(source=f"(SELECT * FROM joined WHERE {over})")
        by = ", ".join(["rt", "w", *keys])
        end = f"CAST(e + to_milliseconds({self.gap_ms}) AS {_TIME}) AS"
        made = work.table(f"SELECT * REPLACE ({end} e), {end} rt FROM ({merged}) ORDER BY {by}", joined=joined)
        return made if len(made) else None

    def _stretches(self, work: Work) -> pa.Table | None:
        rows = work.fresh[0]
        if rows is None or not len(rows):
            return None
        if self.partials.kept:
            template = self.partials.partial([], ["rt AS w", "rt AS e"])
        else:
            ms = "epoch_ms(CAST(rt AS TIMESTAMP))"
            stretch = f"{ms} - (({ms} % {self.gap_ms}) + {self.gap_ms}) % {self.gap_ms}"
            template = self.partials.partial([stretch], ["min(rt) AS w", "max(rt) AS e"])
        sql = template.format(source="rows", base=self._numbered(work, len(rows)))
        typed = ", ".join(f"CAST({name} AS {duck}) AS {name}" for name, duck in self.shape)
        return work.table(f"SELECT {typed} FROM ({sql})", rows=rows)

    def _numbered(self, work: Work, count: int) -> int:
        """How many rows have come before these `count`."""
        if not self.partials.numbered:
            return 0
        if self._base is None:
            self._base = work.value(f"SELECT max(n) FROM {self.table}") or 0
        self._base += count
        return self._base - count

    def _due(self, work: Work, fresh: pa.Table | None, over: str) -> bool:
        found = work.value(f"SELECT count(*) FROM {self.table} WHERE {over}") or 0
        if not found and fresh is not None:
            found = work.value_of(f"SELECT count(*) FROM fresh WHERE {over}", fresh=fresh) or 0
        return found > 0

    def _forget(self, work: Work, touched: pa.Table, keys: list[str]) -> None:
        old = work.table(f"SELECT DISTINCT {', '.join(keys)} FROM touched WHERE NOT new", touched=touched)
        if len(old):
            work.changes.append(
                Change(f"DELETE FROM {self.table} USING added WHERE {_same(keys, self.table, 'added')}", old)
            )

    def _joined(self) -> str:
        """Stretches with the first and the last row of the session that they are part of."""
        keys = "".join(f"{name}, " for name, _ in self.partials.keys)
        by = f"PARTITION BY {keys.removesuffix(', ')} " if keys else ""
        before = f"max(e) OVER ({by}ORDER BY w, e ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
        begins = f"coalesce(w >= {before} + to_milliseconds({self.gap_ms}), TRUE)"
        marked = f"SELECT * EXCLUDE (new), CAST({begins} AS INTEGER) AS begins FROM touched"
        counted = f"SELECT *, sum(begins) OVER ({by}ORDER BY w, e RANGE UNBOUNDED PRECEDING) AS session FROM ({marked})"
        return (
            f"SELECT * EXCLUDE (begins, session) REPLACE (min(w) OVER s AS w, max(e) OVER s AS e) FROM ({counted}) "
            f"WINDOW s AS (PARTITION BY {keys}session)"
        )

    def frontier(self, work: Work) -> int | None:
        return work.at[0]

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        ((last,),) = connection.execute(f"SELECT epoch_ms(CAST(min(e) AS TIMESTAMP)) FROM {self.table}").fetchall()
        return None if last is None else last + self.gap_ms


def _same(keys: list[str], left: str, right: str) -> str:
    return " AND ".join(f"{left}.{key} IS NOT DISTINCT FROM {right}.{key}" for key in keys)
