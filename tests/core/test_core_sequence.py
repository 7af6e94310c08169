from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import sequence
from streams.core.sequence import SequenceNumber

AWS_EXAMPLE = "49590338271490256608559692538361571095921575989136588898"

SECONDS = st.integers(1_300_000_000, 4_000_000_000)
SHARDS = st.integers(0, 2**32 - 1)
OFFSETS = st.integers(0, 2**62)


def test_the_published_example_has_the_fields_that_aws_gave_it() -> None:
    number = SequenceNumber.parse(AWS_EXAMPLE)
    assert number == SequenceNumber(1542776258, 6, 1734642199, 1545084650)
    assert str(number) == AWS_EXAMPLE


@given(SECONDS, SHARDS, OFFSETS, SECONDS)
def test_what_kcl_demands_holds(created: int, shard: int, offset: int, arrival: int) -> None:
    number = int(sequence.of_record(created * 1000, shard, offset, arrival * 1000))
    assert number.bit_length() == 186
    assert number >> 184 == 2
    assert (number >> 4) & 0xFFFFFFFF == shard
    assert len(str(number)) == 56


@given(SECONDS, SHARDS, OFFSETS, SECONDS)
def test_parse_undoes_str(created: int, shard: int, offset: int, arrival: int) -> None:
    number = sequence.of_record(created * 1000, shard, offset, arrival * 1000)
    assert SequenceNumber.parse(str(number)) == number
    assert number.offset == offset


@given(SECONDS, SHARDS, st.lists(OFFSETS, min_size=2, max_size=2, unique=True), SECONDS, SECONDS)
def test_numbers_order_as_offsets_do_whatever_the_clock_does(
    created: int, shard: int, offsets: list[int], one: int, other: int
) -> None:
    low, high = sorted(offsets)
    first = sequence.of_record(created * 1000, shard, low, one * 1000)
    second = sequence.of_record(created * 1000, shard, high, other * 1000)
    assert int(first) < int(second)
    assert str(first) < str(second), "clients compare them as text too"


@given(SECONDS, SHARDS, OFFSETS, SECONDS)
def test_start_lies_below_and_end_above_every_record(created: int, shard: int, offset: int, arrival: int) -> None:
    record = int(sequence.of_record(created * 1000, shard, offset, arrival * 1000))
    assert int(sequence.of_start(created * 1000, shard)) < record
    assert record < int(sequence.of_end(created * 1000, shard, arrival * 1000))


@pytest.mark.parametrize("text", ["", "12", "-" + AWS_EXAMPLE, "x" * 56, "0" * 56, "9" * 61, "٤" * 56, "1" + "0" * 55])
def test_what_is_no_sequence_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a sequence number"):
        SequenceNumber.parse(text)
