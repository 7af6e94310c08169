"""Records as bytes, and rows as Parquet: read back by others, and the same bytes for the same records."""

from __future__ import annotations

import gzip
import io
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats.lines import write_lines
from connectors.formats.parquet import ParquetOptions, write_parquet


def written(arrays: list[pa.Array], **options: Any) -> bytes:
    file = io.BytesIO()
    write_lines(file, arrays, **options)
    return file.getvalue()


@given(st.lists(st.lists(st.binary(max_size=20), max_size=8), max_size=4), st.integers(0, 3), st.booleans())
def test_all_bytes_in_order(parts: list[list[bytes]], cut: int, delimited: bool) -> None:
    arrays = [pa.array(part, pa.binary()).slice(cut) for part in parts]
    delimiter = b"\n" if delimited else b""
    expected = b"".join(record + delimiter for part in parts for record in part[cut:])
    assert written(arrays, delimiter=delimiter) == expected
    assert gzip.decompress(written(arrays, delimiter=delimiter, gzip=True)) == expected


def test_large_records_are_compressed_in_blocks_and_always_the_same() -> None:
    array = pa.array([b"x" * 1_500_000, b"y" * 3_000_000], pa.binary())
    once = written([array], gzip=True)
    assert once == written([array], gzip=True)
    assert gzip.decompress(once) == b"x" * 1_500_000 + b"y" * 3_000_000


def test_parquet_of_many_batches(tmp_path: Any) -> None:
    schema = pa.schema([("a", pa.int32()), ("b", pa.string())])
    batches = [pa.record_batch([[n, n + 1], ["x", None]], schema=schema) for n in range(3)]
    first, second = io.BytesIO(), io.BytesIO()
    write_parquet(first, batches)
    write_parquet(second, batches)
    assert first.getvalue() == second.getvalue()
    path = tmp_path / "rows.parquet"
    path.write_bytes(first.getvalue())
    assert duckdb.sql(f"SELECT sum(a), count(b) FROM '{path}'").fetchall() == [(9, 3)]
    assert pq.ParquetFile(path).metadata.num_row_groups == 1


def test_row_groups_have_the_size_that_was_asked_for() -> None:
    batch = pa.record_batch({"a": pa.array(range(100_000), pa.int64())})
    file = io.BytesIO()
    write_parquet(file, [batch], ParquetOptions(block_size=200_000, version="V2"))
    assert pq.ParquetFile(file).metadata.num_row_groups == 4
