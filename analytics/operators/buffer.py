"""Rows in the order of their time: those beyond the frontier wait in a table until it has passed them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from analytics.operators.work import Shape, Work, before


@dataclass(slots=True)
class Buffer:
    """`table` keeps (``n``, ``rt``, the columns). `n` numbers the rows in the order in which they came; `also` are tables in
    which the operator keeps numbered rows that have left this one."""

    table: str
    columns: Shape
    also: tuple[str, ...] = ()
    _next: int | None = None

    @property
    def shape(self) -> Shape:
        return (("n", "BIGINT"), ("rt", "TIMESTAMP_MS"), *self.columns)

    def numbered(self, work: Work, rows: pa.Table | None) -> pa.Table | None:
        """New rows with their numbers."""
        if rows is None or not len(rows):
            return None
        if self._next is None:
            known = " UNION ALL ".join(f"SELECT max(n) AS n FROM {table}" for table in (self.table, *self.also))
            self._next = (work.value(f"SELECT max(n) FROM ({known})") or 0) + 1
        numbers = pa.array(np.arange(self._next, self._next + len(rows)))
        self._next += len(rows)
        return rows.select(["rt", *(name for name, _ in self.columns)]).add_column(0, "n", numbers)

    def release(self, work: Work, source: int = 0, *, strict: bool = False, joint: bool = False) -> pa.Table | None:
        """All rows that the frontier has reached, in order; with `strict`, those that it has passed; with `joint`, it is the
        least of all sources. None if there are none."""
        fresh, at = self.numbered(work, work.fresh[source]), work.joint if joint else work.at[source]
        if at is None:
            if fresh is not None:
                work.insert(self.table, fresh)
            return None
        due = f"rt {'<' if strict else '<='} {before(at)}"
        names = ", ".join(name for name, _ in self.shape)
        parts = f"SELECT {names} FROM {self.table} WHERE {due}"
        if fresh is None:
            rows = work.table(f"SELECT * FROM ({parts}) ORDER BY rt, n")
        else:
            typed = ", ".join(f"CAST({name} AS {duck}) AS {name}" for name, duck in self.shape)
            parts += f" UNION ALL SELECT {typed} FROM fresh WHERE {due}"
            rows = work.table(f"SELECT * FROM ({parts}) ORDER BY rt, n", fresh=fresh)
        if len(rows):
            work.delete(self.table, due)
        if fresh is not None:
            left = work.table(f"SELECT * FROM fresh WHERE NOT ({due})", fresh=fresh)
            work.insert(self.table, left)
        return rows if len(rows) else None

    def waiting_ms(self, connection: object) -> int | None:
        ((first,),) = connection.execute(  # type: ignore[attr-defined]  # a DuckDB connection
            f"SELECT epoch_ms(CAST(min(rt) AS TIMESTAMP)) FROM {self.table}"
        ).fetchall()
        return first
