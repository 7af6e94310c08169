"""ASOF joins of streams beside a few lines of Python: random rows, random batches, restarts between."""

from __future__ import annotations

from collections import Counter
from typing import Any

from analytics_machine import CUTS, ROWS, Row, run
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=15)
@given(ROWS, ROWS, CUTS, st.integers(1, 15), st.booleans(), st.sampled_from(["", "LEFT"]))
def test_asof_joins(
    left: list[Row], right: list[Row], cuts: list[tuple[int, int, bool]], reach: int, strict: bool, side: str
) -> None:
    sql = f"""CREATE STREAM out (k VARCHAR(4), v BIGINT, w BIGINT, at TIMESTAMP);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM a.k, a.v, b.v, b.ROWTIME
    FROM l AS a ASOF {side} JOIN r OVER (RANGE INTERVAL '{reach}' SECOND PRECEDING) AS b
    ON a.k = b.k AND a.ROWTIME {">" if strict else ">="} b.ROWTIME"""
    expected: Counter[tuple[Any, ...]] = Counter()
    for time, key, value in left:
        seen = [(t, v) for t, k, v in right if k == key and (t < time if strict else t <= time)]
        if seen and seen[-1][0] >= time - reach:
            expected[(time, key, value, seen[-1][1], seen[-1][0])] += 1
        elif side:
            expected[(time, key, value, None, None)] += 1
    found = Counter(
        {
            (*row[:4], None if row[4] is None else row[4].minute * 60 + row[4].second): count
            for row, count in run(sql, {"L": left, "R": right}, cuts).items()
        }
    )
    assert found == expected
