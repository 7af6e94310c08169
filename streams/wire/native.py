"""The native door's language, spoken by `streams.sdk.http` and heard by `gateway.native`. No I/O.

    GET     /native/v1/streams                             {"streams": ["orders"]}
    PUT     /native/v1/streams/NAME                        {"shards": 2, "retention_hours": 24}
    GET     /native/v1/streams/NAME                        `Description`
    DELETE  /native/v1/streams/NAME
    POST    /native/v1/streams/NAME/records                Arrow: partition_key, data, hash_key? → Arrow: shard, offset
    GET     /native/v1/streams/NAME/records?shard=&from=&follow=   → Arrow: shard?, partition_key, data, arrival, offset
    POST    /native/v1/streams/NAME/find                   `FindQuestion` → {"shardId-…": 17}
    POST    /native/v1/streams/NAME/fetch                  `FetchQuestion` → Arrow: partition_key, data, arrival, hash_key?
    GET     /native/v1/streams/NAME/checkpoints/CONSUMER   → {"shardId-…": 17}
    PUT     /native/v1/streams/NAME/checkpoints/CONSUMER   {"shardId-…": 17}
    GET     /native/v1/streams/NAME/groups                 → [`GroupDescription`]
    POST    /native/v1/streams/NAME/groups/GROUP           `SyncQuestion` → {"shardId-…": `Lease`}
    PUT     /native/v1/streams/NAME/groups/GROUP           `SaveQuestion`
    DELETE  /native/v1/streams/NAME/groups/GROUP?member=   without a member the group is forgotten

NAME, CONSUMER and GROUP are percent-encoded, slashes too. What is not JSON is an Arrow IPC stream, which any Arrow tool reads.
What such an answer says beside its records is JSON under the key ``headrace`` of the schema's metadata:

    put     {"shards": ["shardId-…0", "shardId-…1"]}        what the numbers in the column `shard` stand for
    fetch   {"batches": [["shardId-…0", 17]], "ended": [], "tips": {"shardId-…0": 29}}
            the i-th record batch holds the records of this shard from this offset on

The header ``x-headrace-region`` names the caller's region where no signature does; ``x-headrace-producer``
(percent-encoded) and ``x-headrace-sequence`` are a put's `ProducerMark`. An error is ``{"__type": CODE, "message": …}``
under the error's status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote, unquote

import msgspec
import pyarrow as pa
from msgspec import Meta

from streams.core.errors import InvalidArgument, RequestError, ServiceUnavailable, request_errors
from streams.core.exchange import FETCH_SIZE_MAX, Fetch, Progress, Receipt, Start, StreamDescription
from streams.core.records import ARRIVAL, HASH_KEY, Batch, ProducerMark, Records
from streams.core.shards import HashRange, Shard
from streams.wire.arrow import PUT_SCHEMA, read_stream, write_stream

PREFIX = "/native/v1/"
STREAMS = "/native/v1/streams"
CALL = "/native/v1/functions/call"
"""Of a function, at the private door alone."""
REGION_HEADER = "x-headrace-region"
ACCOUNT_HEADER = "x-headrace-account"
"""Heard at the private door alone."""
PRODUCER_HEADER = "x-headrace-producer"
SEQUENCE_HEADER = "x-headrace-sequence"
JSON = "application/json"

INT64_MAX = (1 << 63) - 1
PRODUCER_SIZE_MAX = 64
"""Bytes of a producer's name: a `ProducerMark`'s."""

_METADATA = b"headrace"
_RECEIPT_SCHEMA = pa.schema([pa.field("shard", pa.int32()), pa.field("offset", pa.int64())])
_FETCH_SCHEMA = PUT_SCHEMA.append(pa.field("arrival", ARRIVAL))

Position = Annotated[int, Meta(ge=0, le=INT64_MAX)]
Positions = dict[str, Position]


def stream_path(stream: str, *rest: str) -> str:
    return "/".join((STREAMS, quote(stream, safe=""), *(quote(part, safe="") for part in rest)))


# Questions and answers in JSON ------------------------------------------------------------------------------------------


class Listing(msgspec.Struct):
    streams: list[str]


class NewStreamQuestion(msgspec.Struct, forbid_unknown_fields=True):
    shards: Position = 1
    retention_hours: Position = 24
    packed: bool = False


class FindQuestion(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """``start`` is trim_horizon, latest or timestamp:MS; without `shards` all are asked."""

    start: str
    shards: tuple[str, ...] | None = None


class FetchQuestion(msgspec.Struct, forbid_unknown_fields=True):
    positions: Positions
    size_max: Position = FETCH_SIZE_MAX
    wait_ms: Position = 0


class SyncQuestion(msgspec.Struct, forbid_unknown_fields=True):
    """A member of a consumer group says that it lives, and what it reads: generations by shard."""

    member: str
    held: dict[str, Position] = {}
    start: str = "trim_horizon"
    lease_ms: Position = 10_000
    wait_ms: Position = 0


class SaveQuestion(msgspec.Struct, forbid_unknown_fields=True):
    """What a member has done."""

    member: str
    progress: dict[str, Progress]


class ShardDescription(msgspec.Struct):
    """`hash_range` as decimal text: 128 bits are more than JSON's readers agree on."""

    id: str
    index: int
    log: str
    hash_range: tuple[str, str]
    created_ms: int
    parents: tuple[str, ...]
    end: int | None


