from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.records import SCHEMA, Batch, Records

ROWS = st.lists(
    st.tuples(st.text(max_size=20), st.binary(max_size=50), st.none() | st.binary(min_size=16, max_size=16))
)


def records(rows: list[tuple[str, bytes, bytes | None]]) -> Records:
    return Records.of([key for key, _, _ in rows], [data for _, data, _ in rows], [hash_ for _, _, hash_ in rows])


def rows(of: Records) -> list[tuple[str, bytes, bytes | None]]:
    hashes = [None] * len(of) if of.hash_key is None else of.hash_key.to_pylist()
    return list(zip(of.partition_key.to_pylist(), of.data.to_pylist(), hashes, strict=True))


@given(ROWS, st.data())
def test_slices_concat_to_the_whole(some: list[tuple[str, bytes, bytes | None]], data: st.DataObject) -> None:
    whole = records(some)
    cut = data.draw(st.integers(0, len(some)))
    parts = [whole.slice(0, cut), whole.slice(cut)]
    assert rows(Records.concat(parts)) == some
    assert parts[0].size + parts[1].size == whole.size == sum(len(k.encode()) + len(d) for k, d, _ in some)


def test_concat_keeps_hash_keys_of_the_parts_that_have_them() -> None:
    with_hash = Records.of(["a"], [b"1"], [b"h" * 16])
    assert rows(Records.concat([Records.of(["b"], [b"2"]), with_hash])) == [("b", b"2", None), ("a", b"1", b"h" * 16)]


def test_concat_of_nothing_is_empty() -> None:
    assert len(Records.concat([])) == 0


def test_arrival_is_one_time_or_each_its_own() -> None:
    two = Records.of(["a", "b"], [b"", b""])
    assert two.with_arrival(7).arrival_ms().tolist() == [7, 7]
    assert two.with_arrival(np.array([7, 8])).arrival_ms().tolist() == [7, 8]


def test_take_picks_rows_of_every_column() -> None:
    picked = Records.of(["a", "b"], [b"1", b"2"], [None, b"h" * 16]).with_arrival(1).take(pa.array([1]))
    assert rows(picked) == [("b", b"2", b"h" * 16)]


def test_a_batch_shows_its_offsets_to_arrow() -> None:
    batch = Batch("shardId-000000000000", 5, 7, Records.of(["a", "b"], [b"1", b"2"]).with_arrival(9))
    assert batch.to_arrow().schema == SCHEMA
    assert batch.to_arrow().column("offset").to_pylist() == [5, 6]


def test_a_batch_whose_offsets_are_not_dense_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="dense"):
        Batch("s", 0, 3, Records.of(["a"], [b""]))
