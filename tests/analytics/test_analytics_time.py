"""How far time has come, and who is late."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import frontier
from analytics.frontier import MARGIN_MS, InputTime, TimeRule


def admit(time: InputTime, shard: str, *times: int, now: int = 10_000_000) -> tuple[list[int], list[bool], list[bool]]:
    admitted, late, future = time.admit(shard, np.array(times, np.int64), now)
    return admitted.tolist(), late.tolist(), future.tolist()


def test_arrival_follows_the_clock_where_shards_are_read_to_their_end() -> None:
    time = InputTime(TimeRule())
    assert time.advance(50_000, {"a", "b"}, {"a", "b"}) is None
    admit(time, "a", 10_000, 12_000)
    assert time.advance(50_000, {"a", "b"}, {"a", "b"}) is None
    admit(time, "b", 11_000)
    assert time.advance(50_000, {"a", "b"}, {"a", "b"}) == 11_000
    assert time.advance(50_000, {"a"}, {"a", "b"}) == 12_000
    assert time.advance(50_000, set(), {"a", "b"}) == 50_000 - MARGIN_MS


def test_arrival_is_never_late_when_a_clock_goes_back() -> None:
    time = InputTime(TimeRule())
    time.advance(50_000, set(), {"a"})
    assert admit(time, "a", 20_000, 60_000) == ([49_000, 60_000], [False, False], [False, False])
    assert time.advance(30_000, set(), {"a"}) == 49_000


def test_time_goes_on_at_half_the_pace_behind_a_clock_that_jumped_ahead_and_back() -> None:
    day = 86_400_000
    time = InputTime(TimeRule())
    time.advance(day + 50_000, set(), {"a"})  # the clock is a day ahead
    high = day + 49_000
    assert time.at_ms == high
    assert admit(time, "a", high + 7, now=50_000)[0] == [high]  # what the log wrote then, read when the clock is right
    assert time.advance(50_000, set(), {"a"}) == high
    assert time.advance(50_003, set(), {"a"}) == high + 1
    assert time.advance(50_004, set(), {"a"}) == high + 2
    assert time.advance(60_004, set(), {"a"}) == high + 5_002
    assert time.advance(61_004, {"a"}, {"a"}) == high + 5_002, "records wait: their time does not pass before them"
    assert time.advance(10_000, set(), {"a"}) == high + 5_002, "and back once more"
    assert time.advance(12_000, set(), {"a"}) == high + 6_002
    assert time.advance(600_000, set(), {"a"}) == high + 6_002, "a leap is no time that has passed"
    assert time.advance(2 * day, set(), {"a"}) == 2 * day - MARGIN_MS


def test_an_arrival_far_ahead_of_the_clock_moves_no_time() -> None:
    time = InputTime(TimeRule())
    assert admit(time, "a", 10_000, 86_400_000, 69_000, now=10_000)[0] == [10_000, 10_000, 69_000]
    assert time.advance(10_500, {"a"}, {"a"}) == 10_500 - MARGIN_MS
    assert time.advance(11_000, set(), {"a"}) == 11_000 - MARGIN_MS


def test_event_time_waits_for_every_shard_that_has_rows() -> None:
    time = InputTime(TimeRule("t", lateness_ms=100))
    admit(time, "a", 5_000)
    assert time.advance(10_000_000, {"b"}, {"a", "b"}) is None
    assert time.advance(10_000_000, set(), {"a", "b"}) == 4_900
    admit(time, "b", 5_500)
    assert time.advance(10_000_000, set(), {"a", "b"}) == 4_900
    admit(time, "a", 7_000)
    assert time.advance(10_000_000, set(), {"a", "b"}) == 5_400


def test_rows_behind_the_lateness_and_far_ahead_of_the_clock_are_not_accepted() -> None:
    time = InputTime(TimeRule("t", lateness_ms=10, future_ms=1_000))
    result = admit(time, "a", 100, 95, 89, 11_001_000, 100, now=10_000_000)
    assert result[1:] == ([False, False, True, False, False], [False, False, False, True, False])
    assert time.advance(10_000_000, set(), {"a"}) == 90


def test_idle_shards_hold_nothing_back_where_that_is_wished() -> None:
    time = InputTime(TimeRule("t", idle_ms=1_000))
    admit(time, "a", 5_000, now=100_000)
    admit(time, "b", 6_000, now=100_500)
    assert time.advance(100_900, set(), {"a", "b"}) == 5_000
    assert time.advance(101_100, set(), {"a", "b"}) == 6_000
    assert time.advance(103_000, set(), {"a", "b"}) == 6_000 + 2_500


@given(
    st.lists(st.integers(0, 200), min_size=1, max_size=60),
    st.lists(st.integers(1, 7), min_size=1, max_size=60),
    st.integers(0, 30),
)
def test_who_is_late_does_not_depend_on_batches(times: list[int], cuts: list[int], lateness: int) -> None:
    whole = InputTime(TimeRule("t", lateness_ms=lateness))
    _, expected, _ = whole.admit("a", np.array(times, np.int64), 1_000)
    pieces = InputTime(TimeRule("t", lateness_ms=lateness))
    found: list[bool] = []
    before = None
    for size in [*cuts, 60]:
        part, times = times[:size], times[size:]
        found += pieces.admit("a", np.array(part, np.int64), 1_000)[1].tolist()
        at = pieces.advance(1_000, set(), {"a"})
        assert before is None or (at is not None and at >= before), "the frontier never goes back"
        before = at
        if not times:
            break
    assert found == expected.tolist()


@given(
    st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=20), max_size=4),
    st.integers(0, 30),
    st.integers(1, 7),
    st.integers(0, 40),
)
def test_who_is_late_is_told_row_by_row(batches: list[list[int]], lateness: int, block: int, floor: int) -> None:
    """However many rows are looked at together."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(frontier, "_BLOCK", block)
        time = InputTime(TimeRule("t", lateness_ms=lateness, future_ms=50), at_ms=floor)
        high = -1_000
        for batch in batches:
            wanted = []
            for each in batch:
                wanted.append(each <= 50 and each < max(high - lateness, floor))
                high = max(high, each if each <= 50 else high)
            assert admit(time, "a", *batch, now=0)[1:] == (wanted, [each > 50 for each in batch])
            assert time.shards["a"].high_ms in (None, high)
