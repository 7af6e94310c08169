"""PutRecord, PutRecords, GetRecords: the hot paths. Work is done per batch and per shard; per record only what its reply needs."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from streams.control.stream import Stream, StreamShard
from streams.core.errors import DryRunOperation, InvalidArgument
from streams.core.records import Batch, Records
from streams.core.scope import Scope
from streams.core.sequence import SequenceNumber
from streams.core.shards import shard_id
from streams.log.log import Appended
from streams.operations import guard
from streams.operations.addressing import find_shard, readable
from streams.operations.context import Context
from streams.operations.iterators import DRY_RUN, ShardIterator
from streams.operations.limits import BATCH_SIZE_MAX, check_batch, check_size, hash_key_of, missing_keys
from streams.operations.live import Live
from streams.operations.numbering import number_of, numbers_by_arrival, numbers_of
from streams.operations.reading import read

GET_RECORDS_MAX = 10_000
"""Records in one answer: AWS's."""

_RECORD_SIZE_USUAL = 1 << 10
_READ_SIZE_MIN = 64 << 10

KMS = "KMS"
"""What a stream says of its records after StartStreamEncryption; unencrypted ones say nothing, as at AWS."""

INTERNAL = "Internal Service Failure"


class PutRecordReply(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    ShardId: str
    SequenceNumber: str
    EncryptionType: str | None = None


class PutRecordsEntry(msgspec.Struct, frozen=True, gc=False):
    SequenceNumber: str
    ShardId: str


class PutRecordsFailure(msgspec.Struct, frozen=True, gc=False):
    ErrorCode: str
    ErrorMessage: str


class PutRecordsReply(msgspec.Struct, frozen=True, omit_defaults=True):
    FailedRecordCount: int
    Records: list[PutRecordsEntry | PutRecordsFailure]
    EncryptionType: str | None = None


class Record(msgspec.Struct, frozen=True, gc=False):
    SequenceNumber: str
    ApproximateArrivalTimestamp: float
    Data: bytes
    PartitionKey: str


class EncryptedRecord(Record, frozen=True, gc=False):
    EncryptionType: str = KMS


async def put_record(context: Context, request: Any, scope: Scope) -> PutRecordReply:
    stream = readable(context, request, scope)
    key, data = request.partition_key, request.data
    spread = stream.distribution == "AUTO"
    if key is None:
        if not spread:
            raise missing_keys(["partitionKey"])
        key = ""
    check_size(stream, data, key, "data")
    explicit = None if request.explicit_hash_key is None else hash_key_of(request.explicit_hash_key)
    if request.sequence_number_for_ordering is not None:
        _check_ordering(request.sequence_number_for_ordering, stream)
    if request.dry_run:
        raise DryRunOperation(DRY_RUN)
    live = context.live(stream)
    if context.guarded:
        shard = live.shards[live.router.route_one(key, explicit)]
        await guard.put_record(context, stream, shard, len(data) + len(key.encode()))
    await live.enter()
    route = live.spread(1)[0] if spread else live.router.route_one(key, explicit)
    shard, shard_id = live.shards[route], live.ids[route]
    offset, arrival_ms = await live.gathering.put(route, key, data, None if spread else explicit)
    return PutRecordReply(shard_id, number_of(shard, offset, arrival_ms // 1000), KMS if stream.key_id else None)


async def put_records(context: Context, request: Any, scope: Scope) -> PutRecordsReply:
    """All records of a shard are one append; those of all shards are asked for at once. A shard that fails fails its records
    only."""
    stream = readable(context, request, scope)
    spread = stream.distribution == "AUTO"
    keys = [record.partition_key for record in request.records]
    if spread:
        keys = [key or "" for key in keys]
    data = [record.data for record in request.records]
    check_batch(stream, keys, data)
    explicit = [record.explicit_hash_key for record in request.records]
    hash_keys = [None if text is None else hash_key_of(text) for text in explicit] if any(explicit) else None
    if spread:
        hash_keys = None
    if request.dry_run:
        raise DryRunOperation(DRY_RUN)
    live = context.live(stream)
    await live.enter()
    routes = live.spread(len(keys)) if spread else live.router.route(keys, hash_keys)
    places: defaultdict[int, list[int]] = defaultdict(list)
    for place, route in enumerate(routes):
        places[route].append(place)
    entries: list[Any] = [None] * len(keys)
    failed = 0
    if context.guarded:
        failures = _refused(context, live, places, keys, data)
        failed = len(failures)
        for place, why in failures.items():
            entries[place] = PutRecordsFailure(*why)
        left = {route: [place for place in taken if place not in failures] for route, taken in places.items()}
        places = defaultdict(list, {route: taken for route, taken in left.items() if taken})
    if places:
        # One array of all, ordered by shard, of which each shard has a part: cheaper than an array for each.
        order = list(itertools.chain.from_iterable(places.values()))
        ordered = Records.of(
            [keys[place] for place in order],
            [data[place] for place in order],
            None if hash_keys is None else [hash_keys[place] for place in order],
        )
        of_shards = [(live.shards[route], live.ids[route], len(taken)) for route, taken in places.items()]
        append = live.append_each(list(places), list(itertools.accumulate(map(len, places.values()))), ordered)
        await asyncio.wait([append])
        results: list[PutRecordsEntry | PutRecordsFailure] = []
        for (shard, id_, count), outcome in zip(of_shards, append.result(), strict=True):
            if isinstance(outcome, Appended):
                numbers = numbers_of(shard, outcome.first, count, outcome.arrival_ms // 1000)
                results += map(PutRecordsEntry, numbers, itertools.repeat(id_, count))
            elif outcome.retry:
                failed += count
                context.metrics.failed(stream, id_, count, 0)
                results += [PutRecordsFailure("InternalFailure", f"{INTERNAL}: {outcome.message}")] * count
            else:
                raise outcome
        for place, result in zip(order, results, strict=True):
            entries[place] = result
    return PutRecordsReply(failed, entries, KMS if stream.key_id else None)


def _refused(
    context: Context, live: Live, places: Mapping[int, Sequence[int]], keys: Sequence[str], data: Sequence[bytes]
) -> dict[int, guard.Failure]:
    """Which of the records, whose places are by route, a limit or a fault strikes, and why."""
    failures: dict[int, guard.Failure] = {}
    for route in sorted(places):
        taken = places[route]
        sizes = [len(data[place]) + len(keys[place].encode()) for place in taken]
        of_shard = guard.put_records(context, live.stream, live.shards[route], sizes)
        failures |= {place: why for place, why in zip(taken, of_shard, strict=True) if why is not None}
    return failures


async def get_records(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    now_ms = context.now_ms()
    iterator = ShardIterator.decode(request.shard_iterator, context.tokens, now_ms)
    stream = context.catalog.by_id(iterator.stream_id)
    if stream is None or stream.gone(now_ms):
        context.stream(scope, iterator.stream_name)
        raise InvalidArgument("Invalid ShardIterator.")
    if stream.region != scope.region:
        raise InvalidArgument("Invalid ShardIterator.")
    if request.stream_arn is not None and request.stream_arn != stream.arn:
        raise InvalidArgument(f"StreamARN {request.stream_arn} is not the stream of the ShardIterator.")
    shard = find_shard(stream, iterator.shard_index, now_ms)
    if request.dry_run:
        raise DryRunOperation(DRY_RUN)
    if context.guarded:
        await guard.get_records(context, stream, shard)
    _, tip = await context.log.bounds(stream.log(shard))
    batch, count = await _read(context, stream, shard, iterator.position, request.limit or GET_RECORDS_MAX, tip)
    position = batch.first + count
    size = batch.records.slice(0, count).size
    if context.guarded:
        context.throttles.gave(stream.log(shard), size)
    behind = behind_ms(batch, count, now_ms) if position < tip else 0
    context.metrics.got(stream, shard.id, count, size, behind)
    context.lag.seen(stream, shard.id, behind)
    reply: dict[str, Any] = {
        "Records": record_replies(stream, shard, batch, count),
        "MillisBehindLatest": behind,
    }
    if shard.end is not None and position >= shard.end:
        reply["ChildShards"] = [child_reply(child) for child in stream.children(shard.index)]
    else:
        following = ShardIterator(stream.name, stream.id, shard.index, position, now_ms)
        reply["NextShardIterator"] = following.encode(context.tokens)
    return reply


def record_replies(stream: Stream, shard: StreamShard, batch: Batch, count: int) -> list[Record]:
    """The first `count` records of the batch, as GetRecords and SubscribeToShard give them out."""
    if count == 0:
        return []
    records = batch.records.slice(0, count)
    arrivals = records.arrival_ms()
    columns = (
        numbers_by_arrival(shard, batch.first, arrivals),
        (arrivals / 1000).tolist(),
        records.data.to_pylist(),
        records.partition_key.to_pylist(),
    )
    if not stream.encrypted:
        return list(map(Record, *columns))
    encrypted = stream.encrypted_at(arrivals).tolist()
    return [
        (EncryptedRecord if one else Record)(*row)
        for one, row in zip(encrypted, zip(*columns, strict=True), strict=True)
    ]


async def _read(
    context: Context, stream: Stream, shard: StreamShard, position: int, limit: int, tip: int
) -> tuple[Batch, int]:
    """A batch from the position on, and how many of its first records are at most `limit` and `BATCH_SIZE_MAX` bytes."""
    # Few records are rarely long: a log that gathers what it reads is not made to gather all it might need.
    size_max = min(max(limit * _RECORD_SIZE_USUAL, _READ_SIZE_MIN), BATCH_SIZE_MAX)
    batch = await read(context, stream, shard, position, size_max)
    if len(batch) < limit and batch.next < tip and size_max < BATCH_SIZE_MAX:
        batch = await read(context, stream, shard, position, BATCH_SIZE_MAX)
    return batch, min(len(batch), limit, batch.records.count_within(BATCH_SIZE_MAX))


def behind_ms(batch: Batch, count: int, now_ms: int) -> int:
    """The age of the first record that was not returned, where the log gave it, or of the last one that was; never 0,
    which says that the reader has caught up."""
    arrivals = batch.records.arrival_ms()
    return max(1, now_ms - int(arrivals[min(count, len(arrivals) - 1)])) if len(arrivals) else 1


def child_reply(shard: StreamShard) -> dict[str, Any]:
    hash_range = shard.hash_range
    return {
        "ShardId": shard.id,
        "ParentShards": [shard_id(parent) for parent in shard.parents],
        "HashKeyRange": {"StartingHashKey": str(hash_range.first), "EndingHashKey": str(hash_range.last)},
    }


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
