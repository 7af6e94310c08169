"""Hopping and cumulating windows: partial results of panes, stretches of time of which every window is made.

A row is in one pane and a pane in many windows, so that a window costs a merge of its panes and no row is kept twice. Panes
come from a tumbling GROUP BY before this operator; a pane is dropped when the last window that has it is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from analytics.operators.work import END, Shape, Work
from analytics.partials import Partials


@dataclass(frozen=True, slots=True)
class Hops:
    """Windows of `size_ms` that begin at every multiple of `step_ms`."""

    step_ms: int
    size_ms: int

    pane_ms: int

    def first_end(self, pane: str) -> str:
        """When the first window that has a pane is over; all in milliseconds, a pane by its beginning."""
        return f"({_down(f'{pane} - {self.size_ms}', self.step_ms)} + {self.step_ms + self.size_ms})"

    def last_end(self, pane: str) -> str:
        return f"({_down(pane, self.step_ms)} + {self.size_ms})"

    def next_end(self, at: str) -> str:
        """The first end after an instant."""
        return f"({_down(f'{at} - {self.size_ms}', self.step_ms)} + {self.step_ms + self.size_ms})"

    def start(self, pane: str, end: str) -> str:  # of these windows the end tells it
        return f"({end} - {self.size_ms})"


@dataclass(frozen=True, slots=True)
class Growth:
    """Windows that begin at every multiple of `size_ms` and grow by `step_ms` until they are `size_ms` long."""

    step_ms: int
    size_ms: int

    pane_ms: int

    def first_end(self, pane: str) -> str:
        return f"({pane} + {self.step_ms})"

    def last_end(self, pane: str) -> str:
        return f"({_down(pane, self.size_ms)} + {self.size_ms})"

    def next_end(self, at: str) -> str:
        return f"({_down(at, self.step_ms)} + {self.step_ms})"

    def start(self, pane: str, end: str) -> str:  # all windows of a pane begin together
        return _down(pane, self.size_ms)


@dataclass(slots=True)
class Panes:
    """`table` keeps panes as partial rows, `high` when the last window was over that came out, in milliseconds. What comes
    out has the window's beginning ``w`` and its end ``e``."""

    partials: Partials
    windows: Hops | Growth
    table: str
    high: str
    _closed: int | None = None
    _known: bool = False

    @property
    def shape(self) -> Shape:
        return (("w", "TIMESTAMP_MS"), *self.partials.keys, *self.partials.state)

    @property
    def tables(self) -> Mapping[str, Shape]:
        return {self.table: self.shape, self.high: (("ms", "BIGINT"),)}

    def step(self, work: Work) -> pa.Table | None:
        closed, at = self._closed_ms(work.connection), work.at[0]
        fresh = work.fresh[0]
        every, tables = f"SELECT * FROM {self.table}", dict[str, pa.Table]()
        if fresh is not None and len(fresh):
            names = ", ".join(f"CAST({name} AS {duck}) AS {name}" for name, duck in self.shape)
            every, tables = f"{every} UNION ALL SELECT {names} FROM fresh", {"fresh": fresh}
        made = None
        if at is not None:
            made = self._ended(work, every, tables, closed, at)
        if made is None and tables:
            work.insert(self.table, tables["fresh"].select([name for name, _ in self.shape]))
        return made

    def _ended(
        self, work: Work, every: str, tables: Mapping[str, pa.Table], closed: int | None, at: int
    ) -> pa.Table | None:
        """The windows that are over at an instant; None if none is."""
        windows, step = self.windows, self.windows.step_ms
        first = windows.first_end("p")
        if closed is not None:
            first = f"greatest({first}, {windows.next_end(str(closed))})"
        last = windows.last_end("p")
        if at < END:
            last = f"least({last}, {windows.next_end(str(at))} - {step})"
        panes = f"SELECT *, epoch_ms(CAST(w AS TIMESTAMP)) AS p FROM ({every})"
        spread = f"SELECT *, unnest(generate_series({first}, {last}, {step})) AS end_ms FROM ({panes}) WHERE {first} <= {last}"
        start = windows.start("p", "end_ms")
        ended = f"SELECT * REPLACE ({_time(start)} AS w), {_time('end_ms')} AS e FROM ({spread})"
        merged = self.partials.merge(["w", "e"]).format(source=f"({ended})")
        by = ", ".join(["e", "w", *(name for name, _ in self.partials.keys)])
        made = work.table(f"SELECT *, e AS rt FROM ({merged}) ORDER BY {by}", **tables)
        if not len(made):
            return None
        high = work.value_of("SELECT epoch_ms(CAST(max(e) AS TIMESTAMP)) FROM made", made=made)
        assert high is not None, "there are windows"
        self._keep(work, panes, tables, high if at >= END else at)
        work.delete(self.high, "TRUE")
        work.insert(self.high, pa.table({"ms": pa.array([high], pa.int64())}))
        self._closed = high
        return made

    def _keep(self, work: Work, panes: str, tables: Mapping[str, pa.Table], at: int) -> None:
        """What later windows need, in the place of all that there was."""
        left = f"SELECT * FROM ({panes}) WHERE {self.windows.last_end('p')} > {at}"
        if isinstance(self.windows, Growth):
            # Whatever has come out is in every later window: one row a group will do for it.
            grown = _time(f"{_down(str(at), self.windows.step_ms)} - {self.windows.step_ms}")
            inside = f"p + {self.windows.step_ms} <= {at}"
            moved = f"SELECT * REPLACE (CASE WHEN {inside} THEN {grown} ELSE w END AS w) FROM ({left})"
            left = self.partials.compact(["w"]).format(source=f"({moved})")
            work.delete(self.table, "TRUE")
            work.insert(self.table, work.table(left, **tables))
            return
        over = f"{self.windows.last_end('epoch_ms(CAST(w AS TIMESTAMP))')} <= {at}"
        work.delete(self.table, over)
        if tables:
            names = ", ".join(name for name, _ in self.shape)
            work.insert(self.table, work.table(f"SELECT {names} FROM fresh WHERE NOT ({over})", **tables))

    def _closed_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        if not self._known:
            ((self._closed,),) = connection.execute(f"SELECT max(ms) FROM {self.high}").fetchall()
            self._known = True
        return self._closed

    def frontier(self, work: Work) -> int | None:
        return work.at[0]

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        closed = self._closed_ms(connection)
        first = self.windows.first_end("p")
        if closed is not None:
            first = f"greatest({first}, {self.windows.next_end(str(closed))})"
        ((end,),) = connection.execute(
            f"SELECT min({first}) FROM (SELECT epoch_ms(CAST(w AS TIMESTAMP)) AS p FROM {self.table}) "
            f"WHERE {first} <= {self.windows.last_end('p')}"
        ).fetchall()
        return end


def _time(ms: str) -> str:
    return f"CAST(make_timestamp_ms({ms}) AS TIMESTAMP_MS)"


def _down(value: str, step: int) -> str:
    """The multiple of `step` at or before a number, also of one below zero."""
    return f"(({value}) - ((({value}) % {step}) + {step}) % {step})"
