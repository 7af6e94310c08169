"""Random programs over random streams: whatever the batches, the order within the bound and the crashes, each stream holds
the rows that the same program gives over the whole streams at once, computed naively in Python."""

from __future__ import annotations

import copy
import datetime as dt
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from analytics_random import KINDS, Drawing, Program, Row, Stream
from analytics_windows import STEPS
from hypothesis import HealthCheck, Phase, given, note, reject, settings
from hypothesis import strategies as st

from analytics import parse
from analytics.compiler import compile_program
from analytics.engine import Engine
from analytics.errors import SqlError
from analytics.operators.work import END
from analytics.state import State
from connectors.formats.schema import Column

ARROW = {
    "K": pa.string(),
    "N": pa.int32(),
    "L": pa.int64(),
    "D": pa.float64(),
    "M": pa.decimal128(8, 2),
    "B": pa.bool_(),
    "T": pa.timestamp("ms"),
}
COLUMNS = [Column(name, kind) for name, kind in ARROW.items()]
TIMES = st.integers(-20, 120)
"""ROWTIME in half seconds, on both sides of 1970."""
NO_WINDOW = ("this key of ROWTIME is no window", "two keys are windows of ROWTIME")
"""What may be drawn, since a column may come of ROWTIME, and is refused as it should be."""
VALUES = st.tuples(
    st.sampled_from(["a", "b", "ab", "", "Aé", None]),
    st.sampled_from([0, 1, 2, 7, -3, 1000, 2**31 - 1, None]),
    st.sampled_from([0, 1, -1, 2**40, 2**63 - 1, None]),
    st.sampled_from([0.0, 0.5, -1.25, 3.0, 1000.0, None]),
    st.sampled_from([Decimal("0.00"), Decimal("1.25"), Decimal("-3.50"), Decimal("999999.99"), None]),
    st.sampled_from([True, False, None]),
    st.sampled_from([0, 61_500, 1_750_000_000_000, -1, None]),
)
ROWS = st.lists(st.tuples(TIMES, VALUES), max_size=20)
BOUND_MS = 3_000
CUTS = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 7), st.sampled_from(["", "", "again", "lost", "exact"])), max_size=8
)
"""How many rows of each input a batch takes; and whether the process begins anew after its commit, or before it, so that its
work is lost, or time goes as far as it may."""


