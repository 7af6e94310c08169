"""Operators beside a few lines of Python that do the same row by row: random rows, in random batches, with restarts between."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
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
        made.changes.apply(state.connection)
        state.connection.execute("COMMIT")
        engine.applied(made.changes)
        for row in made.rows.get(plan.streams["OUT"].physical, pa.table({})).to_pylist():
            time = row["rt"].replace(tzinfo=dt.UTC).timestamp()
            found[(time, *(row[f"c{i}"] for i in range(len(row) - 1)))] += 1

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
    finally:
        state.close()
    return found


def table(rows: Sequence[Row]) -> pa.Table:
    return pa.table(
        {
            "rt": pa.array([time * 1000 for time, _, _ in rows]).cast(pa.timestamp("ms")),
            "c0": pa.array([key for _, key, _ in rows], pa.string()),
            "c1": pa.array([value for _, _, value in rows], pa.int64()),
        }
    )


@settings(max_examples=12)
@given(ROWS, CUTS, st.integers(0, 15), st.integers(1, 3))
def test_sliding_windows(rows: list[Row], cuts: list[tuple[int, int, bool]], reach: int, count: int) -> None:
    sql = f"""CREATE STREAM out (k VARCHAR(4), n BIGINT, total BIGINT, least BIGINT, back BIGINT, rows_total BIGINT);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM k, COUNT(*) OVER w, SUM(v) OVER w, MIN(v) OVER w, LAG(v, 2, 99) OVER w,
      SUM(v) OVER (ROWS {count} PRECEDING)
    FROM s WINDOW w AS (PARTITION BY k RANGE INTERVAL '{reach}' SECOND PRECEDING)"""
    expected: Counter[tuple[Any, ...]] = Counter()
    for number, (time, key, _) in enumerate(rows):
        before = [v for t, k, v in rows[: number + 1] if k == key and t >= time - reach]
        last = [v for _, _, v in rows[: number + 1]][-count - 1 :]
        lag = before[-3] if len(before) > 2 else 99
        expected[(time, key, len(before), sum(before), min(before), lag, sum(last))] += 1
    assert run(sql, {"S": rows}, cuts) == expected


@settings(max_examples=12)
@given(ROWS, ROWS, CUTS, st.integers(0, 10), st.integers(0, 10), st.sampled_from(["INNER", "LEFT", "RIGHT", "FULL"]))
def test_joins(
    left: list[Row], right: list[Row], cuts: list[tuple[int, int, bool]], own: int, other: int, kind: str
) -> None:
    sql = f"""CREATE STREAM out (k VARCHAR(4), v BIGINT, w BIGINT);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM COALESCE(a.k, b.k), a.v, b.v
    FROM l OVER (RANGE INTERVAL '{own}' SECOND PRECEDING) AS a {kind} JOIN r OVER (RANGE INTERVAL '{other}' SECOND PRECEDING) AS b
    ON a.k = b.k"""
    expected: Counter[tuple[Any, ...]] = Counter()
    met_left, met_right = set(), set()
    for i, (lt, lk, lv) in enumerate(left):
        for j, (rt, rk, rv) in enumerate(right):
            if lk == rk and (0 <= lt - rt <= other or 0 <= rt - lt <= own):
                expected[(max(lt, rt), lk, lv, rv)] += 1
                met_left.add(i)
                met_right.add(j)
    if kind in ("LEFT", "FULL"):
        expected.update((t + own, k, v, None) for i, (t, k, v) in enumerate(left) if i not in met_left)
    if kind in ("RIGHT", "FULL"):
        expected.update((t + other, k, None, v) for j, (t, k, v) in enumerate(right) if j not in met_right)
    assert run(sql, {"L": left, "R": right}, cuts) == expected


def last_rows(rows: list[Row], at: int, count: int) -> set[int]:
    """Which rows are in a window of `count` rows and one at an instant: the last of them, and all of the instant."""
    reached = [number for number, (time, _, _) in enumerate(rows) if time <= at]
    return set(reached[-count - 1 :]) | {number for number in reached if rows[number][0] == at}


@settings(max_examples=12)
@given(ROWS, ROWS, CUTS, st.integers(1, 3), st.integers(0, 10), st.sampled_from(["INNER", "LEFT", "RIGHT", "FULL"]))
def test_joins_of_windows_of_rows(
    left: list[Row], right: list[Row], cuts: list[tuple[int, int, bool]], count: int, other: int, kind: str
) -> None:
    sql = f"""CREATE STREAM out (k VARCHAR(4), v BIGINT, w BIGINT);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM COALESCE(a.k, b.k), a.v, b.v
    FROM l OVER (ROWS {count} PRECEDING) AS a {kind} JOIN r OVER (RANGE INTERVAL '{other}' SECOND PRECEDING) AS b
    ON a.k = b.k"""
    expected: Counter[tuple[Any, ...]] = Counter()
    met_left, met_right = set(), set()
    for at in {time for time, _, _ in [*left, *right]}:
        there = last_rows(left, at, count)
        for i, (lt, lk, lv) in enumerate(left):
            for j, (rt, rk, rv) in enumerate(right):
                if lk == rk and max(lt, rt) == at and i in there and at - rt <= other:
                    expected[(at, lk, lv, rv)] += 1
                    met_left.add(i)
                    met_right.add(j)
    if kind in ("LEFT", "FULL"):
        for i, (_, k, v) in enumerate(left):
            if i not in met_left:
                pushed = left[i + count + 1] if i + count + 1 < len(left) else left[-1]
                expected[(pushed[0], k, v, None)] += 1
    if kind in ("RIGHT", "FULL"):
        expected.update((t + other, k, None, v) for j, (t, k, v) in enumerate(right) if j not in met_right)
    assert run(sql, {"L": left, "R": right}, cuts) == expected


@settings(max_examples=12)
@given(ROWS, CUTS, st.integers(1, 15))
def test_stagger_windows(rows: list[Row], cuts: list[tuple[int, int, bool]], length: int) -> None:
    sql = f"""CREATE STREAM out (k VARCHAR(4), n BIGINT, total BIGINT, last BIGINT);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM k, COUNT(*), SUM(v), LAST_VALUE(v) FROM s
    WINDOWED BY STAGGER (PARTITION BY k RANGE INTERVAL '{length}' SECOND)"""
    windows: list[tuple[int, str, list[int]]] = []
    for time, key, value in rows:
        mine = [window for window in windows if window[1] == key and time < window[0] + length]
        if mine:
            mine[-1][2].append(value)
        else:
            windows.append((time, key, [value]))
    expected = Counter((begin + length, key, len(found), sum(found), found[-1]) for begin, key, found in windows)
    assert run(sql, {"S": rows}, cuts) == expected


@settings(max_examples=12)
@given(ROWS, CUTS)
def test_runs_and_distinct_rows(rows: list[Row], cuts: list[tuple[int, int, bool]]) -> None:
    sql = """CREATE STREAM out (v BIGINT, n BIGINT);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM MONOTONIC(v), COUNT(*) FROM s GROUP BY MONOTONIC(v)"""
    runs: list[list[Row]] = []
    for row in rows:
        if runs and runs[-1][-1][2] == row[2]:
            runs[-1].append(row)
        else:
            runs.append([row])
    ends = [run[0][0] for run in runs[1:]] + [rows[-1][0]] if rows else []
    merged: Counter[tuple[Any, ...]] = Counter()
    for end, run_ in zip(ends, runs, strict=True):
        merged[(end, run_[0][2])] += len(run_)
    assert run(sql, {"S": rows}, cuts) == Counter((*key, n) for key, n in merged.items())

    sql = """CREATE STREAM out (at TIMESTAMP, k VARCHAR(4));
    CREATE PUMP p AS INSERT INTO out SELECT DISTINCT STREAM STEP(s.ROWTIME BY INTERVAL '10' SECOND), k FROM s"""
    first: dict[tuple[int, str], int] = {}
    for time, key, _ in rows:
        first.setdefault((time // 10, key), time)
    found = run(sql, {"S": rows}, cuts)
    assert Counter((time, key) for time, _, key in found) == Counter((time, key) for (_, key), time in first.items())
