"""What a log on Kafka keeps of records, and what it makes of batches that it did not write."""

from __future__ import annotations

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from streams.core.errors import LogCorrupt
from streams.core.records import Records
from streams.kafka.codec import decode
from streams.kafka.places import Place
from streams.kafka.recent import Recent

PLACE, OTHER = Place("h.streams.a", 0), Place("h.streams.a", 1)


def run(first: int, count: int) -> Records:
    """Records whose data are their offsets."""
    return Records.of(["k"] * count, [b"%06d" % offset for offset in range(first, first + count)]).with_arrival(0)


@given(
    runs=st.lists(st.tuples(st.sampled_from([PLACE, OTHER]), st.integers(0, 60), st.integers(0, 20)), max_size=30),
    asked=st.lists(st.tuples(st.sampled_from([PLACE, OTHER]), st.integers(0, 80), st.integers(1, 200)), max_size=10),
)
def test_what_is_kept_are_the_records_that_were_put(
    runs: list[tuple[Place, int, int]], asked: list[tuple[Place, int, int]]
) -> None:
    recent = Recent(size_max=300)
    put: dict[Place, set[int]] = {PLACE: set(), OTHER: set()}
    for place, first, count in runs:
        recent.put(place, first, run(first, count))
        put[place] |= set(range(first, first + count))
        assert recent.size <= 300
    for place, offset, size_max in asked:
        found = recent.get(place, offset, size_max)
        if found is not None:
            offsets = [int(data) for data in found.data.to_pylist()]
            assert offsets == list(range(offset, offset + len(offsets)))
            assert set(offsets) <= put[place]
    recent.forget(PLACE)
    assert all(recent.get(PLACE, offset, 1) is None for offset in range(80))
    recent.forget(OTHER)
    assert recent.size == 0


def test_runs_that_follow_each_other_are_read_as_one() -> None:
    recent = Recent()
    for first, count in ((0, 3), (3, 2), (7, 1)):
        recent.put(PLACE, first, run(first, count))
    found = recent.get(PLACE, 1, 1000)
    assert found is not None
    assert [int(data) for data in found.data.to_pylist()] == [1, 2, 3, 4]
    assert recent.get(PLACE, 5, 1000) is None


def _batch(*records: tuple[bytes | None, bytes | None]) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 20)
    for offset, (key, value) in enumerate(records):
        builder.append(offset, 1000 + offset, key, value, [("other", b"header")])
    return bytes(builder.build())


def test_records_of_other_tools_are_shown_as_far_as_they_can_be() -> None:
    (part,) = decode(_batch((None, b"1"), (b"\xff", None), (b"k", b"3")), "s")
    assert part.records.partition_key.to_pylist() == ["", "�", "k"]
    assert part.records.data.to_pylist() == [b"1", b"", b"3"]
    assert part.records.arrival_ms().tolist() == [1000, 1001, 1002]
    assert (part.first, part.next, part.marks, part.records.hash_key) == (0, 3, [], None)


def test_a_batch_that_is_not_whole_is_left_out_and_one_that_is_damaged_is_said() -> None:
    batch = _batch((b"k", b"value"))
    assert len(list(decode(batch + batch[:-1], "s"))) == 1
    assert list(decode(b"", "s")) == []
    damaged = bytearray(batch)
    damaged[-2] ^= 1
    with pytest.raises(LogCorrupt, match="s: the batch of records at 0 is not what was written"):
        list(decode(bytes(damaged), "s"))