class Draws:
    """Choices that hypothesis makes."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def integer(self, low: int, high: int) -> int:
        return self._data.draw(st.integers(low, high))

    def among(self, values: Sequence[Any]) -> Any:
        return values[self.integer(0, len(values) - 1)]


def stream(name: str, rows: Sequence[tuple[int, tuple[Any, ...]]]) -> Stream:
    """An input: its rows as they come, at most the bound behind the time reached."""
    high, found = None, []
    for place, (half_seconds, values) in enumerate(rows):
        time = half_seconds * 500
        time = time if high is None else max(time, high - BOUND_MS)
        high = time if high is None else max(high, time)
        found.append(Row(time, place, values))
    return Stream(name, tuple(KINDS.items()), tuple(sorted(found, key=lambda row: (row.rt, row.place))), True, name)


def check(program: Program, cuts: Sequence[tuple[int, int, str]]) -> None:
    found, faults, left = run(program, cuts)
    for each in program.streams:
        wanted = Counter((row.rt, *(plain(value) for value in row.values)) for row in each.rows)
        given = found.get(each.name, Counter())
        assert given == wanted, f"{each.name}: missing {wanted - given}, too many {given - wanted}"
    wanted = Counter({pump: count for pump, count in program.faults.items() if count})
    assert faults == wanted, f"{dict(faults)} rows failed instead of {dict(wanted)}"
    assert left == {}, f"state is left when all is over: {left}"


def run(
    program: Program, cuts: Sequence[tuple[int, int, str]]
) -> tuple[dict[str, Counter[tuple[Any, ...]]], Counter[str], dict[str, int]]:
    """The rows of each stream, the faults of each pump, and the rows of state tables that are left in the end."""
    inputs = {each.name: COLUMNS for each in program.inputs}
    references = {"R": [Column(name, ARROW[name]) for name, _ in program.table.columns]}

    def begin() -> Engine:
        engine = Engine(copy.deepcopy(plan), state.connection)
        engine.recover()
        return engine

    try:
        plan = compile_program(parse(program.sql), inputs, references)
    except SqlError as error:
        if error.what in NO_WINDOW:
            reject()
        raise
    state = State(None, program.sql)
    rows: dict[str, Counter[tuple[Any, ...]]] = {}
    faults: Counter[str] = Counter()

    def step(engine: Engine, tables: dict[str, pa.Table], frontiers: dict[str, int], *, lost: bool = False) -> None:
        made = engine.step(tables, frontiers, 0)
        if lost:
            return
        state.connection.execute("BEGIN")
        made.changes.apply(state.offered)
        state.connection.execute("COMMIT")
        engine.applied(made.changes)
        for name, each in plan.streams.items():
            if each.physical in made.rows:
                rows.setdefault(name, Counter()).update(shown(made.rows[each.physical]))
        for table in made.faulty:
            faults.update(table.column("c6").to_pylist())

    try:
        fill(state, plan.references["R"].physical, program.table)
        Engine.create(plan, state.connection)
        engine = begin()
        left = {each.name: sorted(each.rows, key=lambda row: row.place) for each in program.inputs}
        reached: dict[str, int] = {}
        for *sizes, then in [*cuts, (99, 99, "again")]:
            tables = {}
            for name, size in zip(left, sizes, strict=True):
                taken, left[name] = left[name][:size], left[name][size:]
                if name not in plan.inputs:
                    continue
                physical = plan.inputs[name].physical
                if taken:
                    tables[physical] = arrow(taken)
                    high = max(row.rt for row in taken) - BOUND_MS
                    reached[physical] = max(high, reached.get(physical, high))
                if then == "exact" and left[name]:
                    least = min(row.rt for row in left[name])
                    reached[physical] = max(least, reached.get(physical, least))
            if then == "lost":
                step(engine, tables, reached, lost=True)
                engine = begin()
            step(engine, tables, reached)
            if then == "again":
                engine = begin()
        step(engine, {}, {relation.physical: END for relation in plan.inputs.values()})
        remains = {
            table: count
            for (table,) in state.connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE regexp_full_match(table_name, 'w\\d+')"
            ).fetchall()
            if (count := state.connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])
        }
    finally:
        state.close()
    return rows, faults, remains


def fill(state: State, name: str, table: Stream) -> None:
    columns = {
        f"c{i}": pa.array([row.values[i] for row in table.rows], ARROW[c]) for i, (c, _) in enumerate(table.columns)
    }
    state.connection.register("given", pa.table(columns))
    state.connection.execute(f"CREATE TABLE {name} AS SELECT * FROM given")
    state.connection.unregister("given")


def arrow(rows: Sequence[Row]) -> pa.Table:
    columns = {"rt": pa.array([row.rt for row in rows], pa.int64()).cast(pa.timestamp("ms"))}
    for number, kind in enumerate(ARROW.values()):
        columns[f"c{number}"] = pa.array([row.values[number] for row in rows], kind)
    return pa.table(columns)


def shown(rows: pa.Table) -> list[tuple[Any, ...]]:
    names = ["rt", *sorted((n for n in rows.column_names if n[0] == "c"), key=lambda name: int(name[1:]))]
    return [tuple(plain(row[name]) for name in names) for row in rows.to_pylist()]


def plain(value: Any) -> Any:
    """A value by which equal ones are told: a time in milliseconds, a float with the digits that any order of adding keeps."""
    if isinstance(value, dt.datetime):
        return (value.replace(tzinfo=None) - dt.datetime(1970, 1, 1)) // dt.timedelta(milliseconds=1)
    if isinstance(value, float):
        return 0.0 if abs(value) < 1e-7 else float(f"{value:.9g}")
    return value


TABLE = Stream(
    "R",
    (("K", "VARCHAR(8)"), ("N", "INTEGER"), ("D", "DOUBLE")),
    tuple(
        Row(0, place, values)
        for place, values in enumerate([("a", 1, 0.5), ("b", None, 2.0), ("b", 3, -1.0), (None, 0, 0.0)])
    ),
    False,
    "R",
)


RANDOM = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    # A program shrinks for minutes, and is read as it is.
    "phases": [Phase.explicit, Phase.reuse, Phase.generate],
}


def holds(data: st.DataObject, first: Any, second: Any, cuts: Any) -> None:
    drawing = Drawing(Draws(data), [stream("A", first), stream("B", second)], TABLE)
    program = drawing.draw(STEPS)
    note(program.sql)
    if program.statements:
        check(program, cuts)


@settings(
    max_examples=30, derandomize=True, **(RANDOM | {"phases": [Phase.explicit, Phase.generate]})
)  # new ones: soak
@given(st.data(), ROWS, ROWS, CUTS)
def test_random_programs(data: st.DataObject, first: Any, second: Any, cuts: Any) -> None:
    holds(data, first, second, cuts)


@pytest.mark.soak
@settings(max_examples=5_000, **RANDOM)
@given(st.data(), ROWS, ROWS, CUTS)
def test_thousands_of_random_programs(data: st.DataObject, first: Any, second: Any, cuts: Any) -> None:
    holds(data, first, second, cuts)
