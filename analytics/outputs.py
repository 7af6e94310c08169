"""Where the rows of an in-application stream go. An output makes bytes of rows, which the state keeps until they are
delivered, and delivers them so that doing it twice does no harm.

    a stream, a delivery stream   the id of the delivery travels with the records: the log takes each once
    a Kafka topic                 the id is committed in the transaction of the records
    a local file (NDJSON, CSV)    the bytes belong at a known place in the file; it is cut to that length first
    any other file                a part of its own in a folder, named by the id: written again, it is the same
    a callback                    called again after a crash: at least once
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from analytics.journal import Entry
from connectors.formats.csv import encode_csv
from connectors.formats.json import encode_json
from connectors.kafka_clusters import TopicAt
from connectors.streams import StreamSink
from streams.core.clock import Clock
from streams.core.errors import ValidationError
from streams.core.records import Records
from streams.core.scope import delivery_source
from streams.sdk.client import Client

if TYPE_CHECKING:
    from connectors.kafka_sink import TopicSink

Callback = Callable[[str, pa.RecordBatch], None]

_FORMATS = {"ndjson": "ndjson", "jsonl": "ndjson", "json": "ndjson", "csv": "csv", "parquet": "parquet"}


@dataclass(frozen=True, slots=True)
class Output:
    """The rows of one in-application stream (`source`, its name in the program; None: of all of them and of
    ``error_stream``) to exactly one of:

    stream            a Kinesis stream: one JSON object a row, exactly once
    delivery_stream   a direct-put delivery stream: the same
    file              a path or fsspec URL. A local ``.ndjson`` or ``.csv`` is one file, begun anew by an application
                      without state; a ``.parquet`` and anything remote is a folder of parts
    callback          ``callback(stream, rows)``; the first column of the rows is ROWTIME
    function          a function takes each row, at least once
    topic             a Kafka topic: one record a row, exactly once for who reads committed ones

    `partition_key` names the column that gives records their partition keys. Records and what a function gets are JSON,
    or lines of CSV. `number` says which output of the state it is, where there may be others another time.
    """

    source: str | None
    stream: str | None = None
    delivery_stream: str | None = None
    file: str | None = None
    callback: Callback | None = None
    partition_key: str | None = None
    function: Callable[[str, Sequence[bytes]], Awaitable[None]] | None = None
    csv: bool = False
    number: int | None = None
    topic: TopicAt | None = None

    def __post_init__(self) -> None:
        given = [self.stream, self.delivery_stream, self.file, self.callback, self.function, self.topic]
        if sum(one is not None for one in given) != 1:
            raise ValidationError("an output has one of stream, delivery_stream, file, callback, function and topic")
        if self.source is None and self.callback is None:
            raise ValidationError("an output without a source is a callback")


class Target(Protocol):
    """`encode` runs in a thread, `deliver` and `close` in the loop."""

    def encode(self, source: str, rows: pa.RecordBatch, at: int) -> bytes:
        """The bytes of some rows (never none) of `source`; `at` bytes have been made before."""
        ...

    async def deliver(self, entry: Entry) -> None:
        """There for good when it returns; the same entry may come again."""
        ...

    async def close(self) -> None: ...


class _Resting:
    """What keeps nothing open between deliveries."""

    async def close(self) -> None:
        pass


def target(output: Output, number: int, client: Client, application: str, clock: Clock) -> Target:
    """`application` is the id that its state keeps: with `number` it names the producer."""
    if output.callback is not None:
        return _Callback(output.callback)
    if output.file is not None:
        return _file(output.file)
    encode = encode_csv if output.csv else encode_json
    if output.function is not None:
        return _Function(output.function, encode)
    if output.topic is not None:
        return _Topic(output.topic.sink(f"{application}.{number}", clock), encode, output.partition_key)
    name = output.stream if output.stream is not None else delivery_source(output.delivery_stream or "")
    sink = StreamSink(
        client, name, f"{application}/{number}", partition_key=output.partition_key, encode=encode, clock=clock
    )
    return _Stream(sink)


@dataclass(slots=True)
class _Stream(_Resting):
    sink: StreamSink

    def encode(self, source: str, rows: pa.RecordBatch, at: int) -> bytes:
        return _packed(self.sink.encode(_without_time(rows)).to_arrow())

    async def deliver(self, entry: Entry) -> None:
        batch, _ = _unpacked(entry.data)
        await self.sink.put(entry.id, Records(batch.column("data"), batch.column("partition_key")))


@dataclass(slots=True)
class _Function(_Resting):
    """`function` takes an id of the delivery and its rows; it returns when it has all of them."""

    function: Callable[[str, Sequence[bytes]], Awaitable[None]]
    to_bytes: Callable[[pa.RecordBatch], pa.Array]

    def encode(self, source: str, rows: pa.RecordBatch, at: int) -> bytes:
        return _packed(pa.record_batch({"data": self.to_bytes(_without_time(rows))}))

    async def deliver(self, entry: Entry) -> None:
        batch, _ = _unpacked(entry.data)
        await self.function(str(entry.id), batch.column("data").to_pylist())


@dataclass(slots=True)
class _Topic:
    sink: TopicSink
    to_bytes: Callable[[pa.RecordBatch], pa.Array]
    partition_key: str | None

    def encode(self, source: str, rows: pa.RecordBatch, at: int) -> bytes:
        plain = _without_time(rows)
        keys = pa.nulls(len(plain), pa.string())
        if self.partition_key is not None:
            keys = plain.column(plain.schema.get_field_index(self.partition_key)).cast(pa.string())
        return _packed(pa.record_batch({"data": self.to_bytes(plain), "key": keys}))

    async def deliver(self, entry: Entry) -> None:
        batch, _ = _unpacked(entry.data)
        await self.sink.put(entry.id, batch.column("key").to_pylist(), batch.column("data").to_pylist())

    async def close(self) -> None:
        await self.sink.close()


@dataclass(slots=True)
class _Callback(_Resting):
    callback: Callback

    def encode(self, source: str, rows: pa.RecordBatch, at: int) -> bytes:
        return _packed(rows.replace_schema_metadata({"source": source}))

    async def deliver(self, entry: Entry) -> None:
        rows, source = _unpacked(entry.data)
        self.callback(source, rows.replace_schema_metadata(None))


def _file(url: str) -> Target:
    kind = _FORMATS.get(url.rsplit(".", 1)[-1].lower())
    if kind is None:
        raise ValidationError(f"output file {url}: the name ends in none of {', '.join(f'.{end}' for end in _FORMATS)}")
    filesystem, path = fsspec.core.url_to_fs(url)
    if kind != "parquet" and "file" in _protocols(filesystem):
        return _Appended(path, kind)
    return _Parts(filesystem, path, kind)


@dataclass(slots=True)
class _Appended(_Resting):
    """One local file."""

    path: str
    kind: str

    def encode(self, source: str, rows: pa.RecordBatch, at: int) -> bytes:
        return _encoded(self.kind, _without_time(rows), header=at == 0)

    async def deliver(self, entry: Entry) -> None:
        await asyncio.to_thread(self._write, entry)

    def _write(self, entry: Entry) -> None:
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        with open(self.path, "r+b" if os.path.exists(self.path) else "w+b") as file:
            file.truncate(entry.at)
            file.seek(entry.at)
            file.write(entry.data)
            file.flush()
            os.fsync(file.fileno())


@dataclass(slots=True)
class _Parts(_Resting):
    """A folder of files, one a delivery."""

    filesystem: fsspec.AbstractFileSystem
    path: str
    kind: str

    def encode(self, source: str, rows: pa.RecordBatch, at: int) -> bytes:
        return _encoded(self.kind, _without_time(rows), header=True)

    async def deliver(self, entry: Entry) -> None:
        await asyncio.to_thread(self._write, entry)

    def _write(self, entry: Entry) -> None:
        self.filesystem.makedirs(self.path, exist_ok=True)
        self.filesystem.pipe_file(f"{self.path}/part-{entry.id:012d}.{self.kind}", entry.data)


def _protocols(filesystem: fsspec.AbstractFileSystem) -> tuple[str, ...]:
    known = filesystem.protocol
    return (known,) if isinstance(known, str) else tuple(known)


def _without_time(rows: pa.RecordBatch) -> pa.RecordBatch:
    return rows.select(list(range(1, rows.num_columns)))


def _encoded(kind: str, rows: pa.RecordBatch, *, header: bool) -> bytes:
    buffer = io.BytesIO()
    if kind == "ndjson":
        for line in encode_json(rows).to_pylist():
            buffer.write(line + b"\n")
    elif kind == "csv":
        pyarrow.csv.write_csv(rows, buffer, pyarrow.csv.WriteOptions(include_header=header))
    else:
        pyarrow.parquet.write_table(pa.Table.from_batches([rows]), buffer)
    return buffer.getvalue()


def _packed(rows: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return sink.getvalue().to_pybytes()


def _unpacked(data: bytes) -> tuple[pa.RecordBatch, str]:
    with pa.ipc.open_stream(data) as reader:
        rows = reader.read_next_batch()
    source = (rows.schema.metadata or {}).get(b"source", b"").decode()
    return rows, source
