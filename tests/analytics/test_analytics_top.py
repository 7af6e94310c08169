"""The first rows of each key beside a few lines of Python: random rows, random batches, restarts between."""

from __future__ import annotations

from collections import Counter
from typing import Any

from analytics_machine import COLUMNS, CUTS, ROWS, Row, run, run_tables, table, timed
from hypothesis import given, settings
from hypothesis import strategies as st
from test_analytics_tables import MANY, RETAIN, declared, groups

from analytics import parse
from analytics.compiler import compile_program
from analytics.engine import Engine
from analytics.state import State


def numbered(keys: str, order: str, bound: str) -> str:
    return f"""(SELECT STREAM k, v, s.ROWTIME AS at, ROW_NUMBER() OVER ({keys} {order}) AS rn FROM s) WHERE {bound}"""


@settings(max_examples=10)
@given(ROWS, CUTS, st.integers(1, 3))
def test_the_first_rows_of_a_window(rows: list[Row], cuts: list[tuple[int, int, bool]], most: int) -> None:
    inner = numbered("PARTITION BY k, STEP(s.ROWTIME BY INTERVAL '10' SECOND)", "ORDER BY v DESC", f"rn <= {most}")
    sql = f"""CREATE STREAM out (k VARCHAR(4), v BIGINT, rn INTEGER);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM k, v, rn FROM {inner}"""
    expected: Counter[tuple[Any, ...]] = Counter()
    for key, window in {(key, time // 10) for time, key, _ in rows}:
        values = sorted((v for time, k, v in rows if (k, time // 10) == (key, window)), reverse=True)
        expected.update((window * 10 + 10, key, value, number + 1) for number, value in enumerate(values[:most]))
    assert run(sql, {"S": rows}, cuts) == expected


@settings(max_examples=12)
@given(MANY, CUTS, RETAIN, st.integers(1, 3))
def test_the_first_rows_of_a_key(
    rows: list[Row], cuts: list[tuple[int, int, bool]], retain: tuple[int | None, int | None], most: int
) -> None:
    inner = numbered("PARTITION BY k", "ORDER BY v", f"rn < {most + 1}")
    sql = f"""CREATE TABLE t (k VARCHAR(4), v BIGINT, rn INTEGER) {declared(retain)};
    CREATE PUMP p AS INSERT INTO t SELECT STREAM k, v, rn FROM {inner}"""
    expected = [
        (time, key, value, number + 1)
        for kept in groups(rows, retain).values()
        for number, (time, key, value) in enumerate(sorted(kept, key=lambda row: (row[2], row[0]))[:most])
    ]
    assert sorted(run_tables(sql, {"S": rows}, cuts)) == sorted(expected)


@settings(max_examples=12)
@given(ROWS, CUTS, st.integers(1, 12))
def test_a_row_is_not_repeated_within_a_time(rows: list[Row], cuts: list[tuple[int, int, bool]], length: int) -> None:
    over = f"ORDER BY s.ROWTIME RANGE INTERVAL '{length}' SECOND PRECEDING"
    sql = f"""CREATE STREAM out (k VARCHAR(4), v BIGINT);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM k, v FROM {numbered("PARTITION BY k", over, "rn = 1")}"""
    expected: Counter[tuple[Any, ...]] = Counter()
    last: dict[str, int] = {}
    for time, key, value in rows:
        if key not in last or time - last[key] > length:
            expected[(time, key, value)] += 1
        last[key] = time
    assert run(sql, {"S": rows}, cuts) == expected


def test_a_key_ends_while_no_row_comes() -> None:
    inner = numbered("PARTITION BY k", "ORDER BY v", "rn <= 2")
    sql = f"""CREATE STREAM out (k VARCHAR(4)); CREATE TABLE t (k VARCHAR(4), v BIGINT, rn INTEGER) RETAIN INTERVAL '5' SECOND;
    CREATE PUMP p AS INSERT INTO t SELECT STREAM k, v, rn FROM {inner};
    CREATE PUMP o AS INSERT INTO out SELECT STREAM k FROM s2"""
    rows, later = [(1, "a", 3), (2, "b", 5)], [(7, "z", 0)]
    plan = compile_program(parse(sql), {"S": COLUMNS, "S2": COLUMNS}, {})
    state = State(None, sql)
    try:
        Engine.create(plan, state.connection)
        engine = Engine(plan, state.connection)
        first, second = (plan.inputs[name].physical for name in ("S", "S2"))
        for tables, at in (({first: table(rows)}, 2_000), ({second: table(later)}, 7_000)):
            made = engine.step(tables, {first: at, second: at}, 0)
            state.commit(made.changes, {}, (), ())
            engine.applied(made.changes)
        kept = timed(state.connection.sql(f"SELECT * FROM {plan.streams['T'].kept}").to_arrow_table())
    finally:
        state.close()
    assert kept == [(2, "b", 5, 1)]
