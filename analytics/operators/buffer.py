"""Rows in the order of their time: those beyond the frontier wait in a table until it has passed them.

The rows that wait are remembered beside the table, where they are not too many: what is written for a crash need not be read
again a batch later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from analytics.operators.work import Shape, Work, before

REMEMBERED_SIZE_MAX = 32 << 20
"""Bytes of waiting rows that are remembered, a few seconds of a fast stream; of more, the table alone knows."""
LOADED_ROWS_MAX = 50_000
"""Rows that are read from the table to be remembered: after a restart, or when a crowd has gone."""


@dataclass(slots=True)
class Buffer:
    """`table` keeps (``n``, ``rt``, the columns). `n` numbers the rows in the order in which they came; `also` are tables in
    which the operator keeps numbered rows that have left this one."""

    table: str
    columns: Shape
    also: tuple[str, ...] = ()
    _next: int | None = None
    _waiting: pa.Table | None = None
    """The rows of the table by `n`; None where nobody has looked, or they are too many."""

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
        rows, due = self._reached(work, source, strict, joint)
        if not due.any():
            return None
        released = rows if due.all() else rows.filter(pa.array(due))
        times = released.column("rt").cast(pa.int64()).to_numpy()
        if np.any(times[1:] < times[:-1]):
            released = released.take(pa.array(np.argsort(times, kind="stable")))
        return released.combine_chunks()

    def reached(self, work: Work, names: Sequence[str]) -> tuple[pa.Table, pa.Table] | None:
        """Rows of which some columns (`names`) are there for those that the frontier has reached, each row by its ``n``: whoever
        needs few whole rows has not copied the others. None if there are none."""
        rows, due = self._reached(work, 0, strict=False, joint=False)
        if not due.any():
            return None
        few = rows.select(names)
        return rows, few if due.all() else few.filter(pa.array(due))

    def _reached(self, work: Work, source: int, strict: bool, joint: bool) -> tuple[pa.Table, np.ndarray]:
        """Rows, and which of them come out now; those of one time are in their order."""
        fresh, at = self.numbered(work, work.fresh[source]), work.joint if joint else work.at[source]
        if self._waiting is None:
            self._waiting = self._loaded(work)
        if self._waiting is None or (fresh is not None and fresh.schema != self._waiting.schema):
            self._waiting = None
            released = self._released(work, fresh, at, strict)
            return released, np.ones(len(released), bool)
        rows = self._waiting if fresh is None else pa.concat_tables([self._waiting, fresh])
        times = rows.column("rt").cast(pa.int64()).to_numpy()
        due = np.zeros(len(rows), bool) if at is None else times < at if strict else times <= at
        old = len(self._waiting)
        if due[:old].any():
            assert at is not None, "nothing is due before there is a frontier"
            work.delete(self.table, f"rt {'<' if strict else '<='} {before(at)}")
        if fresh is not None:
            left = fresh if not due[old:].any() else fresh.filter(pa.array(~due[old:]))
            work.insert(self.table, left)
        self._remember(rows if not due.any() else rows.filter(pa.array(~due)))
        return rows, due

    def _loaded(self, work: Work) -> pa.Table | None:
        """The rows of the table, unless they are too many to remember."""
        if (work.value(f"SELECT count(*) FROM {self.table}") or 0) > LOADED_ROWS_MAX:
            return None
        names = ", ".join(name for name, _ in self.shape)
        found = work.table(f"SELECT {names} FROM {self.table} ORDER BY n")
        return found if found.nbytes <= REMEMBERED_SIZE_MAX else None

    def _remember(self, rows: pa.Table) -> None:
        # Rows that were cut out of others would keep these in memory.
        self._waiting = rows.combine_chunks() if rows.nbytes <= REMEMBERED_SIZE_MAX else None

    def _released(self, work: Work, fresh: pa.Table | None, at: int | None, strict: bool) -> pa.Table:
        """The rows that come out, from the table."""
        if at is None:
            if fresh is not None:
                work.insert(self.table, fresh)
            return work.table(f"SELECT * FROM {self.table} LIMIT 0")
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
        return rows

    def waiting_ms(self, connection: object) -> int | None:
        if self._waiting is not None:
            times = self._waiting.column("rt").cast(pa.int64()).to_numpy()
            return int(times.min()) if len(times) else None
        ((first,),) = connection.execute(  # type: ignore[attr-defined]  # a DuckDB connection
            f"SELECT epoch_ms(CAST(min(rt) AS TIMESTAMP)) FROM {self.table}"
        ).fetchall()
        return first
