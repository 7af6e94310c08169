"""PutRecord, PutRecords, GetRecords: the hot paths. Work is done per batch and per shard; per record only what its reply needs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from streams.control.catalog import Stream, StreamShard
from streams.core import sequence
from streams.core.errors import (
    DryRunOperation,
    InternalFailure,
    InvalidArgument,
    LogFull,
    ResourceNotFound,
    ValidationError,
)
from streams.core.hashing import explicit_hash_key
from streams.core.records import Batch, Records
from streams.core.scope import Scope
from streams.core.sequence import SequenceNumber
from streams.core.shards import shard_id
from streams.operations.addressing import readable
from streams.operations.context import Context
from streams.operations.iterators import DRY_RUN, ShardIterator
from streams.operations.reading import read

BATCH_SIZE_MAX = 10 << 20
"""Bytes of keys and data in one PutRecords, and in one answer of GetRecords: AWS's."""
GET_RECORDS_MAX = 10_000

INTERNAL = "Internal Service Failure"
_STEP = 1 << 80  # from one record's sequence number to the next one's of the same arrival


class PutRecordReply(msgspec.Struct, frozen=True, gc=False):
    ShardId: str
    SequenceNumber: str


class PutRecordsEntry(msgspec.Struct, frozen=True, gc=False):
    SequenceNumber: str
    ShardId: str


class PutRecordsFailure(msgspec.Struct, frozen=True, gc=False):
    ErrorCode: str
    ErrorMessage: str


class PutRecordsReply(msgspec.Struct, frozen=True):
    FailedRecordCount: int
    Records: list[PutRecordsEntry | PutRecordsFailure]


class Record(msgspec.Struct, frozen=True, gc=False):
    SequenceNumber: str
    ApproximateArrivalTimestamp: float
    Data: bytes
    PartitionKey: str