class Description(msgspec.Struct):
    """A `StreamDescription` in JSON."""

    name: str
    arn: str
    id: str
    status: str
    retention_hours: int
    created_ms: int
    shards: list[ShardDescription]

    @staticmethod
    def of(stream: StreamDescription) -> Description:
        shards = [
            ShardDescription(
                *(shard.id, shard.index, shard.log, (str(shard.hash_range.first), str(shard.hash_range.last))),
                *(shard.created_ms, shard.parents, shard.end),
            )
            for shard in stream.shards
        ]
        return Description(
            *(stream.name, stream.arn, stream.id, stream.status, stream.retention_hours, stream.created_ms, shards)
        )

    def stream(self) -> StreamDescription:
        shards = tuple(
            Shard(
                *(shard.id, shard.index, shard.log, HashRange(int(shard.hash_range[0]), int(shard.hash_range[1]))),
                *(shard.created_ms, shard.parents, shard.end),
            )
            for shard in self.shards
        )
        return StreamDescription(
            *(self.name, self.arn, self.id, self.status, self.retention_hours, self.created_ms, shards)
        )


def start_text(start: Start) -> str:
    return f"timestamp:{start.timestamp_ms}" if start.kind == "at_timestamp" else start.kind


def parse_start(text: str) -> Start:
    """Raises `InvalidArgument`."""
    if text == "trim_horizon":
        return Start("trim_horizon")
    if text == "latest":
        return Start("latest")
    number = text.removeprefix("timestamp:")
    if number != text and _is_int64(number):
        return Start("at_timestamp", int(number))
    raise InvalidArgument(f"A start is trim_horizon, latest or timestamp:MILLISECONDS, not {text[:100]!r}.")


# Producer marks -------------------------------------------------------------------------------------------------------


def mark_headers(mark: ProducerMark) -> dict[str, str]:
    return {PRODUCER_HEADER: quote(mark.producer, safe=""), SEQUENCE_HEADER: str(mark.sequence)}


def mark_of(headers: Mapping[str, str]) -> ProducerMark | None:
    """Raises `InvalidArgument`."""
    producer, sequence = headers.get(PRODUCER_HEADER), headers.get(SEQUENCE_HEADER)
    if producer is None and sequence is None:
        return None
    if producer is None or sequence is None:
        raise InvalidArgument(f"{PRODUCER_HEADER} and {SEQUENCE_HEADER} come together or not at all.")
    try:
        name = unquote(producer, errors="strict")
        size = len(name.encode())
    except UnicodeError:
        raise InvalidArgument(f"{PRODUCER_HEADER} is not percent-encoded UTF-8.") from None
    if not 1 <= size <= PRODUCER_SIZE_MAX:
        raise InvalidArgument(f"A producer's name has 1 to {PRODUCER_SIZE_MAX} bytes of UTF-8, not {size}.")
    if not _is_int64(sequence):
        raise InvalidArgument(f"{SEQUENCE_HEADER} is a number from 0 to {INT64_MAX}, not {sequence[:100]!r}.")
    return ProducerMark(name, int(sequence))


