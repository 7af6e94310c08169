"""Which windows are open, and how large their state is: what a process remembers beside the tables of partial rows."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from analytics.operators.work import END
from analytics.plan import Window

COMPACT_ROWS_MIN = 500_000
"""Partial rows of a window's state before they are merged in place: below that, merging at the close is cheaper."""
COMPACT_GROWTH = 2
"""How many times what a merge has left must come before the next: where groups hardly repeat, merging only costs."""
COMPACT_SHARE_MAX = 0.8
"""Of partial rows that would be left, as DuckDB estimates it for less than merging costs: more are not merged."""
FEW_ROWS_MAX = 500_000
"""Partial rows that are merged as a whole over Arrow when windows close; more stream through DuckDB."""
_KNOWN_MAX = 10_000
"""Ends that are remembered: those of the windows that rows come into, a few at a time."""


class Pending:
    """Of every window table the first end and the number of rows. Its answers are those of the tables after the last
    commit; all times are milliseconds."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._open: dict[str, int | None] = {}
        self._sizes: dict[str, int] = {}
        self._merged: dict[str, int] = {}
        self._known: dict[tuple[str, int], int] = {}

    @property
    def ends(self) -> list[int | None]:
        """When the first open window of each table ends."""
        return list(self._open.values())

    def first(self, window: Window) -> int | None:
        """When the first of the windows in its table ends; None where there are none."""
        return self._open.get(window.table)

    def span(self, window: Window, rows: pa.Table) -> tuple[int, int]:
        """The first and the last end of the windows of partial rows, of which there are some. A later window does not end
        before an earlier one."""
        values = pc.min_max(rows.column("w").cast(pa.int64()))
        return self._end(window, values["min"].as_py()), self._end(window, values["max"].as_py())

    def few(self, window: Window) -> bool:
        """Whether its table has no more rows than may be looked at as a whole."""
        # Of a table that merging did not shrink the size is what has come since.
        return self._sizes.get(window.table, 0) + self._merged.get(window.table, 0) <= FEW_ROWS_MAX

    def split(self, window: Window, rows: pa.Table, at_ms: int) -> tuple[pa.Table, pa.Table]:
        """Partial rows whose window is over, and the others."""
        first, last = self.span(window, rows)
        if last <= at_ms or at_ms >= END:
            return rows, rows.slice(0, 0)
        if first > at_ms:
            return rows.slice(0, 0), rows
        starts = rows.column("w").cast(pa.int64())
        over = [start for start in pc.unique(starts).to_pylist() if self._end(window, start) <= at_ms]
        due = pc.is_in(starts, pa.array(over, pa.int64()))
        return rows.filter(due), rows.filter(pc.invert(due))

    def stamped(self, window: Window, rows: pa.Table) -> pa.Table:
        """Rows of windows with the time ``rt`` that the rows of each get."""
        assert window.stamp is not None, "it was asked before"
        starts = rows.column("w").combine_chunks().dictionary_encode()
        known = starts.dictionary.cast(pa.int64()).to_pylist()
        times = pa.array([self._at(window.stamp, start) for start in known], pa.int64()).cast(pa.timestamp("ms"))
        return rows.append_column("rt", times.take(starts.indices))

    def last(self, window: Window, parts: Sequence[str]) -> int | None:
        """The last end in the partial rows that some queries give."""
        value, _ = self._looked("max", f"({' UNION ALL '.join(parts)})")
        return None if value is None else self._end(window, value)

    def look(self, window: Window) -> None:
        """Learns from the table."""
        value, self._sizes[window.table] = self._looked("min", window.table)
        self._open[window.table] = None if value is None else self._end(window, value)

    def add(self, window: Window, rows: pa.Table) -> None:
        """`rows` have been added to the table."""
        self._sizes[window.table] = self._sizes.get(window.table, 0) + len(rows)
        if len(rows):
            ends = (self._open.get(window.table), self.span(window, rows)[0])
            self._open[window.table] = min(end for end in ends if end is not None)

    def compact(self, window: Window) -> None:
        """Merges partial rows in place where it is time to, in a transaction of its own."""
        limit = max(COMPACT_ROWS_MIN, COMPACT_GROWTH * self._merged.get(window.table, 0))
        if window.compact is None or self._sizes.get(window.table, 0) <= limit:
            return
        run = self._connection.execute
        if window.grouping:
            sql = f"SELECT approx_count_distinct(hash({', '.join(window.grouping)})), count(*) FROM {window.table}"
            ((left, rows),) = run(sql).fetchall()
            if left > COMPACT_SHARE_MAX * rows:
                self._merged[window.table], self._sizes[window.table] = rows, 0
                return
        run("BEGIN")
        # A table in the place of the other is written once; DELETE and INSERT would write everything three times.
        run(f"CREATE TABLE compacted AS {window.compact.format(source=window.table)}")
        run(f"DROP TABLE {window.table}")
        run(f"ALTER TABLE compacted RENAME TO {window.table}")
        run("COMMIT")
        self.look(window)
        # What a merge could not shrink is no reason to merge again at once.
        self._merged[window.table], self._sizes[window.table] = self._sizes[window.table], 0

    def _looked(self, which: str, source: str) -> tuple[int | None, int]:
        """The first or last window in partial rows, and the number of these rows."""
        sql = f"SELECT epoch_ms(CAST({which}(w) AS TIMESTAMP)), count(*) FROM {source}"
        ((value, count),) = self._connection.execute(sql).fetchall()
        return value, count

    def _end(self, window: Window, value: int) -> int:
        """When the window `value` is over."""
        return self._at(window.end, value)

    def _at(self, expression: str, value: int) -> int:
        """An instant that depends on the window `value`. Asked of DuckDB once, for months are of many lengths."""
        key = (expression, value)
        if key not in self._known:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            of = f"(SELECT CAST(make_timestamp_ms({value}) AS TIMESTAMP_MS) AS w)"
            sql = f"SELECT epoch_ms(CAST({expression} AS TIMESTAMP)) FROM {of}"
            ((self._known[key],),) = self._connection.execute(sql).fetchall()
        return self._known[key]


def ended(window: Window, at_ms: int) -> str:
    """The condition on partial rows whose window is over; empty for all."""
    return "" if at_ms >= END else f" WHERE {window.end} <= make_timestamp_ms({at_ms})"
