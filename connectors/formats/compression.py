"""Compressed files as Data Firehose writes them. What is written in blocks comes out as one file, the same for the same bytes.

    GZIP           one gzip member, no name and no time in its header
    ZIP            one deflated entry under a name of its own
    Snappy         snappy-java's stream: 82 'SNAPPY' 00, int32 version 1, int32 compatible with 1, then for each 32 KiB
                   int32 compressed length · raw snappy
    HADOOP_SNAPPY  Hadoop's block stream: for each 256 KiB
                   int32 raw length · int32 compressed length · raw snappy

Integers are big-endian.
"""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Literal, cast

import pyarrow as pa
from isal import isal_zlib

Compression = Literal["UNCOMPRESSED", "GZIP", "ZIP", "Snappy", "HADOOP_SNAPPY"]
"""As AWS spells them."""

LEVEL = 1
"""Of ISA-L's deflate, for GZIP: files as large as zlib's at its level 1, in a fourth of the time."""

ZIP_LEVEL = 1
"""Of zlib's, which Python's archives use: three times as fast as 6, for files a tenth larger."""

XERIAL_BLOCK = 32 << 10
HADOOP_BLOCK = 256 << 10
_READ_SIZE = 1 << 20

_XERIAL_HEADER = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
_LENGTH = struct.Struct(">i")
_LENGTHS = struct.Struct(">ii")
Block = bytes | memoryview

EXTENSIONS: dict[Compression, str] = {
    "UNCOMPRESSED": "",
    "GZIP": ".gz",
    "ZIP": ".zip",
    "Snappy": ".snappy",
    "HADOOP_SNAPPY": ".snappy",
}
ENCODINGS: dict[Compression, str] = {
    "GZIP": "gzip",
    "ZIP": "zip",
    "Snappy": "snappy-java",
    "HADOOP_SNAPPY": "hadoop-snappy",
}
"""The Content-Encoding that AWS gives the objects."""


def write_blocks(file: BinaryIO, blocks: Iterable[Block], compression: Compression, entry: str = "data") -> None:
    """Writes all of `blocks`, compressed. `entry` names what is in a ZIP."""
    _WRITERS[compression](file, blocks, entry)


def read_blocks(file: BinaryIO, compression: Compression) -> Iterator[bytes]:
    """What `write_blocks` wrote, a block at a time. Raises ValueError for what it did not."""
    try:
        yield from _READERS[compression](file)
    except (zlib.error, zipfile.BadZipFile, EOFError, struct.error, pa.ArrowException, OSError) as error:
        raise ValueError(f"it is no whole {compression} file: {error}") from error


def _read_plain(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_READ_SIZE):
        yield block


def _read_gzip(file: BinaryIO) -> Iterator[bytes]:
    with gzip.open(file) as plain:
        yield from _read_plain(cast(BinaryIO, plain))


def _read_zip(file: BinaryIO) -> Iterator[bytes]:
    with zipfile.ZipFile(file) as archive, archive.open(archive.namelist()[0]) as plain:
        yield from _read_plain(cast(BinaryIO, plain))


def _read_xerial(file: BinaryIO) -> Iterator[bytes]:
    if file.read(len(_XERIAL_HEADER)) != _XERIAL_HEADER:
        raise ValueError("it does not begin as a Snappy stream does")
    codec = pa.Codec("snappy")
    while head := file.read(_LENGTH.size):
        (size,) = _LENGTH.unpack(head)
        packed = file.read(size)
        yield codec.decompress(packed, _snappy_size(packed), asbytes=True)


def _read_hadoop(file: BinaryIO) -> Iterator[bytes]:
    codec = pa.Codec("snappy")
    while head := file.read(_LENGTHS.size):
        raw, size = _LENGTHS.unpack(head)
        yield codec.decompress(file.read(size), raw, asbytes=True)


def _snappy_size(packed: bytes) -> int:
    """Raw snappy begins with it: seven bits a byte, the least first."""
    size = shift = 0
    for byte in packed[:5]:
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return size


def _plain(file: BinaryIO, blocks: Iterable[Block], _entry: str) -> None:
    for block in blocks:
        file.write(block)


def _gzip(file: BinaryIO, blocks: Iterable[Block], _entry: str) -> None:
    compressor = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, 16 + isal_zlib.MAX_WBITS)
    for block in blocks:
        file.write(compressor.compress(block))
    file.write(compressor.flush())


def _zip(file: BinaryIO, blocks: Iterable[Block], entry: str) -> None:
    # An entry that is given by its name alone has the first time that ZIP knows: the same records give the same bytes.
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=ZIP_LEVEL) as archive,
        archive.open(entry, "w", force_zip64=True) as written,
    ):
        for block in blocks:
            written.write(block)


def _xerial(file: BinaryIO, blocks: Iterable[Block], _entry: str) -> None:
    compress = pa.Codec("snappy").compress
    file.write(_XERIAL_HEADER)
    for part in _cut(blocks, XERIAL_BLOCK):
        packed = compress(part, asbytes=True)
        file.write(_LENGTH.pack(len(packed)) + packed)


def _hadoop(file: BinaryIO, blocks: Iterable[Block], _entry: str) -> None:
    compress = pa.Codec("snappy").compress
    for part in _cut(blocks, HADOOP_BLOCK):
        packed = compress(part, asbytes=True)
        file.write(_LENGTHS.pack(len(part), len(packed)) + packed)


def _cut(blocks: Iterable[Block], size: int) -> Iterator[bytes]:
    """The same bytes in parts of `size`, the last one shorter."""
    rest = io.BytesIO()
    for block in blocks:
        rest.write(block)
        if rest.tell() >= size:
            whole = rest.getvalue()
            end = len(whole) - len(whole) % size
            for at in range(0, end, size):
                yield whole[at : at + size]
            rest = io.BytesIO()
            rest.write(whole[end:])
    if rest.tell():
        yield rest.getvalue()


_READERS: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    "UNCOMPRESSED": _read_plain,
    "GZIP": _read_gzip,
    "ZIP": _read_zip,
    "Snappy": _read_xerial,
    "HADOOP_SNAPPY": _read_hadoop,
}
_WRITERS: dict[str, Callable[[BinaryIO, Iterable[Block], str], None]] = {
    "UNCOMPRESSED": _plain,
    "GZIP": _gzip,
    "ZIP": _zip,
    "Snappy": _xerial,
    "HADOOP_SNAPPY": _hadoop,
}
