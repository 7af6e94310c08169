"""Operators beside a few lines of Python that do the same row by row: random rows, in random batches, with restarts between."""

from __future__ import annotations

from collections import Counter
from typing import Any

from analytics_machine import CUTS, ROWS, Row, run
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=12)
@given(ROWS, CUTS, st.integers(1, 15), st.integers(1, 3))
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
