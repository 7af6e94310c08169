"""Envelopes of records that are put again."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from firehose.replays import ATTEMPTS_MAX, MAGIC, attempts_of, enveloped, key_of, opened


@given(st.binary(max_size=40), st.integers(1, 2 * ATTEMPTS_MAX))
def test_an_envelope_gives_back_what_was_put_in(record: bytes, attempts: int) -> None:
    assert opened(enveloped(record, attempts)) == (record, min(attempts, ATTEMPTS_MAX))
    assert opened(enveloped(enveloped(record, 1), attempts)) == (enveloped(record, 1), min(attempts, ATTEMPTS_MAX))


@given(st.binary(max_size=40))
def test_everything_else_is_as_it_is(record: bytes) -> None:
    assert opened(record) == (record, 0)
    assert opened(MAGIC + record[:1]) == (MAGIC + record[:1], 0)


def test_attempts_travel_in_partition_keys() -> None:
    keys = [key_of("a1", 0), key_of("a1", 3), "odd:key"]
    assert keys == ["a1", "a1:3", "odd:key"]
    found = attempts_of(pa.array(keys))
    assert found is not None
    assert found.tolist() == [0, 3, 0]
    assert attempts_of(pa.array(["a1", "b2"])) is None
