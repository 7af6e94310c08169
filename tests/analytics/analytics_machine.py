"""Runs the machine of a program over rows given as tuples, in any batches, with restarts between them."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from analytics import parse
from analytics.compiler import compile_program
from analytics.engine import Engine
from analytics.operators.work import END
from analytics.state import State
from connectors.formats.schema import Column

COLUMNS = [Column("K", pa.string()), Column("V", pa.int64())]
Row = tuple[int, str, int]
"""ROWTIME in seconds, key, value."""
ROWS = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab"), st.integers(-5, 5)), max_size=25).map(
    lambda rows: sorted(rows, key=lambda row: row[0])
)
CUTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.booleans()), max_size=12)
"""How many rows of each stream a batch takes, and whether the process begins anew after it."""


def run(sql: str, streams: dict[str, Sequence[Row]], cuts: Sequence[tuple[int, int, bool]]) -> Counter[tuple[Any, ...]]:
    """The rows of the stream OUT as (ROWTIME in seconds, columns…)."""
    return _run(sql, streams, cuts)[0]


def run_tables(
    sql: str, streams: dict[str, Sequence[Row]], cuts: Sequence[tuple[int, int, bool]]
) -> list[tuple[Any, ...]]:
    """The rows of the table T in the end, likewise."""
    return _run(sql, streams, cuts)[1]


def _run(
    sql: str, streams: dict[str, Sequence[Row]], cuts: Sequence[tuple[int, int, bool]]
) -> tuple[Counter[tuple[Any, ...]], list[tuple[Any, ...]]]:
    columns = dict.fromkeys(streams, COLUMNS)
    plan = compile_program(parse(sql), columns, {})
    state = State(None, sql)
    engine = Engine(plan, state.connection)
    Engine.create(plan, state.connection)
    left = {name: list(rows) for name, rows in streams.items()}
    reached = dict.fromkeys(streams, 0)
    found: Counter[tuple[Any, ...]] = Counter()

    def step(tables: dict[str, pa.Table], frontiers: dict[str, int]) -> None:
        made = engine.step(tables, frontiers, 0)
        assert made.faulty == []
        state.connection.execute("BEGIN")
        made.changes.apply(state.offered)
        state.connection.execute("COMMIT")
        engine.applied(made.changes)
        if "OUT" in plan.streams:
            found.update(timed(made.rows.get(plan.streams["OUT"].physical, pa.table({}))))

    try:
        for *sizes, again in [*cuts, (99, 99, True)]:
            tables = {}
            for name, size in zip(streams, sizes, strict=False):
                taken, left[name] = left[name][:size], left[name][size:]
                if taken:
                    tables[plan.inputs[name].physical] = table(taken)
                    reached[name] = taken[-1][0] * 1000
            step(tables, {plan.inputs[name].physical: at for name, at in reached.items()})
            if again:
                plan = compile_program(parse(sql), columns, {})
                engine = Engine(plan, state.connection)
                engine.recover()
        step({}, {plan.inputs[name].physical: END for name in streams})
        kept: list[tuple[Any, ...]] = []
        if "T" in plan.streams:
            kept = timed(state.connection.sql(f"SELECT * FROM {plan.streams['T'].kept}").to_arrow_table())
    finally:
        state.close()
    return found, kept


def timed(rows: pa.Table) -> list[tuple[Any, ...]]:
    return [
        (row["rt"].replace(tzinfo=dt.UTC).timestamp(), *(value for name, value in row.items() if name[0] == "c"))
        for row in rows.to_pylist()
    ]


def table(rows: Sequence[Row]) -> pa.Table:
    return pa.table(
        {
            "rt": pa.array([time * 1000 for time, _, _ in rows]).cast(pa.timestamp("ms")),
            "c0": pa.array([key for _, key, _ in rows], pa.string()),
            "c1": pa.array([value for _, _, value in rows], pa.int64()),
        }
    )
