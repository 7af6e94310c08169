"""Frames: how appends lie on disk. Columns as Arrow wants them, so that a frame read back is an Arrow batch in place.

Grammar (little-endian; every part is padded with zeros to 8 bytes):

    segment    := frame*
    frame      := header body
    header     := magic        4  "HRF1"
                  flags        u16  1: hash keys   2: marks   4: the append goes on in the next frame   8: times
                                    16: compressed   32: sealed
                  reserved     u16  0
                  body_size    u32  bytes of the body, a multiple of 8
                  body_crc     u32  crc32c of the body
                  base         u64  offset of the first record
                  count        u32  records, at least 1
                  key_size     u32  bytes of the key blob, before padding
                  data_size    u32  bytes of the data blob, before padding
                  arrival_ms   u64  arrival of all records; with times, of the last one
                  synced       u64  bytes of this segment that were known to be on disk when the frame was written
                  mark_size    u32  bytes of the marks, before padding
                  key_id       u32  of the key that the body is sealed with; 0 where it is not
                  header_crc   u32  crc32c of the 60 bytes before
    body       := columns | compressed | sealed columns or compressed (see `sealing`), by the flags
    compressed := plain_size   u32  bytes of the columns
                  size         u32  bytes of zstd, before padding
                  zstd         a Zstandard frame that holds the columns
    columns    := key_offsets  i32[count + 1]
                  data_offsets i32[count + 1]
                  keys         key_size bytes of UTF-8
                  data         data_size bytes
                  [hash_keys]  16 bytes a record, zeros where the partition key decides; then a byte a record, 1: has one
                  [times]      u64[count], the arrival of each record
                  [marks]      mark*
    mark       := sequence i64, first u64 (offset at which the append begins), size u8, producer (size bytes of UTF-8)

An append of many bytes lies in several frames, all but the last flagged as going on; its mark stands in the last one.
Frames with times, or compressed, are written when a segment is packed (see `packing`), never by an append.

Worked example: one record, key "k", data "data", at offset 0, arrived at 1700000000000, in an empty segment:

    48524631 00000000 20000000 8fa151ef 00000000 00000000 01000000 01000000   header
    04000000 0068e5cf 8b010000 00000000 00000000 00000000 00000000 e4806a98
    00000000 01000000 00000000 04000000 6b000000 00000000 64617461 00000000   offsets, offsets, "k", "data"

What a reader does on damage. A frame whose header or body does not match its crc is never served. If bytes behind it are
known to have been on disk when a later, whole frame was written (`synced` reaches past its begin), it is bit rot: the
frame is passed over, said aloud, and what follows is served. Otherwise it is the torn tail of a crash, which nobody has
been told was durable: it is cut off. Frames at the end whose append goes on in a frame that is not there are cut off with it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa
import zstandard
from crc32c import crc32c

from streams.core.errors import LogCorrupt
from streams.core.records import ARRIVAL, HASH_KEY, ProducerMark, Records
from streams.log.columns import Columns
from streams.log.sealing import Identity, Seal

MAGIC = b"HRF1"
HEADER_SIZE = 64
BODY_SIZE_MAX = 1 << 30
"""More is a damaged header: the writer splits long before."""

JOIN_SIZE_MAX = 64 << 10
"""Bytes of a body up to which its parts are joined: a copy is cheaper than many pieces in one write, until it is not."""

COMPRESSION_LEVEL = 1
"""Of Zstandard: higher ones save a tenth more and take several times as long."""

COMPRESSED_WORTH = 0.9
"""Of its plain size; what does not shrink below is kept plain, since reading it then costs nothing."""

_ZEROS = bytes(8)
_HEADER = struct.Struct("<4sHHIIQIIIQQIII")
_MARK = struct.Struct("<qQB")
_HASH_KEYS = 1
_MARKS = 2
_CONTINUED = 4
_TIMES = 8
_COMPRESSED = 16
_SEALED = 32
_SIZES = struct.Struct("<II")

assert _HEADER.size == HEADER_SIZE


class Header(msgspec.Struct, frozen=True, gc=False):
    """What a frame says about itself. `position` is where it begins in its segment."""

    position: int
    flags: int
    body_size: int
    body_crc: int
    base: int
    count: int
    key_size: int
    data_size: int
    arrival_ms: int
    synced: int
    mark_size: int
    key_id: int

    @property
    def identity(self) -> Identity:
        return Identity(
            *(self.flags, self.base, self.count, self.key_size, self.data_size, self.arrival_ms, self.mark_size)
        )

    @property
    def sealed(self) -> bool:
        return bool(self.flags & _SEALED)

    @property
    def continued(self) -> bool:
        """Whether its last append goes on in the next frame."""
        return bool(self.flags & _CONTINUED)

    @property
    def compressed(self) -> bool:
        return bool(self.flags & _COMPRESSED)

    @property
    def next(self) -> int:
        """The offset after its last record."""
        return self.base + self.count

    @property
    def end(self) -> int:
        """Where the next frame begins in the segment."""
        return self.position + HEADER_SIZE + self.body_size


@dataclass(frozen=True, slots=True)
class MarkAt:
    """An append with a mark: it begins at offset `first`."""

    first: int
    mark: ProducerMark


def encode(
    records: Records,
    base: int,
    arrival_ms: int,
    synced: int,
    marks: Sequence[MarkAt] = (),
    *,
    continued: bool = False,
    packed: bool = False,
    seal: Seal | None = None,
) -> list[bytes]:
    """The frame as pieces to be written one after the other; at least one record. If `packed`, with the records' own
    arrival times, the last of which is `arrival_ms`, and compressed if that is worth it; with `seal`, sealed."""
    count = len(records)
    key_offsets, keys = _column(records.partition_key)
    data_offsets, data = _column(records.data)
    parts = [key_offsets, data_offsets, keys, data]
    flags = _CONTINUED if continued else 0
    if records.hash_key is not None and records.hash_key.null_count < count:
        flags |= _HASH_KEYS
        parts += _hash_keys(records.hash_key)
    if packed:
        flags |= _TIMES
        parts.append(records.arrival_ms().astype("<u8").tobytes())
    mark_size = 0
    if marks:
        flags |= _MARKS
        names = [at.mark.producer.encode() for at in marks]
        blob = b"".join(
            _MARK.pack(at.mark.sequence, at.first, len(name)) + name for at, name in zip(marks, names, strict=True)
        )
        mark_size = len(blob)
        parts.append(blob)
    body = _padded(parts)
    size = sum(map(len, body))
    if packed and (smaller := _compressed(body, size)) is not None:
        flags |= _COMPRESSED
        body, size = [smaller], len(smaller)
    key_id = 0
    if seal is not None:
        flags |= _SEALED
        key_id = seal.keyring.key_id
        identity = Identity(flags, base, count, len(keys), len(data), arrival_ms, mark_size)
        body = [seal.seal(identity, b"".join(body))]
        size = len(body[0])
    elif size <= JOIN_SIZE_MAX:
        body = [b"".join(body)]
    crc = 0
    for piece in body:
        crc = crc32c(piece, crc)
    header = Header(0, flags, size, crc, base, count, len(keys), len(data), arrival_ms, synced, mark_size, key_id)
    return [_pack(header), *body]


def encode_columns(
    columns: Columns, position: int, base: int, arrival_ms: int, synced: int, seal: Seal | None = None
) -> tuple[Header, list[bytes]]:
    """As `encode`, of records whose columns are laid out already; with the header that it will have at `position`."""
    body, count, key_size, data_size = columns.body, columns.count, columns.key_size, columns.data_size
    flags = key_id = 0
    if seal is not None:
        flags, key_id = _SEALED, seal.keyring.key_id
        identity = Identity(flags, base, count, key_size, data_size, arrival_ms, 0)
        body = memoryview(seal.seal(identity, bytes(body)))
    header = Header(
        *(position, flags, len(body), crc32c(body), base, count, key_size, data_size, arrival_ms, synced, 0, key_id)
    )
    return header, [_pack(header), body]  # type: ignore[list-item] # whatever has bytes can be written


def _pack(header: Header) -> bytes:
    _, flags, body_size, body_crc, base, count, key_size, data_size, arrival_ms, synced, mark_size, key_id = (
        msgspec.structs.astuple(header)
    )
    packed = _HEADER.pack(
        *(MAGIC, flags, 0, body_size, body_crc, base, count, key_size, data_size, arrival_ms, synced, mark_size),
        *(key_id, 0),
    )[:-4]
    return packed + crc32c(packed).to_bytes(4, "little")


def decode_header(buffer: memoryview, at: int, position: int) -> Header | None:
    """The header at `buffer[at:]`, which lies at `position` in its segment; None if it is not whole or not one."""
    raw = buffer[at : at + HEADER_SIZE]
    if len(raw) < HEADER_SIZE or raw[:4] != MAGIC:
        return None
    fields = _HEADER.unpack(raw)
    if crc32c(raw[:-4]) != fields[-1] or fields[3] > BODY_SIZE_MAX:
        return None
    _, flags, _, body_size, body_crc, base, count, key_size, data_size, arrival_ms, synced, mark_size, key_id, _ = (
        fields
    )
    if synced > position:
        return None  # no frame is written before what it says is on disk: these are bytes of a record
    return Header(
        *(position, flags, body_size, body_crc, base, count, key_size, data_size, arrival_ms, synced, mark_size, key_id)
    )


def body_is_whole(header: Header, body: memoryview) -> bool:
    return len(body) == header.body_size and crc32c(body) == header.body_crc


def columns(header: Header, body: memoryview, seal: Seal | None = None) -> memoryview:
    """What `decode_records` and `decode_marks` take, of a whole body. Raises `LogCorrupt` where it is none."""
    if header.sealed:
        if seal is None:
            raise LogCorrupt(f"it is sealed with the key {header.key_id:08x}, and there is none in the settings")
        body = memoryview(seal.open(header.identity, header.key_id, body))
    if not header.compressed:
        return body
    try:
        plain_size, size = _SIZES.unpack_from(body)
        if plain_size > BODY_SIZE_MAX:
            raise LogCorrupt(f"{plain_size} bytes of columns")
        zstd = body[_SIZES.size : _SIZES.size + size]
        plain = zstandard.ZstdDecompressor().decompress(zstd, max_output_size=plain_size)
    except (struct.error, zstandard.ZstdError) as error:
        raise LogCorrupt(f"records {header.base} to {header.next - 1} cannot be decompressed: {error}") from error
    if len(plain) != plain_size:
        raise LogCorrupt(f"records {header.base} to {header.next - 1} are {len(plain)} bytes, not {plain_size}")
    return memoryview(plain)


def decode_records(header: Header, columns: memoryview) -> Records:
    """The records, as views into their columns. Without times, their arrival is `Header.arrival_ms`."""
    at = 0

    def part(size: int) -> memoryview:
        nonlocal at
        view = columns[at : at + size]
        at += size + (-size % 8)
        return view

    count = header.count
    key_offsets, data_offsets = part(4 * (count + 1)), part(4 * (count + 1))
    keys, data = part(header.key_size), part(header.data_size)
    hash_key = None
    if header.flags & _HASH_KEYS:
        values, valid = part(16 * count), part(count)
        hash_key = pa.array([bytes(values[16 * i : 16 * i + 16]) if valid[i] else None for i in range(count)], HASH_KEY)
    arrival = None
    if header.flags & _TIMES:
        arrival = pa.Array.from_buffers(ARRIVAL, count, [None, pa.py_buffer(part(8 * count))], 0)
    return Records(
        _array(pa.binary(), count, data_offsets, data), _array(pa.string(), count, key_offsets, keys), hash_key, arrival
    )


def has_marks(header: Header) -> bool:
    return bool(header.flags & _MARKS)


def decode_marks(header: Header, columns: memoryview) -> list[MarkAt]:
    """The marks, in order."""
    if not has_marks(header):
        return []
    at = len(columns) - header.mark_size - (-header.mark_size % 8)
    end = at + header.mark_size
    found = []
    while at < end:
        sequence, first, size = _MARK.unpack_from(columns, at)
        at += _MARK.size
        found.append(MarkAt(first, ProducerMark(bytes(columns[at : at + size]).decode(), sequence)))
        at += size
    return found


def _compressed(body: Sequence[bytes], size: int) -> bytes | None:
    """The parts compressed, padded; None if that does not make them smaller by enough."""
    zstd = zstandard.ZstdCompressor(COMPRESSION_LEVEL).compress(b"".join(body))
    if len(zstd) > COMPRESSED_WORTH * size:
        return None
    return b"".join(_padded([_SIZES.pack(size, len(zstd)), zstd]))


def _column(column: pa.Array) -> tuple[bytes, bytes]:
    """int32 offsets from 0, and the blob, of a string or binary array without nulls."""
    assert column.null_count == 0, "keys and data are never null"
    count = len(column)
    _, raw_offsets, raw_blob = column.buffers()
    offsets = np.frombuffer(raw_offsets, np.int32, count + 1, column.offset * 4)
    first, last = int(offsets[0]), int(offsets[-1])
    blob = b"" if raw_blob is None else memoryview(raw_blob)[first:last]
    return (offsets if first == 0 else offsets - first).tobytes(), blob  # type: ignore[return-value]


def _hash_keys(column: pa.Array) -> list[bytes]:
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    values = b"".join(value if value is not None else b"\0" * 16 for value in column.to_pylist())
    return [values, valid.astype(np.uint8).tobytes()]


def _array(type_: pa.DataType, count: int, offsets: memoryview, blob: memoryview) -> pa.Array:
    return pa.Array.from_buffers(type_, count, [None, pa.py_buffer(offsets), pa.py_buffer(blob)], 0)


def _padded(parts: Sequence[bytes]) -> list[bytes]:
    """The parts, with zeros behind each that does not end on a multiple of 8 bytes."""
    pieces = []
    for part in parts:
        pieces.append(part)
        if len(part) % 8:
            pieces.append(_ZEROS[len(part) % 8 :])
    return pieces
