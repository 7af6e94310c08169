"""Records out of objects: told apart in every compression, whatever stands in them; and numbers that are packed."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.delivered.contract import Layout, packed, unpacked
from connectors.delivered.records import records_of
from connectors.formats.compression import ENCODINGS, Compression
from connectors.formats.lines import write_lines
from connectors.formats.parquet import write_parquet

COMPRESSIONS: list[Compression] = ["UNCOMPRESSED", *ENCODINGS]
TEXTS = st.text(st.sampled_from('ab"\\{}[]\n é,'), max_size=8)
VALUES = st.dictionaries(TEXTS, st.one_of(st.none(), st.integers(), TEXTS, st.lists(TEXTS, max_size=2)), max_size=3)


def written(records: Sequence[bytes], delimiter: bytes, compression: Compression = "UNCOMPRESSED") -> io.BytesIO:
    file = io.BytesIO()
    write_lines(file, [pa.array(records, pa.binary())], delimiter=delimiter, compression=compression)
    return file


def read(file: io.BytesIO, layout: Layout, count: int) -> list[bytes]:
    return [record for array in records_of(file, layout, count, ()) for record in array.to_pylist()]


def lines(compression: Compression = "UNCOMPRESSED", *, delimited: bool = False) -> Layout:
    return Layout("lines", b"", (), compression=compression, delimited=delimited)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(VALUES, st.booleans(), st.booleans()), max_size=8),
    st.sampled_from(COMPRESSIONS),
    st.sampled_from([b"", b"\n"]),
)
def test_json_records_are_told_apart(
    rows: list[tuple[dict[str, object], bool, bool]], compression: Compression, delimiter: bytes
) -> None:
    records = [json.dumps(row, ensure_ascii=plain, indent=1 if wide else None).encode() for row, plain, wide in rows]
    found = read(written(records, delimiter, compression), lines(compression, delimited=bool(delimiter)), len(rows))
    assert [json.loads(record) for record in found] == [row for row, _, _ in rows]


def test_lines_that_are_no_json_are_told_apart_too() -> None:
    records = [b"a,1", b"", b"no json {", b'"'] * 5_000
    assert read(written(records, b"\n", "GZIP"), lines("GZIP", delimited=True), len(records)) == records
    with pytest.raises(ValueError, match="it holds 2 records, and they cannot be told apart: it has 1 lines"):
        read(written([b"a,1", b"b,2"], b""), lines(), 2)


@pytest.mark.parametrize("compression", ENCODINGS)
def test_what_is_cut_short_is_said(compression: Compression) -> None:
    whole = written([b'{"a": 1}'] * 100, b"\n", compression).getvalue()
    with pytest.raises(ValueError, match=r"it is no whole|it holds"):
        read(io.BytesIO(whole[: len(whole) // 2]), lines(compression), 100)
    with pytest.raises(ValueError, match=r"it is no whole|it does not begin|it holds"):
        read(io.BytesIO(b"something else altogether"), lines(compression), 100)


def test_rows_of_a_table_come_back_under_the_keys_that_are_looked_for() -> None:
    file = io.BytesIO()
    rows = pa.RecordBatch.from_pydict(
        {"flightid": [1, None], "a_b": ["x", "é"], "at": pa.array([0, 1], pa.timestamp("ms"))}
    )
    write_parquet(file, [rows])
    found = records_of(file, Layout("parquet", b"", ()), 2, {"flightId", "A.b", "other"})
    assert [json.loads(record) for array in found for record in array.to_pylist()] == [
        {"flightId": 1, "A.b": "x", "at": "1970-01-01 00:00:00.000"},
        {"flightId": None, "A.b": "é", "at": "1970-01-01 00:00:00.001"},
    ]


@given(st.lists(st.integers(-(2**62), 2**62), max_size=50))
def test_packed_numbers(numbers: list[int]) -> None:
    data = packed(np.array(numbers, np.int64))
    assert unpacked(data, len(numbers)).tolist() == numbers
    with pytest.raises(ValueError, match="packed numbers"):
        unpacked(data, len(numbers) + 1)
