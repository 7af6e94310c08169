"""Arrow IPC streams ⇄ buffers and record batches, and `Records` from streams that nobody vouches for. No I/O.

An IPC stream is a schema message, then record batch messages, then an end mark (https://arrow.apache.org/docs/format).
Written here, it is a list of buffers in which the columns are not copied. Read here, columns are views of the one buffer
that holds the stream.

From outside, a stream may be damaged or made to hurt. `read_records` therefore takes only columns that it knows, refuses
compression (a small body could become an endless one), bounds what dictionaries and views unfold to, and lets Arrow
check every offset and every key's UTF-8 before anything looks at a value: 4 ns a record.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams.core.errors import InvalidArgument
from streams.core.records import HASH_KEY, SCHEMA, Records

CONTENT_TYPE = "application/vnd.apache.arrow.stream"

PUT_SCHEMA = pa.schema([SCHEMA.field("partition_key"), SCHEMA.field("data")])
HASHED_PUT_SCHEMA = PUT_SCHEMA.append(pa.field("hash_key", HASH_KEY))

MESSAGES_MAX = 4096
"""Messages in one stream from outside: each costs some µs whatever its size; a batch of a few rows a message is misuse."""
UNFOLDED_SIZE_MAX = 256 << 20
"""Bytes of the records of one put, once dictionaries and views are unfolded: some times the largest body."""

_IGNORED = frozenset({"shard", "arrival", "offset"})
"""Columns of what was read from a stream: they may come back, and mean nothing."""


class _Pieces:
    """A file that keeps what is written to it, as it is."""

    closed = False

    def __init__(self) -> None:
        self.pieces: list[Any] = []

    def write(self, piece: Any) -> int:
        self.pieces.append(piece)
        return len(piece)

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


class StreamWriter:
    """An IPC stream in pieces: what each call adds is a list of buffers (bytes, or `pyarrow.Buffer`s that share the
    columns' memory) to be sent in order."""

    def __init__(self, schema: pa.Schema) -> None:
        self._sink = _Pieces()
        self._writer = pa.ipc.new_stream(pa.PythonFile(self._sink, mode="w"), schema)

    def write(self, batch: pa.RecordBatch) -> list[Any]:
        """The first call gives the schema's message too."""
        self._writer.write_batch(batch)
        return self._taken()

    def end(self) -> list[Any]:
        self._writer.close()
        return self._taken()

    def _taken(self) -> list[Any]:
        taken, self._sink.pieces = self._sink.pieces, []
        return taken


def write_stream(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> list[Any]:
    """A whole IPC stream in buffers."""
    writer = StreamWriter(schema)
    pieces = [piece for batch in batches for piece in writer.write(batch)]
    return pieces + writer.end()


def write_records(records: Records) -> list[Any]:
    """An IPC stream of one batch: partition_key, data, and hash_key where some record has one."""
    columns = [records.partition_key, records.data]
    schema = PUT_SCHEMA
    if records.hash_key is not None:
        columns.append(records.hash_key)
        schema = HASHED_PUT_SCHEMA
    return write_stream(schema, [pa.RecordBatch.from_arrays(columns, schema=schema)])


def read_stream(body: Any) -> tuple[Mapping[bytes, bytes], list[pa.RecordBatch]]:
    """The schema's metadata and the batches of a stream from our own server: only sizes are checked. Raises ValueError."""
    try:
        reader = pa.ipc.open_stream(pa.py_buffer(body))
        batches = list(reader)
        for batch in batches:
            batch.validate()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"not an Arrow IPC stream: {error}") from error
    return reader.schema.metadata or {}, batches


def read_records(body: bytes) -> Records:
    """The records of an IPC stream from outside, as views of `body` where the columns' types allow it.

    Columns: partition_key (text), data (binary or text), optional hash_key (16 bytes or null), each also as a large,
    view or dictionary type. Raises `InvalidArgument`. Sizes of keys and records are for the stream to judge.
    """
    try:
        _check_messages(body)
        reader = pa.ipc.open_stream(pa.py_buffer(body))
        _check_names(reader.schema.names)
        batches = [batch for batch in reader if batch.num_rows]
    except InvalidArgument:
        raise
    except (pa.ArrowException, OSError, MemoryError, ValueError, KeyError, struct.error) as error:
        raise InvalidArgument(f"The body is not an Arrow IPC stream: {_sentence(error)}") from error
    parts = []
    left = UNFOLDED_SIZE_MAX
    for batch in batches:
        part = _part(batch, left)
        left -= part.size
        if left < 0:
            raise InvalidArgument(f"The records of one put hold at most {UNFOLDED_SIZE_MAX} bytes.")
        parts.append(part)
    return Records.concat(parts)


def _part(batch: pa.RecordBatch, size_max: int) -> Records:
    hashed = "hash_key" in batch.schema.names
    return Records(
        _column(batch, "data", pa.binary(), size_max),
        _column(batch, "partition_key", pa.string(), size_max),
        _column(batch, "hash_key", HASH_KEY, size_max) if hashed else None,
    )


def _check_names(names: list[str]) -> None:
    for name in ("partition_key", "data"):
        if names.count(name) != 1:
            raise InvalidArgument(
                f"Records have one column {name!r}; the columns sent are {_list(names)}. "
                "A put takes partition_key, data and, where wanted, hash_key."
            )
    if names.count("hash_key") > 1:
        raise InvalidArgument("Records have at most one column 'hash_key'.")
    unknown = [name for name in names if name not in HASHED_PUT_SCHEMA.names and name not in _IGNORED]
    if unknown:
        raise InvalidArgument(
            f"Records have no column {unknown[0][:100]!r}: a put takes partition_key, data and, where wanted, hash_key."
        )


def _column(batch: pa.RecordBatch, name: str, wanted: pa.DataType, size_max: int) -> pa.Array:
    """The column as `wanted`, checked. `size_max` bounds what it may unfold to."""
    column = batch.column(batch.schema.get_field_index(name))
    try:
        column.validate(full=True)
        nulls = column.null_count
        if nulls and wanted != HASH_KEY:
            raise InvalidArgument(
                f"Column {name!r} has {nulls} null{'s' if nulls > 1 else ''}: every record has a {name}."
            )
        if not _allowed(column.type, wanted):
            raise InvalidArgument(f"Column {name!r} holds {column.type}; it must be {_KINDS[name]}.")
        if column.type == wanted:
            return column
        _check_unfolded(column, name, size_max)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
            if column.null_count and wanted != HASH_KEY:
                raise InvalidArgument(f"Column {name!r} has nulls in its dictionary: every record has a {name}.")
        if wanted == HASH_KEY and column.type != HASH_KEY and not pa.types.is_null(column.type):
            column = column.cast(pa.binary())
        column = column.cast(wanted)
        column.validate(full=True)
    except (pa.ArrowException, MemoryError, ValueError) as error:
        raise InvalidArgument(f"Column {name!r} is not what its type says: {_sentence(error)}") from error
    return column


_TEXT = (pa.string(), pa.large_string(), pa.string_view())
_BINARY = (pa.binary(), pa.large_binary(), pa.binary_view())
_KINDS = {"partition_key": "text", "data": "binary or text", "hash_key": "fixed_size_binary(16)"}


def _allowed(kind: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if wanted == HASH_KEY:
        return kind == HASH_KEY or kind in _BINARY or pa.types.is_null(kind)
    if wanted == pa.string():
        return kind in _TEXT
    return kind in _TEXT or kind in _BINARY or pa.types.is_fixed_size_binary(kind)


def _check_unfolded(column: pa.Array, name: str, size_max: int) -> None:
    """Few bytes of a dictionary or of a view may stand for very many."""
    if pa.types.is_dictionary(column.type):
        lengths = _lengths(column.dictionary)
        size = int(pc.sum(pa.array(lengths).take(column.indices)).as_py() or 0)
    else:
        size = int(_lengths(column).sum())
    if size > UNFOLDED_SIZE_MAX:
        raise InvalidArgument(
            f"Column {name!r} unfolds to {size} bytes; at most {UNFOLDED_SIZE_MAX} are taken at once."
        )


def _lengths(column: pa.Array) -> np.ndarray:
    """int64 bytes of each value."""
    kind = column.type
    if kind in (pa.string_view(), pa.binary_view()):
        views = np.frombuffer(column.buffers()[1], np.int32)[column.offset * 4 :]
        return views[: len(column) * 4 : 4].astype(np.int64)
    if pa.types.is_null(kind):
        return np.zeros(len(column), np.int64)
    if pa.types.is_fixed_size_binary(kind):
        return np.full(len(column), kind.byte_width, np.int64)
    return pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)


# What Arrow does not tell of a message ---------------------------------------------------------------------------------


def _check_messages(body: bytes) -> None:
    """Refuses too many messages, and compressed ones. Arrow has verified each message's flatbuffer by then."""
    for count, message in enumerate(pa.ipc.MessageReader.open_stream(pa.py_buffer(body)), 1):
        if count > MESSAGES_MAX:
            raise InvalidArgument(f"The Arrow IPC stream has more than {MESSAGES_MAX} messages: send larger batches.")
        if _compressed(message.type, memoryview(message.metadata)):
            raise InvalidArgument("The Arrow IPC stream is compressed; send it without compression.")


def _compressed(kind: str, metadata: memoryview) -> bool:
    """Whether the record batch in a message (Message.fbs: ``Message.header`` is field 2, ``DictionaryBatch.data`` field 1,
    ``RecordBatch.compression`` field 3) names a compression."""
    if kind not in ("record batch", "dictionary"):
        return False
    batch = _reference(metadata, _table(metadata, 0), 2)
    if batch is not None and kind == "dictionary":
        batch = _reference(metadata, batch, 1)
    return batch is not None and _reference(metadata, batch, 3) is not None


def _table(metadata: memoryview, at: int) -> int:
    return at + int(struct.unpack_from("<I", metadata, at)[0])


def _reference(metadata: memoryview, table: int, field: int) -> int | None:
    """Where the table in a field of a flatbuffer's table is; None where the field is absent."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    if struct.unpack_from("<H", metadata, vtable)[0] < 6 + 2 * field:
        return None
    offset = struct.unpack_from("<H", metadata, vtable + 4 + 2 * field)[0]
    return _table(metadata, table + offset) if offset else None


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _list(names: list[str]) -> str:
    return ", ".join(repr(name[:100]) for name in names[:10]) or "none"
