"""What our own clients ask of streams, beside the Kinesis API: Arrow in, Arrow out, positions instead of iterators."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams.control import decisions
from streams.control.decisions import NewStream
from streams.control.stream import PACKED_TAG, Stream, StreamShard
from streams.core.errors import InvalidArgument
from streams.core.exchange import Receipt, Start, StreamDescription
from streams.core.records import ProducerMark, Records
from streams.core.scope import Scope
from streams.operations import taken
from streams.operations.addressing import find_shard
from streams.operations.context import Context
from streams.operations.streams import new_id

NAME_MAX = 128
"""Characters of the name of a stream, as in the Kinesis API, or of a consumer."""
PARTITION_KEY_MAX = 256
"""Characters, as in the Kinesis API, which must be able to read every record."""

_NAME = re.compile(r"[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)*")


async def create_stream(
    context: Context, scope: Scope, stream: str, shards: int, retention_hours: int, packed: bool
) -> None:
    if len(stream) > NAME_MAX or not _NAME.fullmatch(stream):
        raise InvalidArgument(
            f"A stream's name has 1 to {NAME_MAX} letters, digits, _ . and -, and a slash where it is hidden: {stream[:200]!r}."
        )
    if shards < 1:
        raise InvalidArgument(f"A stream needs at least one shard, not {shards}.")
    if not 24 <= retention_hours <= 8760:
        raise InvalidArgument(f"Retention is between 24 and 8760 hours, not {retention_hours}.")
    new = NewStream(
        scope=scope,
        name=stream,
        id=new_id(context.random),
        shards=shards,
        retention_hours=retention_hours,
        tags={PACKED_TAG: "true"} if packed else None,
    )
    shards_max = context.settings.shards_max
    await context.controller.execute(
        lambda catalog, now_ms: decisions.create_stream(catalog, now_ms, new, create_ms=0, shards_max=shards_max)
    )


def list_streams(context: Context, scope: Scope) -> list[str]:
    now_ms = context.now_ms()
    return [stream.name for stream in context.catalog.of_scope(scope) if not stream.hidden and not stream.gone(now_ms)]


def describe_stream(context: Context, scope: Scope, stream: str) -> StreamDescription:
    found = context.stream(scope, stream)
    now_ms = context.now_ms()
    return StreamDescription(
        found.name,
        found.arn,
        found.id,
        found.status(now_ms),
        found.retention_hours,
        found.created_ms,
        tuple(found.describe(shard) for shard in found.visible_shards(now_ms)),
    )


async def put(context: Context, scope: Scope, stream: str, records: Records, mark: ProducerMark | None) -> Receipt:
    found = context.stream(scope, stream)
    _check(found, records)
    live = context.live(found)
    closed: taken.Taken = []
    if mark is None:
        await live.enter()
    else:
        closed = await taken.enter(context.log, live, mark)
    ids = tuple(live.ids)
    count = len(records)
    if count == 0:
        return Receipt(ids, pa.array([], pa.int32()), pa.array([], pa.int64()))
    if len(ids) == 1 and not closed:
        first = await asyncio.shield(live.start(0, records, mark))
        return Receipt(ids, pa.array(np.zeros(count, np.int32)), pa.array(np.arange(first, first + count)))
    routes = live.router.route_arrow(records)
    offsets = np.empty(count, np.int64)
    for route, (shard, first) in enumerate(closed, len(ids)):
        stored = np.flatnonzero((routes < len(ids)) & taken.places(shard, records))
        routes[stored] = route
        offsets[stored] = np.arange(first, first + len(stored))
    places = [np.flatnonzero(routes == route) for route in range(len(ids))]
    appends = {
        route: live.start(route, records.take(pa.array(place)), mark)
        for route, place in enumerate(places)
        if len(place)
    }
    ids += tuple(shard.id for shard, _ in closed)
    if appends:
        await asyncio.wait(appends.values())
    for route, append in appends.items():
        first = append.result()
        offsets[places[route]] = np.arange(first, first + len(places[route]))
    return Receipt(ids, pa.array(routes), pa.array(offsets))


async def find(
    context: Context, scope: Scope, stream: str, start: Start, shards: tuple[str, ...] | None
) -> dict[str, int]:
    found = context.stream(scope, stream)
    now_ms = context.now_ms()
    asked = found.visible_shards(now_ms) if shards is None else [find_shard(found, shard, now_ms) for shard in shards]
    horizon_ms = found.horizon_ms(now_ms)

    async def position(shard: StreamShard) -> int:
        name = found.log(shard)
        if start.kind == "latest":
            return (await context.log.bounds(name))[1]
        return await context.log.find(name, max(start.timestamp_ms, horizon_ms))

    return {shard.id: await position(shard) for shard in asked}


def check_consumer(consumer: str) -> None:
    if not 1 <= len(consumer) <= NAME_MAX:
        raise InvalidArgument(f"A consumer's name has 1 to {NAME_MAX} characters, not {len(consumer)}.")


def check_positions(positions: Mapping[str, int]) -> None:
    for shard, position in positions.items():
        if position < 0:
            raise InvalidArgument(f"Position {position} in {shard} is negative.")


def _check(stream: Stream, records: Records) -> None:
    """Every record must fit what the Kinesis API can carry."""
    if len(records) == 0:
        return
    if records.data.null_count or records.partition_key.null_count:
        raise InvalidArgument("data and partition_key must not be null.")
    lengths = pc.min_max(pc.utf8_length(records.partition_key)).as_py()
    if lengths["min"] < 1 or lengths["max"] > PARTITION_KEY_MAX:
        raise InvalidArgument(
            f"A partition key has 1 to {PARTITION_KEY_MAX} characters; found {lengths['min']} to {lengths['max']}."
        )
    size_max = stream.record_size_max_kib << 10
    size = pc.max(pc.add(pc.binary_length(records.data), pc.binary_length(records.partition_key))).as_py()
    if size > size_max:
        raise InvalidArgument(
            f"Data and partition key of {size} bytes exceed the maximum record size of {stream.record_size_max_kib} KiB"
            f" of stream {stream.name} under account {stream.account}."
        )
