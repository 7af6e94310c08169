"""Stagger windows: a window opens for a key with its first row and ends its length later; the next row opens another.

The operator tells each row the opening of its window, in column ``w``; the groups are then those of key and opening.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from analytics.operators.buffer import Buffer
from analytics.operators.work import END, Change, Shape, Work, before


@dataclass(slots=True)
class Stagger:
    """`keys` are names of columns, `opened` the table of open windows, (keys, ``w``)."""

    buffer: Buffer
    keys: Sequence[str]
    opened: str
    length_ms: int

    @property
    def tables(self) -> Mapping[str, Shape]:
        kinds = dict(self.buffer.columns)
        return {
            self.buffer.table: self.buffer.shape,
            self.opened: (*((key, kinds[key]) for key in self.keys), ("w", "TIMESTAMP_MS")),
        }

    def step(self, work: Work) -> pa.Table | None:
        rows = self.buffer.release(work)
        at = work.at[0]
        over = (
            "FALSE" if at is None else "TRUE" if at >= END else f"w + to_milliseconds({self.length_ms}) <= {before(at)}"
        )
        if rows is None:
            if at is not None:
                work.delete(self.opened, over)
            return None
        keys = ", ".join(self.keys)
        numbered = work.table(
            f"""SELECT g, epoch_ms(CAST(t AS TIMESTAMP)) AS t, n FROM (
                SELECT dense_rank() OVER (ORDER BY {keys}) AS g, * FROM (
                    SELECT {keys}, w AS t, -1 AS n FROM {self.opened} UNION ALL
                    SELECT {keys}, rt, row_number() OVER (ORDER BY rt, n) - 1 FROM released))
            ORDER BY g, n""",
            released=rows,
        )
        openings = self._openings(
            numbered.column("g").to_numpy(), numbered.column("t").to_numpy(), numbered.column("n").to_numpy(), len(rows)
        )
        rows = rows.append_column("w", pa.array(openings).cast(pa.timestamp("ms")))
        last = work.table(f"SELECT {keys}, max(w) AS w FROM rows GROUP BY {keys}", rows=rows)
        same = " AND ".join(f"{self.opened}.{key} IS NOT DISTINCT FROM added.{key}" for key in self.keys)
        work.changes.append(Change(f"DELETE FROM {self.opened} USING added WHERE {same}", last))
        work.insert(self.opened, last)
        work.delete(self.opened, over)
        return rows.drop_columns(["n"])

    def _openings(self, groups: np.ndarray, times: np.ndarray, numbers: np.ndarray, count: int) -> np.ndarray:
        """The opening of the window of each row. A group begins with its open window, if there is one (number -1)."""
        result = np.zeros(count, np.int64)
        bounds = np.flatnonzero(np.diff(groups, prepend=-1))
        for begin, end in zip(bounds, [*bounds[1:], len(groups)], strict=True):
            index, opening = int(begin), int(times[begin])
            first = index + (numbers[index] == -1)
            index = first
            while index < end:
                if times[index] >= opening + self.length_ms:
                    opening = int(times[index])
                after = index + int(np.searchsorted(times[index:end], opening + self.length_ms))
                result[numbers[index:after]] = opening
                index = after
        return result

    def frontier(self, work: Work) -> int | None:
        return work.at[0]

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        return self.buffer.waiting_ms(connection)
