"""Columns that are laid out for many frames together are those that each frame would have alone."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.records import Records
from streams.log import columns
from streams.log.columns import Columns, lay_out
from streams.log.frames import encode, encode_columns
from tests.log.engines import Row, records

PARTS = st.lists(
    st.lists(st.tuples(st.text(max_size=12), st.binary(max_size=40)), min_size=1, max_size=5), min_size=1, max_size=8
)


@pytest.mark.parametrize("many_min", [1, 100], ids=["in one pass", "one by one"])
@given(before=st.integers(0, 3), parts=PARTS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_frames_are_those_that_a_part_has_alone(
    monkeypatch: pytest.MonkeyPatch, many_min: int, before: int, parts: list[list[Row]]
) -> None:
    monkeypatch.setattr(columns, "MANY_MIN", many_min)
    # A slice: what Arrow has before it is no part of it.
    some = records([("before", b"it")] * before + list(itertools.chain.from_iterable(parts))).slice(before)
    laid_out = lay_out(some, list(itertools.accumulate(map(len, parts))))
    for part, (content, size) in zip(parts, laid_out, strict=True):
        assert isinstance(content, Columns)
        assert size == records(part).size
        _, frame = encode_columns(content, 128, 7, 1_700_000_000_000, 64)
        assert b"".join(frame) == b"".join(encode(records(part), 7, 1_700_000_000_000, 64))


def test_what_is_large_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "COPIED_SIZE_MAX", 10)
    large, small = [("key", b"12345678")], [("a", b"1"), ("b", b"2")]
    (first, size), (second, _) = lay_out(records(large + small), [1, 3])
    assert isinstance(first, Records)
    assert (first.data.to_pylist(), size) == ([b"12345678"], 11)
    assert isinstance(second, Columns)


def test_hash_keys_stay_with_their_records() -> None:
    some = Records.of(["a", "b"], [b"1", b"2"], [None, bytes(16)])
    (_, _), (second, size) = lay_out(some, [1, 2])
    assert isinstance(second, Records)
    assert second.hash_key is not None
    assert (second.hash_key.to_pylist(), size) == ([bytes(16)], 2)
