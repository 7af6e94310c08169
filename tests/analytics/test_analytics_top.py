"""The first rows of each key beside a few lines of Python: random rows, random batches, restarts between."""

from __future__ import annotations

from collections import Counter
from typing import Any

from analytics_machine import CUTS, ROWS, Row, run, run_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from test_analytics_tables import MANY, RETAIN, declared, groups


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
