"""Sliding windows that go on row by row give what a query over all rows of their frames gives."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from analytics_machine import CUTS, ROWS, Row, run
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.operators import running

Cuts = list[tuple[int, int, bool]]


def program(reach: int, count: int) -> str:
    frames = (
        f"PARTITION BY k RANGE INTERVAL '{reach}' SECOND PRECEDING",
        f"PARTITION BY k, v ROWS {count} PRECEDING",
        f"RANGE INTERVAL '{reach + 1}' SECOND PRECEDING",
        f"ROWS {count} PRECEDING",
    )
    values = ("NULLIF(v, 0)", "v * 70000000000000000")
    functions = [f"COUNT(*) OVER ({frame})" for frame in frames]
    functions += [
        f"{name}({value}) OVER ({frame})"
        for name in ("COUNT", "SUM", "AVG", "MIN", "MAX")
        for value, frame in (
            (values[0], frames[0]),
            (values[1], frames[1]),
            (values[0], frames[2]),
            (values[1], frames[3]),
        )
    ]
    functions += [
        f"MIN(k) OVER ({frames[3]})",
        f"MAX(v * 0.5) OVER ({frames[0]})",
        f"MAX(s.ROWTIME) OVER ({frames[1]})",
    ]
    kinds = ["BIGINT"] * (len(functions) - 3) + ["VARCHAR(4)", "DOUBLE", "TIMESTAMP"]
    columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(kinds))
    return (
        f"CREATE STREAM out ({columns}); CREATE PUMP p AS INSERT INTO out SELECT STREAM {', '.join(functions)} FROM s"
    )


@settings(max_examples=8)
@given(ROWS, CUTS, st.integers(1, 15), st.integers(1, 4))
def test_results_are_those_of_a_query(rows: list[Row], cuts: Cuts, reach: int, count: int) -> None:
    sql = program(reach, count)
    found = run(sql, {"S": rows}, cuts)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(running, "PARTITIONS_MAX", 0)
        queried: Counter[tuple[Any, ...]] = run(sql, {"S": rows}, [])
    assert found == queried


def test_many_partitions_go_back_to_the_query_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sql = """CREATE STREAM out (k VARCHAR(4), n BIGINT, total BIGINT);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM k, COUNT(*) OVER w, SUM(v) OVER w FROM s
    WINDOW w AS (PARTITION BY k RANGE INTERVAL '9' SECOND PRECEDING)"""
    rows: list[Row] = [(second, key, second) for second in range(20) for key in ("abcd" if second > 9 else "ab")]
    whole = run(sql, {"S": rows}, [])
    monkeypatch.setattr(running, "PARTITIONS_MAX", 3)
    assert run(sql, {"S": rows}, [(5, 0, False)] * 11) == whole
    assert whole[(12, "c", 3, 33)] == 1
