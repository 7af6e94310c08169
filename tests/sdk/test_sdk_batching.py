"""The batching machine: driven time, no event loop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.records import Records
from streams.sdk.batching import Batcher, Draft


def drain(batcher: Batcher, now_ms: int) -> list[Draft]:
    drafts = []
    while (draft := batcher.take(now_ms)) is not None:
        drafts.append(draft)
    return drafts


def test_a_first_record_waits_for_company_as_long_as_it_lingers() -> None:
    batcher = Batcher(linger_ms=5, size_max=100, count_max=10)
    assert batcher.wait_ms(0) is None
    batcher.add("k", b"1", None, 1, 1000)
    batcher.add("k", b"2", None, 1, 1003)
    assert (batcher.wait_ms(1003), batcher.take(1004)) == (2, None)
    (draft,) = drain(batcher, 1005)
    assert draft.data == [b"1", b"2"]
    assert draft.room == 2
    assert batcher.wait_ms(1005) is None


def test_a_full_batch_does_not_wait() -> None:
    batcher = Batcher(linger_ms=1000, size_max=6, count_max=3)
    for data in (b"1", b"2", b"3", b"four", b"5"):
        batcher.add("k", data, None, 0, 0)
    assert [draft.data for draft in drain(batcher, 0)] == [[b"1", b"2", b"3"], [b"four"]]
    assert batcher.wait_ms(400) == 600


def test_a_clock_that_goes_back_does_not_make_records_wait() -> None:
    batcher = Batcher(linger_ms=5, size_max=100, count_max=10)
    batcher.add("k", b"1", None, 0, 1_000_000)
    assert batcher.wait_ms(10) == 0


def test_bulk_keeps_its_place() -> None:
    batcher = Batcher(linger_ms=1000, size_max=100, count_max=10)
    batcher.add("k", b"1", None, 0, 0)
    batcher.add_bulk(Records.of(["a", "b"], [b"2", b"3"]), 0, 0)
    batcher.add("k", b"4", None, 0, 0)
    batcher.close()
    assert [draft.records().data.to_pylist() for draft in drain(batcher, 0)] == [[b"1"], [b"2", b"3"], [b"4"]]


def test_hash_keys_are_kept_where_they_are_given() -> None:
    batcher = Batcher(linger_ms=0, size_max=100, count_max=10)
    for hash_key in (None, bytes(16), None):
        batcher.add("k", b"", hash_key, 0, 0)
    (draft,) = drain(batcher, 0)
    assert draft.records().hash_key.to_pylist() == [None, bytes(16), None]


def test_bounds_are_bounds() -> None:
    with pytest.raises(AssertionError):
        Batcher(linger_ms=0, size_max=0, count_max=1)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 40)),
        st.tuples(st.just("bulk"), st.integers(1, 5)),
        st.tuples(st.just("pass"), st.integers(0, 20)),
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("close"), st.just(0)),
    ),
    max_size=60,
)


@given(steps, st.integers(0, 20), st.integers(1, 60), st.integers(1, 6))
def test_every_record_leaves_once_in_order_within_bounds_and_in_time(
    steps: list[tuple[str, int]], linger_ms: int, size_max: int, count_max: int
) -> None:
    batcher = Batcher(linger_ms=linger_ms, size_max=size_max, count_max=count_max)
    now_ms, given_data, drafts, room = 0, [], [], 0
    for step, amount in steps:
        if step == "add":
            data = b"%d." % len(given_data) + b"x" * amount
            given_data.append(data)
            draft = batcher.add("k", data, None, amount, now_ms)
            assert draft.data[-1] == data
            room += amount
        elif step == "bulk":
            bulk = [b"%d." % (len(given_data) + index) for index in range(amount)]
            given_data += bulk
            batcher.add_bulk(Records.of(["k"] * amount, bulk), amount, now_ms)
            room += amount
        elif step == "pass":
            now_ms += amount
        elif step == "close":
            batcher.close()
        else:
            taken = drain(batcher, now_ms)
            drafts += taken
            assert batcher.wait_ms(now_ms) != 0
            for draft in taken:
                single = len(draft) == 1 or draft.records().hash_key is not None
                assert single or not draft.keys or (draft.size <= size_max and len(draft) <= count_max)
    batcher.close()
    drafts += drain(batcher, now_ms)
    assert [data for draft in drafts for data in draft.records().data.to_pylist()] == given_data
    assert sum(draft.room for draft in drafts) == room
    assert all(draft.complete for draft in drafts)
