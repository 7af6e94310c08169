"""Reading ahead: pieces keep their order and their bounds, and columns decoded together are those decoded alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import ahead
from analytics.ahead import Ahead, decode_group
from connectors.formats.json import decode_json
from connectors.formats.schema import Column, Decoded
from streams.core.records import Batch, Records

COLUMNS = [Column("a", pa.int64()), Column("b", pa.string())]
RECORDS = (b'{"a": 1, "b": "x"}', b'{"a": "one"}', b"[1]", b"no JSON", b"\xff", b'{"b": "y"}', b"{}")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def decode(data: pa.Array) -> Decoded:
    return decode_json(data, COLUMNS)


def batch(shard: str, first: int, records: list[bytes]) -> Batch:
    data = Records.of([shard] * len(records), records).with_arrival(1_000)
    return Batch(shard, first, first + len(records), data)


@settings(max_examples=25)
@given(st.lists(st.lists(st.sampled_from(RECORDS), min_size=1, max_size=5), min_size=1, max_size=5))
def test_batches_decoded_together_are_as_decoded_alone(parts: list[list[bytes]]) -> None:
    batches = [batch(f"s{number}", 10 * number, records) for number, records in enumerate(parts)]
    for each, together in zip(batches, decode_group(decode, batches), strict=True):
        alone = decode(each.records.data)
        assert together.rows.equals(alone.rows)
        assert together.source.to_pylist() == alone.source.to_pylist()
        assert together.faults == alone.faults


@settings(max_examples=25)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 5), st.integers(0, 12))
def test_pieces_come_in_order_and_fit(sizes: list[int], rows_max: int, room: int) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = Ahead(pool, rows_max)
        firsts = itertools.accumulate(sizes, initial=0)
        waiting.add(0, [batch("s", first, [b"{}"] * size) for first, size in zip(firsts, sizes, strict=False)], decode)
        assert waiting.enough == (sum(sizes) >= rows_max)
        at, left = 0, max(room, rows_max)
        while (piece := waiting.take(left)) is not None:
            assert piece.batch.first == at
            assert len(piece.batch) <= rows_max
            assert piece.decoding is not None
            assert piece.decoding.result()[piece.place].rows.num_rows == len(piece.batch)
            at, left = piece.batch.next, left - len(piece.batch)
        assert left < rows_max or len(waiting) == 0
        assert waiting.shards(0) == ({"s"} if at < sum(sizes) else set())


def test_a_piece_that_is_cut_is_decoded_anew(threads: ThreadPoolExecutor) -> None:
    waiting = Ahead(threads, 10)
    waiting.add(1, [batch("s", 5, [b"{}"] * 4)], decode)
    piece = waiting.take(10)
    assert piece is not None
    assert piece.until(9) is piece
    head = piece.until(7)
    assert (head.batch.first, head.batch.next, head.decoding) == (5, 7, None)
    assert len(piece.until(3).batch) == 0


def test_bytes_bound_what_waits(threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "SIZE_MAX", 1_000)
    waiting = Ahead(threads, 100_000)
    waiting.add(0, [batch("s", 0, [b"x" * 400] * 2)], None)
    assert not waiting.enough
    waiting.add(0, [batch("s", 2, [b"x" * 400])], None)
    assert waiting.enough
    taken = waiting.take(100_000)
    assert taken is not None
    assert taken.decoding is None
    assert not waiting.enough


def test_groups_do_not_grow_without_end(threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "GROUP_ROWS", 4)
    waiting = Ahead(threads, 100)
    waiting.add(0, [batch("s", 0, [b"{}"] * 3), batch("t", 0, [b"{}"]), batch("u", 0, [b"{}"] * 2)], decode)
    pieces = [waiting.take(100) for _ in range(3)]
    futures = [piece.decoding for piece in pieces if piece is not None]
    assert futures[0] is futures[1]
    assert futures[1] is not futures[2]
