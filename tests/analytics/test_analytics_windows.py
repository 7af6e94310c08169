"""Windows that overlap or that rows bound, beside a few lines of Python that do the same row by row: random rows, in random
batches, with restarts between."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from analytics_machine import COLUMNS as COLUMNS_OF_ROWS
from analytics_machine import CUTS, ROWS, Row, run, table
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import SqlError, parse
from analytics.compiler import compile_program
from analytics.engine import Engine
from analytics.explaining import explain
from analytics.state import State
from connectors.formats.schema import Column

Cuts = list[tuple[int, int, bool]]
Window = tuple[int, int]
"""From its beginning to its end, in seconds."""

AGGREGATES = (
    "COUNT(*), SUM(v), MIN(v), MAX(v), FIRST_VALUE(v), LAST_VALUE(v), COUNT(DISTINCT v), "
    "COUNT(DISTINCT CASE WHEN v > 0 THEN v END), SUM(DISTINCT v)"
)
COLUMNS = ", ".join(
    f"{name} BIGINT" for name in ("n", "total", "low", "high", "first", "last", "different", "positive", "once")
)


def aggregated(values: Sequence[int]) -> tuple[Any, ...]:
    different = set(values)
    positive = {value for value in different if value > 0}
    return (
        len(values),
        sum(values),
        min(values),
        max(values),
        values[0],
        values[-1],
        len(different),
        len(positive),
        sum(different),
    )


def grouped(placed: Iterable[tuple[Window, Row]]) -> Counter[tuple[Any, ...]]:
    """The rows of windows with their beginning and end, as they come out: each at its end."""
    groups: dict[tuple[Window, str], list[int]] = {}
    for window, (_, key, value) in placed:
        groups.setdefault((window, key), []).append(value)
    return Counter(
        (window[1], key, _time(window[0]), _time(window[1]), *aggregated(values))
        for (window, key), values in groups.items()
    )


def _time(seconds: int) -> Any:
    return dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds)


def program(window: str, kind: str) -> str:
    start, end = (window.replace(kind, f"{kind}_{part}", 1) for part in ("START", "END"))
    return f"""CREATE STREAM out (k VARCHAR(4), starts TIMESTAMP, ends TIMESTAMP, {COLUMNS});
    CREATE PUMP p AS INSERT INTO out SELECT STREAM k, {start}, {end}, {AGGREGATES} FROM s GROUP BY k, {window}"""


@settings(max_examples=8)
@given(ROWS, CUTS, st.integers(1, 7), st.integers(1, 20))
def test_hopping_windows(rows: list[Row], cuts: Cuts, step: int, size: int) -> None:
    sql = program(f"HOP(s.ROWTIME, INTERVAL '{step}' SECOND, INTERVAL '{size}' SECOND)", "HOP")
    begins = range(-step * 20, 60, step)
    placed = [((b, b + size), row) for row in rows for b in begins if b <= row[0] < b + size]
    assert run(sql, {"S": rows}, cuts) == grouped(placed)


@settings(max_examples=8)
@given(ROWS, CUTS, st.integers(1, 5), st.integers(1, 6))
def test_cumulating_windows(rows: list[Row], cuts: Cuts, step: int, count: int) -> None:
    size = step * count
    sql = program(f"CUMULATE(s.ROWTIME, INTERVAL '{step}' SECOND, INTERVAL '{size}' SECOND)", "CUMULATE")
    placed = [
        ((begin, end), row)
        for row in rows
        for begin in [row[0] // size * size]
        for end in range(begin + step, begin + size + 1, step)
        if row[0] < end
    ]
    assert run(sql, {"S": rows}, cuts) == grouped(placed)


@settings(max_examples=8)
@given(ROWS, CUTS, st.integers(1, 10))
def test_sessions(rows: list[Row], cuts: Cuts, gap: int) -> None:
    sql = program(f"SESSION(s.ROWTIME, INTERVAL '{gap}' SECOND)", "SESSION")
    sessions: list[list[Row]] = []
    for key in "ab":
        before = None
        for row in rows:
            if row[1] != key:
                continue
            if before is None or row[0] - before >= gap:
                sessions.append([])
            sessions[-1].append(row)
            before = row[0]
    placed = [((session[0][0], session[-1][0] + gap), row) for session in sessions for row in session]
    assert run(sql, {"S": rows}, cuts) == grouped(placed)


@settings(max_examples=4)
@given(ROWS, CUTS, st.sampled_from(["HOP", "CUMULATE", "SESSION"]))
def test_windows_that_keep_rows(rows: list[Row], cuts: Cuts, kind: str) -> None:
    """A deviation is computed over the rows themselves; it is that of the window cut from it by hand."""
    lengths = {
        "HOP": "'4' SECOND, INTERVAL '8' SECOND",
        "CUMULATE": "'4' SECOND, INTERVAL '8' SECOND",
        "SESSION": "'4' SECOND",
    }
    window = f"{kind}(s.ROWTIME, INTERVAL {lengths[kind]})"
    sql = f"""CREATE STREAM out (starts TIMESTAMP, n BIGINT, spread DOUBLE, different BIGINT);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM {window}, COUNT(*), STDDEV_POP(v), COUNT(DISTINCT v) FROM s GROUP BY {window}"""
    whole = run(sql, {"S": rows}, [])
    assert run(sql, {"S": rows}, cuts) == whole
    for _, _, count, spread, different in whole:
        assert 1 <= different <= count
        assert (spread == 0) == (different == 1)


def test_a_session_before_1970_is_no_longer_than_others() -> None:
    window = "SESSION(s.ROWTIME, INTERVAL '10' SECOND)"
    sql = f"""CREATE STREAM out (starts TIMESTAMP, n BIGINT);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM {window}, COUNT(*) FROM s GROUP BY {window}"""
    assert run(sql, {"S": [(-9, "a", 1), (9, "a", 1)]}, []) == Counter([(1, _time(-9), 1), (19, _time(9), 1)])


def test_tumble_is_step() -> None:
    sql = """CREATE STREAM out (starts TIMESTAMP, ends TIMESTAMP, n BIGINT);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM TUMBLE_START(s.ROWTIME, INTERVAL '10' SECOND),
      TUMBLE_END(s.ROWTIME, INTERVAL '10' SECOND), COUNT(*)
    FROM s GROUP BY TUMBLE(s.ROWTIME, INTERVAL '10' SECOND)"""
    rows: list[Row] = [(1, "a", 1), (9, "b", 1), (10, "b", 1)]
    expected = Counter([(10, _time(0), _time(10), 2), (20, _time(10), _time(20), 1)])
    assert run(sql, {"S": rows}, [(2, 0, True)]) == expected


def test_having_order_and_a_window_under_an_alias() -> None:
    sql = """CREATE STREAM out (w TIMESTAMP, k VARCHAR(4), n BIGINT);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM HOP(s.ROWTIME, INTERVAL '5' SECOND, INTERVAL '10' SECOND) AS w, k, COUNT(*)
    FROM s GROUP BY k, w HAVING COUNT(*) > 1 ORDER BY ROWTIME, COUNT(*) DESC"""
    rows: list[Row] = [(1, "a", 1), (2, "b", 1), (3, "b", 1), (7, "a", 1)]
    found = run(sql, {"S": rows}, [(2, 0, True)])
    assert found == Counter([(5, _time(-5), "b", 2), (10, _time(0), "a", 2), (10, _time(0), "b", 2)])


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("HOP(v, INTERVAL '1' SECOND, INTERVAL '2' SECOND)", "HOP is a window of ROWTIME"),
        ("HOP(s.ROWTIME, INTERVAL '1' SECOND)", "HOP has 3 arguments"),
        ("HOP(s.ROWTIME, INTERVAL '0' SECOND, INTERVAL '1' SECOND)", "HOP has an interval of no length"),
        ("HOP(s.ROWTIME, INTERVAL '1' SECOND, INTERVAL '1' DAY)", "is made of 86,400 panes"),
        ("HOP(s.ROWTIME, INTERVAL '1' MONTH, INTERVAL '1' YEAR)", "a window of MONTHs has no fixed length"),
        ("CUMULATE(s.ROWTIME, INTERVAL '2' SECOND, INTERVAL '5' SECOND)", "grows to a whole number of steps"),
        ("SESSION(s.ROWTIME, INTERVAL '1' SECOND), STEP(s.ROWTIME BY INTERVAL '1' SECOND)", "two keys are windows"),
        ("HOP_START(s.ROWTIME, INTERVAL '1' SECOND, INTERVAL '2' SECOND)", "GROUP BY takes the window, not HOP_START"),
    ],
)
def test_what_is_wrong_with_a_window(group: str, message: str) -> None:
    refused(f"SELECT STREAM COUNT(*) FROM s GROUP BY {group}", message)


@pytest.mark.parametrize(
    ("select", "message"),
    [
        (
            "SESSION_START(s.ROWTIME, INTERVAL '2' SECOND), COUNT(*) FROM s GROUP BY SESSION(s.ROWTIME, INTERVAL '1' SECOND)",
            "SESSION_START tells of a window that GROUP BY does not have",
        ),
        (
            "HOP(s.ROWTIME, INTERVAL '1' SECOND, INTERVAL '1' SECOND) FROM s",
            "HOP tells of a window that GROUP BY does not have",
        ),
    ],
)
def test_a_window_is_that_of_group_by(select: str, message: str) -> None:
    refused(f"SELECT STREAM {select}", message)


def refused(sql: str, message: str) -> None:
    with pytest.raises(SqlError, match=message.replace("(", r"\(")) as caught:
        compile_program(parse(sql), {"S": [Column("K", pa.string()), Column("V", pa.int64())]}, {})
    assert caught.value.place is not None


def test_a_table_of_an_earlier_release_makes_room_unless_a_window_is_open() -> None:
    sql = "CREATE STREAM d (n BIGINT); CREATE PUMP p AS INSERT INTO d SELECT STREAM LAST_VALUE(v) FROM s GROUP BY STEP(s.ROWTIME BY INTERVAL '1' HOUR)"
    plan = compile_program(parse(sql), {"S": [Column("K", pa.string()), Column("V", pa.int64())]}, {})
    (window,) = (pump.window for pump in plan.pumps if pump.window is not None)
    state = State(None, sql)
    state.connection.execute(f"CREATE TABLE {window.table} (w TIMESTAMP_MS, n BIGINT, rt TIMESTAMP_MS, x0 BIGINT)")
    Engine.create(plan, state.connection)
    columns = state.connection.sql(f"SELECT * FROM {window.table}").columns
    assert tuple(columns) == tuple(name for name, _ in window.state)
    state.connection.execute(f"CREATE OR REPLACE TABLE {window.table} AS SELECT 1 AS w")
    with pytest.raises(SqlError, match="open windows in the form of an earlier release"):
        Engine.create(plan, state.connection)
    state.close()


@pytest.mark.parametrize(
    ("window", "does", "keeps"),
    [
        (
            "HOP(s.ROWTIME, INTERVAL '1' SECOND, INTERVAL '2' SECOND)",
            "merges the panes of each window",
            {"panes, partial aggregates, while a window has them", "partial aggregates of open windows, a row a group"},
        ),
        (
            "SESSION(s.ROWTIME, INTERVAL '1' SECOND)",
            "finds out which rows are one session",
            {"partial aggregates of sessions that are not over"},
        ),
    ],
)
def test_what_is_said_of_a_window_and_its_state(window: str, does: str, keeps: set[str]) -> None:
    sql = f"CREATE STREAM d (n BIGINT); CREATE PUMP p AS INSERT INTO d SELECT STREAM COUNT(DISTINCT v) FROM s GROUP BY k, {window}"
    plan = compile_program(parse(sql), {"S": [Column("K", pa.string()), Column("V", pa.int64())]}, {})
    state = State(None, sql)
    Engine.create(plan, state.connection)
    told = explain(plan, state.connection, {"S": None}, None)
    assert does in [pump.does for pump in told.pumps]
    assert {kept.what for pump in told.pumps for kept in pump.kept} == keeps
    state.close()


@pytest.mark.parametrize(
    ("window", "rows_max"),
    [
        # Of a key two panes of which one is open, each in four micro-batches at most, and two values beside its group.
        ("HOP(s.ROWTIME, INTERVAL '20' SECOND, INTERVAL '40' SECOND)", 3 * 3 * (4 + 2)),
        ("CUMULATE(s.ROWTIME, INTERVAL '20' SECOND, INTERVAL '1' MINUTE)", 3 * 3 * (4 + 2)),
        # Sessions of a key end after every second row of it.
        ("SESSION(s.ROWTIME, INTERVAL '8' SECOND)", 3 * 3 * 4),
    ],
)
def test_the_state_of_a_window_does_not_grow(window: str, rows_max: int) -> None:
    sql = f"CREATE STREAM d (n BIGINT); CREATE PUMP p AS INSERT INTO d SELECT STREAM COUNT(DISTINCT v) FROM s GROUP BY k, {window}"
    plan = compile_program(parse(sql), {"S": COLUMNS_OF_ROWS}, {})
    state = State(None, sql)
    Engine.create(plan, state.connection)
    engine = Engine(plan, state.connection)
    source = plan.inputs["S"].physical
    out, kept = 0, []
    for begin in range(0, 300, 5):
        rows: list[Row] = [
            (second, key, second % 2) for second in range(begin, begin + 5) for key in "abc" if second % 10 < 2
        ]
        made = engine.step({source: table(rows)} if rows else {}, {source: (begin + 4) * 1000}, 0)
        state.commit(made.changes, {}, (), ())
        engine.applied(made.changes)
        out += len(made.rows.get(plan.streams["D"].physical, ()))
        kept.append(sum(each.rows for pump in explain(plan, state.connection, {}, None).pumps for each in pump.kept))
    state.close()
    assert out > 3 * 10
    assert max(kept) <= rows_max
    assert max(kept[:30]) == max(kept[30:])


@pytest.mark.parametrize(
    ("different", "left"), [(2, 12), (1_000, 40)], ids=["groups that repeat", "groups that do not"]
)
def test_partial_rows_are_merged_where_they_become_fewer(different: int, left: int) -> None:
    sql = f"""CREATE STREAM out (k VARCHAR(4), {COLUMNS});
    CREATE PUMP p AS INSERT INTO out SELECT STREAM k, {AGGREGATES} FROM s GROUP BY k, FLOOR(s.ROWTIME TO MINUTE)"""
    plan = compile_program(parse(sql), {"S": COLUMNS_OF_ROWS}, {})
    state = State(None, sql)
    engine = Engine(plan, state.connection)
    Engine.create(plan, state.connection)
    rows = [(n, "ab"[n % 2], n % different) for n in range(30)]
    found: list[tuple[Any, ...]] = []
    with mock.patch("analytics.pending.COMPACT_ROWS_MIN", 10):
        for first in range(0, 30, 6):
            made = engine.step({"s0": table(rows[first : first + 6])}, {"s0": first * 1_000}, 0)
            made.changes.apply(state.offered)
            engine.applied(made.changes)
        (window,) = (pump.window for pump in plan.pumps if pump.window is not None)
        ((kept,),) = state.connection.execute(f"SELECT count(*) FROM {window.table}").fetchall()
        rest = engine.step({}, {"s0": 60_000}, 0).rows[plan.streams["OUT"].physical]
        found = [tuple(row.values())[1:] for row in rest.to_pylist()]
    state.close()
    assert sorted(found) == [(key, *aggregated([v for _, k, v in rows if k == key])) for key in "ab"]
    assert kept == left


def test_rows_of_one_instant_are_of_one_session(seed: int) -> None:
    """Whatever their order: what computes an order twice may order those of one instant differently."""
    sql = """CREATE STREAM out (n BIGINT, spread DOUBLE);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM COUNT(*), STDDEV_POP(v) FROM s
    GROUP BY k, LOWER(k), SESSION(s.ROWTIME, INTERVAL '4' SECOND)"""
    order = random.Random(seed)
    for _ in range(10):
        given: list[Row] = [(time, "a", 1) for time in (1, 11, 13) for _ in range(33)]
        order.shuffle(given)
        assert run(sql, {"S": given}, []) == Counter({(5, 33, 0.0): 1, (17, 66, 0.0): 1})