# Answers in Arrow -----------------------------------------------------------------------------------------------------


def write_receipt(receipt: Receipt) -> list[Any]:
    schema = _with_metadata(_RECEIPT_SCHEMA, {"shards": receipt.shards})
    return write_stream(schema, [pa.RecordBatch.from_arrays([receipt.shard, receipt.offset], schema=schema)])


def read_receipt(body: Any) -> Receipt:
    """Raises ValueError."""
    metadata, batches = read_stream(body)
    shards = tuple(msgspec.json.decode(metadata.get(_METADATA, b"{}"), type=dict[str, list[str]])["shards"])
    (batch,) = batches
    return Receipt(shards, batch.column("shard"), batch.column("offset"))


class _FetchHead(msgspec.Struct):
    batches: list[tuple[str, int]]
    ended: tuple[str, ...]
    tips: dict[str, int]


def write_fetch(fetch: Fetch) -> list[Any]:
    """Shares the memory of the batches' columns."""
    hashed = any(batch.records.hash_key is not None for batch in fetch.batches)
    schema = _FETCH_SCHEMA.append(pa.field("hash_key", HASH_KEY)) if hashed else _FETCH_SCHEMA
    head = _FetchHead([(batch.shard, batch.first) for batch in fetch.batches], fetch.ended, dict(fetch.tips))
    schema = _with_metadata(schema, head)
    return write_stream(schema, [_fetched(batch.records, schema, hashed) for batch in fetch.batches])


def _fetched(records: Records, schema: pa.Schema, hashed: bool) -> pa.RecordBatch:
    columns = [records.partition_key, records.data, records.arrival]
    if hashed:
        columns.append(pa.nulls(len(records), HASH_KEY) if records.hash_key is None else records.hash_key)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def read_fetch(body: Any) -> Fetch:
    """The batches are views of `body`. Raises ValueError."""
    metadata, batches = read_stream(body)
    head = msgspec.json.decode(metadata.get(_METADATA, b"{}"), type=_FetchHead)
    return Fetch(
        tuple(
            Batch(shard, first, first + batch.num_rows, _records(batch))
            for (shard, first), batch in zip(head.batches, batches, strict=True)
        ),
        head.ended,
        head.tips,
    )


def _records(batch: pa.RecordBatch) -> Records:
    hash_key = batch.column("hash_key") if "hash_key" in batch.schema.names else None
    if hash_key is not None and hash_key.null_count == len(hash_key):
        hash_key = None
    return Records(batch.column("data"), batch.column("partition_key"), hash_key, batch.column("arrival"))


def _with_metadata(schema: pa.Schema, value: Any) -> pa.Schema:
    return schema.with_metadata({_METADATA: msgspec.json.encode(value)})


# Errors ---------------------------------------------------------------------------------------------------------------


class _Failure(msgspec.Struct):
    code: str = msgspec.field(name="__type")
    message: str = ""


def write_error(error: RequestError) -> bytes:
    return msgspec.json.encode(_Failure(error.code, error.message))


def read_error(status: int, body: Any, url: str) -> RequestError:
    """The error that the server raised; what a proxy or a stranger says becomes the nearest one."""
    try:
        failure = msgspec.json.decode(body, type=_Failure)
    except (msgspec.DecodeError, UnicodeDecodeError):
        failure = _Failure("", f"{url} answered {status}, and not as Headrace does.")
    kind = request_errors().get(failure.code, ServiceUnavailable if status >= 500 else RequestError)
    return kind(failure.message)


def _is_int64(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= INT64_MAX
