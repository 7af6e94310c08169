"""The machine that runs a plan: rows and frontiers in, rows of every stream and changes of the state out.

One call of `Engine.step` is one micro-batch. It reads the state and changes nothing; `Changes.apply` writes, inside the
transaction of whoever keeps the state. All rows are Arrow tables of ``rt`` and ``c0``, ``c1``, ….
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from analytics import direct, faults, functions
from analytics.attempts import Attempts
from analytics.errors import SqlError
from analytics.functions import NOW, STARTED, set_clock
from analytics.limits import Limits
from analytics.offered import Offered
from analytics.operators.work import END, Change, Operator, Work
from analytics.pending import Pending, ended
from analytics.plan import Plan, Pump, RowQuery, Window
from analytics.replacing import replaced
from analytics.scripts import register
from analytics.spans import Left
from connectors.formats.json import encode_json


@dataclass(slots=True)
class Changes:
    """What a micro-batch does to the state: partial rows of windows to add, up to which time windows are closed, and what
    operators change; `kept` is what happens to the rows that queries see."""

    added: dict[str, pa.Table] = field(default_factory=dict)
    closed: dict[str, tuple[Window, int]] = field(default_factory=dict)
    operators: list[Change] = field(default_factory=list)
    kept: list[Change] = field(default_factory=list)

    @property
    def any(self) -> bool:
        return bool(self.added or self.closed or self.operators or self.kept)

    def apply(self, offered: Offered) -> None:
        for table, (window, at_ms) in self.closed.items():
            offered.connection.execute(f"DELETE FROM {table}{ended(window, at_ms)}")
        for table, rows in self.added.items():
            offered.execute(f"INSERT INTO {table} SELECT * FROM added", rows)
        for change in (*self.operators, *self.kept):
            change.apply(offered)


@dataclass(slots=True)
class Step:
    """`rows` by the physical name of their stream; `faulty` are rows of the error stream; `closed_ms` is the end of the
    last window that closed."""

    rows: dict[str, pa.Table]
    faulty: list[pa.Table]
    changes: Changes
    frontiers: dict[str, int]
    closed_ms: int | None


class Engine:
    """Runs in one thread at a time. The connection holds the state tables (see `create`) and the reference tables. `limits`
    are those of the plan's functions in Python."""

    def __init__(self, plan: Plan, connection: duckdb.DuckDBPyConnection, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        sql = repr(plan.pumps)
        functions.register(connection, sql)
        register(connection, plan.scripts, self._limits)
        self._plan = plan
        self._connection = connection
        self._attempts = Attempts(connection, _readable(plan))
        self._tables = {stream.physical: stream for stream in plan.streams.values() if stream.retain is not None}
        self._pending = Pending(connection)
        self._registered: set[str] = set()
        self._direct = {
            query: direct.compiled(query)
            for pump in plan.pumps
            for query in (pump.rows, pump.window and pump.window.closing)
            if query and (pump.window is None or pump.window.fold)
        }
        self._waiting: dict[int, int | None] = {}
        self._bases: dict[str, int] = {}
        self._started = False
        self._clocked = NOW in sql

    @staticmethod
    def create(plan: Plan, connection: duckdb.DuckDBPyConnection) -> None:
        """The state tables, empty, where they are not there yet."""
        for pump in plan.pumps:
            if pump.window is not None:
                _create(connection, pump.window.table, pump.window.state)
            for table, shape in pump.operator.tables.items() if pump.operator is not None else ():
                _create(connection, table, shape)
        for stream in plan.streams.values():
            if stream.retain is not None:
                _create(connection, stream.kept, stream.shape)

    def recover(self) -> None:
        """Learns from the state tables which windows are open."""
        for pump in self._plan.pumps:
            if pump.window is not None:
                self._pending.look(pump.window)
        self._wait()

    @property
    def open_until_ms(self) -> int | None:
        """When the first open window ends; None if none is open."""
        ends = [*self._pending.ends, *self._waiting.values()]
        return min((end for end in ends if end is not None), default=None)

    def step(self, inputs: Mapping[str, pa.Table], frontiers: Mapping[str, int], now_ms: int) -> Step:
        """`inputs` and `frontiers` by the physical name of the input. A pump's frontier is that of its source."""
        if not self._started:
            set_clock(self._connection, STARTED, now_ms)
            self._started = True
        if self._clocked:
            set_clock(self._connection, NOW, now_ms)
        result = Step(
            {name: table for name, table in inputs.items() if len(table)}, [], Changes(), dict(frontiers), None
        )
        self._limits.begin()
        try:
            self._work(result, now_ms)
        except duckdb.Error:
            self._limits.check()
            raise
        finally:
            self._forget()
        self._limits.check()
        return result

    def _work(self, result: Step, now_ms: int) -> None:
        feeding: dict[str, list[int | None]] = {}
        for pump in self._plan.pumps:
            at = result.frontiers.get(pump.source)
            if pump.operator is not None:
                made, at = self._operate(pump, pump.operator, result, now_ms)
            else:
                made = self._run(pump, result, at, now_ms)
            if pump.target in self._tables:
                result.changes.kept += replaced(self._tables[pump.target], result.rows.get(pump.source), made)
                continue
            feeding.setdefault(pump.target, []).append(at)
            if made is not None and len(made):
                before = result.rows.get(pump.target)
                result.rows[pump.target] = made if before is None else pa.concat_tables([before, made])
            # The pumps into a stream all stand before those that read it: the last one leaves the least frontier.
            known = feeding[pump.target]
            if None not in known:
                result.frontiers[pump.target] = min(at for at in known if at is not None)
            else:
                result.frontiers.pop(pump.target, None)

    def applied(self, changes: Changes) -> None:
        """To be called after the changes are committed."""
        for pump in self._plan.pumps:
            window = pump.window
            if window is None or window.table not in changes.closed.keys() | changes.added.keys():
                continue
            if window.table in changes.closed:
                self._pending.look(window)
            else:
                self._pending.add(window, changes.added[window.table])
            self._pending.compact(window)
        if changes.operators:
            self._wait()

    def _wait(self) -> None:
        for pump in self._plan.pumps:
            if pump.operator is not None:
                self._waiting[id(pump.operator)] = pump.operator.waiting_ms(self._connection)

    def _operate(self, pump: Pump, operator: Operator, step: Step, now_ms: int) -> tuple[pa.Table | None, int | None]:
        fresh = [step.rows.get(source) for source in pump.sources]
        work = Work(self._connection, fresh, [step.frontiers.get(source) for source in pump.sources], now_ms)
        waiting = self._waiting.get(id(operator))
        due = work.joint is not None and (work.joint >= END or (waiting is not None and waiting <= work.joint))
        if not due and not any(rows is not None and len(rows) for rows in fresh):
            return None, operator.frontier(work)
        made = operator.step(work)
        step.changes.operators += work.changes
        for each in work.refused:
            times = each.rows.column("rt").cast(pa.timestamp("ms")).cast(pa.int64()).to_pylist()
            data = encode_json(self._attempts.readable(each.rows, pump)).to_pylist()
            count = len(data)
            step.faulty.append(faults.rows(now_ms, [each.name] * count, [each.message] * count, times, data, pump.name))
        return made, operator.frontier(work)

    def _run(self, pump: Pump, step: Step, at: int | None, now_ms: int) -> pa.Table | None:
        source = step.rows.get(pump.source)
        assert pump.rows is not None, "a pump without an operator computes rows"
        if pump.window is None:
            return None if source is None else self._passed(pump, pump.rows, source, step, now_ms)
        fresh = None
        if source is not None:
            fresh = self._folded(pump, pump.rows, pump.window, source)
            if fresh is None:
                self._register(pump.source, source)
                fresh = self._partials(pump, pump.window, step, now_ms)
        return self._close(pump, pump.window, fresh, step, at, now_ms)

    def _passed(self, pump: Pump, query: RowQuery, source: pa.Table, step: Step, now_ms: int) -> pa.Table:
        """The rows of a pump without a window."""
        made = self._alone(pump.source, query, source)
        if made is None:
            self._register(pump.source, source)
            made = self._attempts.rows(query, pump.source, pump, step.faulty, now_ms)
        return made

    def _alone(self, name: str, query: RowQuery, source: pa.Table) -> pa.Table | None:
        """The rows of a query without DuckDB; None where it has to make them. `name` is that of the source."""

        def asked() -> pa.Schema:
            self._register(name, source)
            return self._table(f"{query.select(name)} LIMIT 0").schema

        alone = self._direct.get(query)
        return None if alone is None else alone.rows(source, asked)

    def _folded(self, pump: Pump, query: RowQuery, window: Window, source: pa.Table) -> pa.Table | None:
        """The partial rows of a window without DuckDB; None where it has to make them."""
        rows = None if window.fold is None else self._alone(pump.source, query, source)
        if rows is None or window.fold is None:
            return None
        try:
            return window.fold.partial(rows)
        except Left:
            alone = self._direct[query]
            assert alone is not None, "it has made the rows"
            alone.leave()
            return None

    def _register(self, name: str, rows: pa.Table) -> None:
        if name not in self._registered:
            self._connection.register(name, rows)
            self._registered.add(name)

    def _forget(self) -> None:
        """Rows of streams are known to the database for one micro-batch."""
        for name in self._registered:
            self._connection.unregister(name)
        self._registered.clear()

    def _partials(self, pump: Pump, window: Window, step: Step, now_ms: int) -> pa.Table:
        assert pump.rows is not None, "a window is over rows"
        base = self._base(window)
        try:
            made = self._table(window.partial.format(source=f"({pump.rows.select(pump.source)})", base=base))
        except duckdb.Error:
            rows = self._attempts.rows(pump.rows, pump.source, pump, step.faulty, now_ms)
            self._connection.register("rows_of_pump", rows)
            try:
                made = self._table(window.partial.format(source="rows_of_pump", base=base))
            finally:
                self._connection.unregister("rows_of_pump")
        if window.numbered:
            self._bases[window.table] = base + len(step.rows[pump.source])
        return made

    def _base(self, window: Window) -> int:
        """How many rows a window that numbers them has seen."""
        if window.numbered and window.table not in self._bases:
            ((last,),) = self._connection.execute(f"SELECT coalesce(max(n), 0) FROM {window.table}").fetchall()
            self._bases[window.table] = last
        return self._bases.get(window.table, 0)

    def _close(
        self, pump: Pump, window: Window, fresh: pa.Table | None, step: Step, at: int | None, now_ms: int
    ) -> pa.Table | None:
        if fresh is not None and not len(fresh):
            fresh = None
        span = None if fresh is None else self._pending.span(window, fresh)
        ends = [end for end in (self._pending.first(window), span and span[0]) if end is not None]
        if at is None or not ends or min(ends) > at:
            if fresh is not None:
                step.changes.added[window.table] = fresh
            return None
        merged = self._merged(window, fresh, step, at)
        if merged is not None:
            name = f"merged_{window.table}"
            rows = self._alone(name, window.closing, merged)
            if rows is None:
                self._register(name, merged)
                rows = self._attempts.rows(window.closing, name, pump, step.faulty, now_ms)
            return rows
        until = ended(window, at)
        parts = [f"SELECT * FROM {window.table}{until}"]
        left = fresh
        if fresh is not None and span is not None and span[0] <= at:
            self._connection.register("fresh", fresh)
            typed = ", ".join(f"CAST({name} AS {duck}) AS {name}" for name, duck in window.state)
            parts.append(f"SELECT {typed} FROM fresh{until}")
        try:
            every = window.merge.format(source=f"({' UNION ALL '.join(parts)})")
            rows = self._attempts.rows(window.closing, f"({every})", pump, step.faulty, now_ms)
            if span is not None and span[1] <= at:
                left = None
            elif len(parts) > 1:
                left = self._table(f"SELECT * FROM fresh WHERE NOT ({until.removeprefix(' WHERE ')})")
            last = at if until else max(self._pending.last(window, parts) or 0, 0)
        finally:
            if len(parts) > 1:
                self._connection.unregister("fresh")
        if left is not None and len(left):
            step.changes.added[window.table] = left
        step.changes.closed[window.table] = (window, at)
        step.closed_ms = max(step.closed_ms or last, last)
        return rows

    def _merged(self, window: Window, fresh: pa.Table | None, step: Step, at: int) -> pa.Table | None:
        """The groups whose window is over, without DuckDB; None where it has to make them."""
        if window.fold is None or window.stamp is None or not self._pending.few(window):
            return None
        due, left = (None, None) if fresh is None else self._pending.split(window, fresh, at)
        first = self._pending.first(window)
        known = first is not None and first <= at
        parts = [self._table(f"SELECT * FROM {window.table}{ended(window, at)}")] if known else []
        parts += [] if due is None or not len(due) else [due]
        try:
            merged = window.fold.merged(parts)
        except Left:
            return None
        if left is not None and len(left):
            step.changes.added[window.table] = left
        if known:
            step.changes.closed[window.table] = (window, at)
        last = at if at < END else self._pending.span(window, merged)[1]
        step.closed_ms = max(step.closed_ms or last, last)
        return self._pending.stamped(window, merged)

    def _table(self, sql: str) -> pa.Table:
        return self._connection.sql(sql).to_arrow_table()


def _create(connection: duckdb.DuckDBPyConnection, table: str, shape: Sequence[tuple[str, str]]) -> None:
    """An empty table, where there is none. One of an earlier release may keep a window in other columns; without rows it
    makes room. Raises `SqlError` for one with rows."""
    found = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [table]
    ).fetchall()
    if found and [name for (name,) in found] != [name for name, _ in shape]:
        if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall():
            raise SqlError(
                "the state keeps open windows in the form of an earlier release: give the program a new state"
            )
        connection.execute(f"DROP TABLE {table}")
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(f'{name} {duck}' for name, duck in shape)})")


def _readable(plan: Plan) -> dict[str, dict[str, str]]:
    names = {r.physical: {f.physical: f.name for f in (*r.fields, *r.hidden)} for r in plan.inputs.values()}
    for stream in plan.streams.values():
        names[stream.physical] = {f"c{i}": column.name for i, column in enumerate(stream.columns)}
    return names | plan.hidden
