from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.errors import RequestError, request_errors
from streams.core.scope import Scope, delivery_source
from streams.core.shards import HASH_KEY_MAX, HashRange, shard_id


@given(st.integers(1, 2000))
def test_a_division_covers_the_key_space_exactly(count: int) -> None:
    ranges = HashRange.divide(count)
    assert len(ranges) == count
    assert ranges[0].first == 0
    assert ranges[-1].last == HASH_KEY_MAX
    assert all(a.last + 1 == b.first and a.adjacent(b) and b.adjacent(a) for a, b in itertools.pairwise(ranges))


def test_a_range_knows_what_is_in_it() -> None:
    assert 5 in HashRange(5, 6)
    assert 7 not in HashRange(5, 6)
    with pytest.raises(AssertionError, match="not a hash range"):
        HashRange(6, 5)


def test_names() -> None:
    assert shard_id(6) == "shardId-000000000006"
    assert Scope("123456789012", "eu-west-1").stream_arn("s") == "arn:aws:kinesis:eu-west-1:123456789012:stream/s"
    assert "/" in delivery_source("d"), "out of the reach of the Kinesis API's names"


def test_codes_on_the_wire_are_unique() -> None:
    errors = request_errors()
    assert len(errors) == len(RequestError.__subclasses__())
    assert errors["ResourceNotFoundException"]("x").message == "x"
