"""What is sent to an HTTP endpoint, as it is staged: one msgpack map for each request.

request   the id, the same at every attempt
at_ms     when it was made
ids       of each record: sequence number, a dot, and its place in its source record
arrivals  of each record, milliseconds since the epoch
data      of each record
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import pyarrow as pa

from connectors.http_endpoint import BODY_SIZE_MAX, RECORDS_MAX, EndpointError
from firehose.buffer import Chunk, Piece
from firehose.errors import endpoint_line

_RECORD_SIZE = 16
"""Bytes of a record in the body beside its data: {"data":""} and a comma, with some room."""
_ENVELOPE_SIZE = 128

SCHEMA = pa.schema(
    [
        ("data", pa.binary()),
        ("arrival", pa.int64()),
        ("id", pa.string()),
        ("raw", pa.binary()),
        ("attempts", pa.int64()),
    ]
)
"""The payload of a piece that goes to an endpoint."""


class Staged(msgspec.Struct):
    request: str
    at_ms: int
    ids: list[str]
    arrivals: list[int]
    data: list[bytes]
    raw: list[bytes]
    attempts: list[int]
    delimiter: bytes

    def body(self) -> bytes:
        """Of the protocol."""
        records = [_Record(data + self.delimiter) for data in self.data]
        return msgspec.json.encode(_Body(self.request, self.at_ms, records))

    def failed(self, error: EndpointError, attempts: int, now_ms: int) -> pa.Array:
        """The lines of the error output."""
        rows = zip(self.ids, self.arrivals, self.data, strict=True)
        return pa.array([endpoint_line(error.code, error.message, attempts, now_ms, *row) for row in rows], pa.binary())


class _Record(msgspec.Struct):
    data: bytes


class _Body(msgspec.Struct):
    request: str = msgspec.field(name="requestId")
    at_ms: int = msgspec.field(name="timestamp")
    records: list[_Record]


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Staged).decode


def staged(identity: str, now_ms: int, chunk: Chunk, delimiter: bytes) -> Staged:
    """One request of all of a chunk, each record with `delimiter` after it."""
    table = pa.Table.from_batches([piece.payload for piece in chunk.pieces], SCHEMA)
    ids, arrivals = table.column("id").to_pylist(), table.column("arrival").to_pylist()
    data, raw, attempts = (table.column(name).to_pylist() for name in ("data", "raw", "attempts"))
    return Staged(identity, now_ms, ids, arrivals, data, raw, attempts, delimiter)


def cut(chunk: Chunk) -> Iterator[Chunk]:
    """The chunk in parts that the protocol's limits allow; a record that is larger alone goes alone."""
    pieces: list[Piece] = []
    records, size = 0, _ENVELOPE_SIZE
    for piece in chunk.pieces:
        first = 0
        while first < len(piece.offsets):
            sizes = _sizes(piece.payload.column("data"))[first : first + RECORDS_MAX - records]
            room = int(np.searchsorted(np.cumsum(sizes), BODY_SIZE_MAX - size, "right"))
            if room == 0 and not pieces:
                room = 1
            if room:
                pieces.append(piece.slice(first, room))
                records, size, first = records + room, size + int(sizes[:room].sum()), first + room
            if room < len(sizes) or records == RECORDS_MAX:
                yield _chunk(chunk, pieces)
                pieces, records, size = [], 0, _ENVELOPE_SIZE
    if pieces:
        yield _chunk(chunk, pieces)


def _chunk(chunk: Chunk, pieces: Sequence[Piece]) -> Chunk:
    part = Chunk(chunk.partition, chunk.opened_ms)
    for piece in pieces:
        part.add(piece)
    return part


def _sizes(data: pa.Array) -> np.ndarray:
    """Bytes that each record takes in the body."""
    raw = np.diff(np.frombuffer(data.buffers()[1], np.int32, len(data) + 1, data.offset * 4)).astype(np.int64)
    return (raw + 3) // 3 * 4 + _RECORD_SIZE
