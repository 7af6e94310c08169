"""ORDER BY beside Python's sort: rows come out in order, window by window, with NULL last."""

from __future__ import annotations

from analytics_machine import CUTS, ROWS, Row, run
from hypothesis import given, settings
from hypothesis import strategies as st
from test_analytics_top import numbered

KEYS = st.tuples(st.booleans(), st.sampled_from(["", " NULLS LAST"]))
"""Whether a key descends, and whether it says that NULL comes last, as it does."""


def words(key: tuple[bool, str]) -> str:
    return f"{' DESC' if key[0] else ''}{key[1]}"


def place(value: int, key: tuple[bool, str]) -> tuple[int, int]:
    """Of a value, of which 0 stands for NULL, among others."""
    return (1, 0) if value == 0 else (0, -value if key[0] else value)


@settings(max_examples=25)
@given(ROWS, CUTS, KEYS)
def test_rows_come_out_in_the_order_of_their_keys(
    rows: list[Row], cuts: list[tuple[int, int, bool]], key: tuple[bool, str]
) -> None:
    sql = f"""CREATE STREAM out (k VARCHAR(4), v BIGINT);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM k, NULLIF(v, 0) FROM s
    ORDER BY STEP(s.ROWTIME BY INTERVAL '10' SECOND), NULLIF(v, 0){words(key)}, k DESC"""
    expected = sorted(rows, key=lambda row: (row[0] // 10, place(row[2], key), -ord(row[1]), row[0]))
    # A counter keeps its keys in the order in which they came.
    found = list(run(sql, {"S": rows}, cuts))
    assert found == list(dict.fromkeys((time, name, value or None) for time, name, value in expected))


@settings(max_examples=15)
@given(ROWS, CUTS, KEYS)
def test_the_first_row_is_that_of_the_order(
    rows: list[Row], cuts: list[tuple[int, int, bool]], key: tuple[bool, str]
) -> None:
    order = f"ORDER BY NULLIF(v, 0){words(key)}, k"
    inner = numbered("PARTITION BY STEP(s.ROWTIME BY INTERVAL '10' SECOND)", order, "rn <= 1")
    sql = f"""CREATE STREAM out (k VARCHAR(4), v BIGINT);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM k, NULLIF(v, 0) FROM {inner}"""
    expected = {}
    for time, name, value in sorted(rows, key=lambda row: (place(row[2], key), row[1], row[0])):
        expected.setdefault(time // 10, (time // 10 * 10 + 10, name, value or None))
    assert sorted(run(sql, {"S": rows}, cuts), key=str) == sorted(expected.values(), key=str)
