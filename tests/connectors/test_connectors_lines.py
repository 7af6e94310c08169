"""Records as bytes, and rows as Parquet: read back by others, and the same bytes for the same records."""

from __future__ import annotations

import gzip
import io
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import cramjam
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pyorc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats.lines import write_lines
from connectors.formats.orc import OrcOptions, write_orc
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
    assert gzip.decompress(written(arrays, delimiter=delimiter, compression="GZIP")) == expected


def test_large_records_are_compressed_in_blocks_and_always_the_same() -> None:
    array = pa.array([b"x" * 1_500_000, b"y" * 3_000_000], pa.binary())
    once = written([array], compression="GZIP")
    assert once == written([array], compression="GZIP")
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


def unpacked(compression: str, content: bytes) -> bytes:
    """By others: zlib's gzip, zipfile, and cramjam's snappy block by block."""
    match compression:
        case "GZIP":
            return gzip.decompress(content)
        case "ZIP":
            archive = zipfile.ZipFile(io.BytesIO(content))
            (name,) = archive.namelist()
            assert name == "7d444840"
            return archive.read(name)
        case "Snappy":
            assert content[:16] == b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
            return b"".join(raw for _, raw in snappy_blocks(content[16:], ">i"))
        case "HADOOP_SNAPPY":
            blocks = list(snappy_blocks(content, ">ii"))
            assert [length for length, _ in blocks] == [len(raw) for _, raw in blocks]
            return b"".join(raw for _, raw in blocks)
    return content


def snappy_blocks(content: bytes, form: str) -> Any:
    head, at = struct.Struct(form), 0
    while at < len(content):
        *lengths, size = head.unpack_from(content, at)
        at += head.size
        yield lengths[0] if lengths else None, bytes(cramjam.snappy.decompress_raw(content[at : at + size]))
        at += size


@pytest.mark.parametrize("compression", ["UNCOMPRESSED", "GZIP", "ZIP", "Snappy", "HADOOP_SNAPPY"])
@pytest.mark.parametrize("size", [0, 1, 32 << 10, 300_000, 2_500_001])
def test_every_compression_is_read_by_others(compression: str, size: int) -> None:
    content = bytes(n * n % 251 for n in range(size))
    array = pa.array([content[: size // 3], content[size // 3 :]], pa.binary())
    options = {"compression": compression, "entry": "7d444840"}
    once = written([array], **options)
    assert once == written([array], **options)
    assert unpacked(compression, once) == content


def test_the_tools_of_a_shell_read_them(tmp_path: Path) -> None:
    array = pa.array([b"one", b"two"], pa.binary())
    (tmp_path / "a.gz").write_bytes(written([array], compression="GZIP", delimiter=b"\n"))
    assert subprocess.run(["zcat", tmp_path / "a.gz"], capture_output=True, check=True).stdout == b"one\ntwo\n"
    (tmp_path / "a.zip").write_bytes(written([array], compression="ZIP", delimiter=b"\n"))
    done = subprocess.run(["python3", "-m", "zipfile", "-e", tmp_path / "a.zip", tmp_path], check=True)
    assert done.returncode == 0
    assert (tmp_path / "data").read_bytes() == b"one\ntwo\n"


def test_a_delimiter_between_records() -> None:
    arrays = [pa.array(part, pa.binary()) for part in ([b"a", b"b"], [], [b"c"])]
    assert written(arrays, delimiter=b"\n", last=False) == b"a\nb\nc"
    assert written([arrays[1]], delimiter=b"\n", last=False) == b""


@pytest.mark.parametrize("compression", ["SNAPPY", "ZLIB", "NONE"])
@pytest.mark.parametrize("version", ["V0_11", "V0_12"])
def test_orc_is_read_by_pyorc(compression: Any, version: Any) -> None:
    schema = pa.schema([("a", pa.int32()), ("b", pa.string())])
    batches = [pa.record_batch([[n, n + 1], ["x", None]], schema=schema) for n in range(3)]
    options = OrcOptions(compression=compression, version=version, bloom_columns=("B", "none"))
    first, second = io.BytesIO(), io.BytesIO()
    write_orc(first, batches, options)
    write_orc(second, batches, options)
    assert first.getvalue() == second.getvalue()
    reader = pyorc.Reader(io.BytesIO(first.getvalue()))
    assert reader.read() == [(0, "x"), (1, None), (1, "x"), (2, None), (2, "x"), (3, None)]
    assert str(reader.schema) == "struct<a:int,b:string>"
    kinds = {
        "SNAPPY": pyorc.CompressionKind.SNAPPY,
        "ZLIB": pyorc.CompressionKind.ZLIB,
        "NONE": pyorc.CompressionKind.NONE,
    }
    assert reader.compression == kinds[compression]