async def put_record(context: Context, request: Any, scope: Scope) -> PutRecordReply:
    stream = readable(context, request, scope)
    key, data = request.partition_key, request.data
    if key is None:
        raise _missing_keys(["partitionKey"])
    _check_size(stream, data, key, "data")
    explicit = None if request.explicit_hash_key is None else _explicit(request.explicit_hash_key)
    if request.dry_run:
        raise DryRunOperation(DRY_RUN)
    live = context.live(stream)
    await live.enter()
    route = live.router.route_one(key, explicit)
    shard, log = live.shards[route], live.logs[route]
    if request.sequence_number_for_ordering is not None:
        _check_ordering(request.sequence_number_for_ordering, stream)
    before_ms = context.now_ms()
    try:
        offset = await live.append(route, Records.of([key], [data], None if explicit is None else [explicit]))
    except LogFull as error:
        raise InternalFailure(f"{INTERNAL}: {error.message}") from error
    arrival_s = await context.arrivals.second(log, offset, before_ms)
    number = sequence.base(shard.sequence_ms // 1000, shard.index, arrival_s) + (offset + 1) * _STEP
    return PutRecordReply(shard.id, str(number))


async def put_records(context: Context, request: Any, scope: Scope) -> PutRecordsReply:
    """All records of a shard are one append; the appends run side by side. A shard that fails fails its records only."""
    stream = readable(context, request, scope)
    keys = [record.partition_key for record in request.records]
    data = [record.data for record in request.records]
    _check_batch(stream, keys, data)
    explicit = [record.explicit_hash_key for record in request.records]
    hash_keys = [None if text is None else _explicit(text) for text in explicit] if any(explicit) else None
    if request.dry_run:
        raise DryRunOperation(DRY_RUN)
    live = context.live(stream)
    await live.enter()
    places: list[list[int]] = [[] for _ in live.shards]
    for place, route in enumerate(live.router.route(keys, hash_keys)):
        places[route].append(place)
    shards, ids = live.shards, live.ids
    before_ms = context.now_ms()
    appends = [
        (route, taken, live.append(route, _pick(taken, keys, data, hash_keys)))
        for route, taken in enumerate(places)
        if taken
    ]
    logs = live.logs
    offsets = await asyncio.gather(*(append for _, _, append in appends), return_exceptions=True)
    entries: list[PutRecordsEntry | PutRecordsFailure | None] = [None] * len(keys)
    failed = 0
    for (route, taken, _), offset in zip(appends, offsets, strict=True):
        if isinstance(offset, LogFull):
            failed += len(taken)
            for place in taken:
                entries[place] = PutRecordsFailure("InternalFailure", f"{INTERNAL}: {offset.message}")
        elif isinstance(offset, BaseException):
            raise offset
        else:
            shard, shard_name = shards[route], ids[route]
            arrival_s = await context.arrivals.second(logs[route], offset, before_ms)
            number = sequence.base(shard.sequence_ms // 1000, shard.index, arrival_s) + offset * _STEP
            for place in taken:
                number += _STEP
                entries[place] = PutRecordsEntry(str(number), shard_name)
    return PutRecordsReply(failed, entries)  # type: ignore[arg-type]


async def get_records(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    now_ms = context.now_ms()
    iterator = ShardIterator.decode(request.shard_iterator, context.tokens, now_ms)
    stream = context.stream(scope, iterator.stream_name)
    if stream.id != iterator.stream_id:
        raise InvalidArgument("Invalid ShardIterator.")
    if request.stream_arn is not None and request.stream_arn != stream.arn:
        raise InvalidArgument(f"StreamARN {request.stream_arn} is not the stream of the ShardIterator.")
    shard = stream.shard_at(iterator.shard_index, now_ms)
    if shard is None:
        raise ResourceNotFound(
            f"Shard {shard_id(iterator.shard_index)} in stream {stream.name} under account {stream.account} does not exist"
        )
    if request.dry_run:
        raise DryRunOperation(DRY_RUN)
    batch = await read(context, stream, shard, iterator.position, BATCH_SIZE_MAX)
    count = _fit(batch.records, min(request.limit or GET_RECORDS_MAX, GET_RECORDS_MAX))
    position = batch.first + count
    _, tip = await context.log.bounds(stream.log(shard))
    reply: dict[str, Any] = {
        "Records": _records(shard, batch, count),
        "MillisBehindLatest": _behind_ms(batch, count, now_ms) if position < tip else 0,
    }
    if shard.end is not None and position >= shard.end:
        reply["ChildShards"] = [_child(child) for child in stream.children(shard.index)]
    else:
        following = ShardIterator(stream.name, stream.id, shard.index, position, now_ms)
        reply["NextShardIterator"] = following.encode(context.tokens)
    return reply


def _pick(
    places: list[int], keys: Sequence[str], data: Sequence[bytes], hash_keys: Sequence[bytes | None] | None
) -> Records:
    if len(places) == len(keys):
        return Records.of(keys, data, hash_keys)
    return Records.of(
        [keys[place] for place in places],
        [data[place] for place in places],
        None if hash_keys is None else [hash_keys[place] for place in places],
    )


def _records(shard: StreamShard, batch: Batch, count: int) -> list[Record]:
    if count == 0:
        return []
    records = batch.records.slice(0, count)
    arrivals = records.arrival_ms()
    number = sequence.base(shard.sequence_ms // 1000, shard.index, 0) + batch.first * _STEP
    numbers: list[str] = []
    for arrival_s in (arrivals // 1000).tolist():
        number += _STEP
        numbers.append(str(number + (arrival_s << 36)))
    return list(
        map(
            Record,
            numbers,
            (arrivals / 1000).tolist(),
            records.data.to_pylist(),
            records.partition_key.to_pylist(),
        )
    )


def _fit(records: Records, limit: int) -> int:
    """How many of the first records are at most `limit` and `BATCH_SIZE_MAX` bytes, yet one if there is any."""
    count = min(len(records), limit)
    if count and records.slice(0, count).size > BATCH_SIZE_MAX:
        sizes = [len(data) + len(key) for data, key in zip(records.data, records.partition_key, strict=True)]
        count = max(1, int(np.searchsorted(np.cumsum(sizes[:count]), BATCH_SIZE_MAX, "right")))
    return count


def _behind_ms(batch: Batch, count: int, now_ms: int) -> int:
    """The age of the first record that was not returned, where the log gave it, or of the last one that was; never 0,
    which says that the reader has caught up."""
    arrivals = batch.records.arrival_ms()
    return max(1, now_ms - int(arrivals[min(count, len(arrivals) - 1)])) if len(arrivals) else 1


def _child(shard: StreamShard) -> dict[str, Any]:
    hash_range = shard.hash_range
    return {
        "ShardId": shard.id,
        "ParentShards": [shard_id(parent) for parent in shard.parents],
        "HashKeyRange": {"StartingHashKey": str(hash_range.first), "EndingHashKey": str(hash_range.last)},
    }


def _explicit(text: str) -> bytes:
    try:
        return explicit_hash_key(text)
    except ValueError:
        raise InvalidArgument(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was " + text
        ) from None


def _check_batch(stream: Stream, keys: Sequence[str | None], data: Sequence[bytes]) -> None:
    if None in keys:
        raise _missing_keys(
            [f"records.{place}.member.partitionKey" for place, key in enumerate(keys, 1) if key is None]
        )
    longest = max(map(len, data), default=0) + 1024  # a key has at most 256 characters of at most 4 bytes
    if longest > stream.record_size_max_kib << 10:
        for place, (key, one) in enumerate(zip(keys, data, strict=True), 1):
            _check_size(stream, one, key, f"records.{place}.member.data")
    size = sum(map(len, data))
    if size + 1024 * len(keys) > BATCH_SIZE_MAX and size + sum(len(key.encode()) for key in keys) > BATCH_SIZE_MAX:
        raise InvalidArgument("Records size exceeds 10 MiB limit")


def _check_size(stream: Stream, data: bytes, key: str | None, member: str) -> None:
    size_max = stream.record_size_max_kib << 10
    if len(data) > size_max:
        raise ValidationError(
            f"1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim={len(data)} cap={len(data)}]' at"
            f" '{member}' failed to satisfy constraint: Member must have length less than or equal to {size_max}"
        )
    if len(data) + 1024 > size_max and len(data) + len((key or "").encode()) > size_max:
        raise InvalidArgument(
            f"Data and partition key of {len(data) + len((key or '').encode())} bytes exceed the maximum record size of"
            f" {stream.record_size_max_kib} KiB of stream {stream.name} under account {stream.account}."
        )


def _missing_keys(members: list[str]) -> ValidationError:
    """AWS lists ten errors at most."""
    errors = "; ".join(
        f"Value null at '{member}' failed to satisfy constraint: Member must not be null" for member in members[:10]
    )
    count = len(members[:10])
    return ValidationError(f"{count} validation error{'s' if count > 1 else ''} detected: {errors}")


def _check_ordering(text: str, stream: Stream) -> None:
    """Any number that the stream may have given: what is appended next lies above it, and after the reply that gave it."""
    try:
        number = SequenceNumber.parse(text)
    except ValueError:
        number = None
    made = {shard.index: shard.sequence_ms // 1000 for shard in stream.shards}
    if number is None or made.get(number.shard_index) != number.created_s:
        raise InvalidArgument(
            f"ExclusiveMinimumSequenceNumber {text} used in PutRecord on stream {stream.name} under account"
            f" {stream.account} is invalid."
        )
