"""What a program does and keeps, for people: its pumps in the order of the data, their state, and what time waits for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from analytics.operators.accumulating import Accumulating
from analytics.operators.asof import Asof
from analytics.operators.distinct import Distinct
from analytics.operators.joining import Joining
from analytics.operators.learning import Learning
from analytics.operators.panes import Panes
from analytics.operators.ranking import Ranking
from analytics.operators.row_joining import RowJoining
from analytics.operators.running import RunningSliding
from analytics.operators.runs import Runs
from analytics.operators.sessions import Sessions
from analytics.operators.sliding import Sliding
from analytics.operators.stagger import Stagger
from analytics.operators.timing import Ordered, Retimed
from analytics.operators.top import First, Top, WindowTop
from analytics.operators.watermark import Watermarked
from analytics.operators.work import Operator, Shape
from analytics.plan import Plan, Pump

_DOES: dict[type, tuple[str, str]] = {
    Accumulating: ("adds rows to groups that go on", "groups, no more than the table RETAINs"),
    First: ("gives a row unless one of its key was there within a time before", "the last time of each key"),
    Top: ("keeps the first rows of each key", "these rows, and no more keys than the table RETAINs"),
    WindowTop: ("gives the first rows of each key and window", "the first rows of open windows"),
    Asof: ("joins a row with the last one before it", "rows that wait, and those that one may still look back to"),
    Distinct: ("gives each row once for a value of its monotonic columns", "rows of the present value"),
    Joining: ("joins two streams", "rows of each side while their window is open"),
    Learning: ("tells of each row what a model has learnt", "what the model has learnt"),
    Panes: ("merges the panes of each window", "panes, partial aggregates, while a window has them"),
    Ranking: ("ranks the rows of an instant", "rows of instants that are not over"),
    RowJoining: ("joins two streams", "rows of each side while they are in its window"),
    RunningSliding: ("goes on with the frame of rows behind each row", "rows that a later frame reaches"),
    Runs: ("waits until a run of equal values is over", "rows of the run"),
    Sessions: ("finds out which rows are one session", "partial aggregates of sessions that are not over"),
    Sliding: ("computes over the frame of rows behind each row", "rows that a later frame reaches"),
    Stagger: ("counts windows from the first row of each key", "rows of open windows"),
    Retimed: ("gives rows another time", "how far that time has come"),
    Watermarked: ("parts late rows from those in time", "how far time has come, and rows of the last instant"),
    Ordered: ("puts rows in order once their time is over", "rows whose time is not over"),
}
_WINDOW = "counts windows that begin at fixed times"
_PARTIAL, _KEPT = "partial aggregates of open windows, a row a group", "rows of open windows"


@dataclass(frozen=True, slots=True)
class Kept:
    """A table of the state: `columns` as (name, type), and what is in it now, `bytes` as Arrow."""

    table: str
    what: str
    columns: Shape
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PumpExplained:
    """`sql` is what DuckDB runs over each micro-batch; None where an operator of ours does the work."""

    name: str
    sources: tuple[str, ...]
    target: str
    does: str
    sql: str | None
    kept: tuple[Kept, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """`at_ms` is how far each input's time has come (None: no record yet); `open_until_ms` when the first open window ends
    (None: none is open)."""

    pumps: tuple[PumpExplained, ...]
    at_ms: Mapping[str, int | None]
    open_until_ms: int | None

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """The inputs whose time has not come to the end of the first open window: why it is open."""
        if self.open_until_ms is None:
            return ()
        return tuple(name for name, at in self.at_ms.items() if at is None or at < self.open_until_ms)


def explain(
    plan: Plan, connection: duckdb.DuckDBPyConnection, at_ms: Mapping[str, int | None], open_until_ms: int | None
) -> Explained:
    """Of a program whose state is behind the connection."""
    names = {stream.physical: stream.name for stream in plan.streams.values()}
    names |= {relation.physical: name for name, relation in plan.inputs.items()}
    return Explained(tuple(_pump(pump, names, connection) for pump in plan.pumps), dict(at_ms), open_until_ms)


def _pump(pump: Pump, names: Mapping[str, str], connection: duckdb.DuckDBPyConnection) -> PumpExplained:
    return PumpExplained(
        pump.name,
        tuple(names.get(source, source) for source in pump.sources),
        names.get(pump.target, pump.target),
        _does(pump),
        None if pump.rows is None else pump.rows.select(names.get(pump.source, pump.source)),
        tuple(_kept(connection, *table) for table in _tables(pump)),
    )


def _does(pump: Pump) -> str:
    if pump.operator is not None:
        return _of(pump.operator)[0]
    return "computes each row by itself" if pump.window is None else _WINDOW


def _of(operator: Operator) -> tuple[str, str]:
    return _DOES.get(type(operator), (type(operator).__name__, "state"))


def _tables(pump: Pump) -> Iterator[tuple[str, str, Shape]]:
    if pump.window is not None:
        yield pump.window.table, _KEPT if pump.window.compact is None else _PARTIAL, pump.window.state
    if pump.operator is not None:
        for table, shape in pump.operator.tables.items():
            yield table, _of(pump.operator)[1], shape


def _kept(connection: duckdb.DuckDBPyConnection, table: str, what: str, shape: Sequence[tuple[str, str]]) -> Kept:
    rows = size = 0
    for batch in connection.sql(f"SELECT * FROM {table}").to_arrow_reader(100_000):
        rows += batch.num_rows
        size += batch.nbytes
    return Kept(table, what, tuple(shape), rows, size)
