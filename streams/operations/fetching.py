"""Fetch: records of many shards at once, waiting on the log itself where there are none yet."""

from __future__ import annotations

from collections.abc import Mapping

from streams.control.stream import Stream, StreamShard
from streams.core.exchange import Fetch
from streams.core.records import Batch
from streams.core.scope import Scope
from streams.core.waits import first
from streams.operations.addressing import find_shard, parse_shard_id
from streams.operations.context import Context
from streams.operations.native import check_positions
from streams.operations.reading import read
from streams.operations.waits import arrival

Asked = dict[str, tuple[StreamShard, int]]


async def fetch(
    context: Context, scope: Scope, stream: str, positions: Mapping[str, int], size_max: int, wait_ms: int
) -> Fetch:
    """Answers at once if a shard has records or is at its end; else when the first record arrives, when a shard is split,
    merged or gone, or after `wait_ms` of the clock's time."""
    check_positions(positions)
    deadline_ms = context.now_ms() + wait_ms
    while True:
        found = context.stream(scope, stream)
        asked, ended = _asked(found, positions, context.now_ms())
        change = context.live(found).change
        answer = await _read(context, found, asked, ended, size_max)
        left_ms = deadline_ms - context.now_ms()
        if answer.batches or answer.ended or left_ms <= 0 or not asked:
            return answer
        arrivals = [arrival(context.log, found.log(shard), answer.tips[name]) for name, (shard, _) in asked.items()]
        await first(change.wait(), context.clock.sleep(left_ms / 1000), *arrivals)


def _asked(stream: Stream, positions: Mapping[str, int], now_ms: int) -> tuple[Asked, list[str]]:
    """The shards to read, and those that have aged out: whoever asks has read them to their end."""
    asked: Asked = {}
    ended = []
    for name, position in positions.items():
        index = parse_shard_id(name)
        if index is not None and index < stream.shards_made and stream.shard_at(index, now_ms) is None:
            ended.append(name)
        else:
            asked[name] = find_shard(stream, name, now_ms), position
    return asked, ended


async def _read(context: Context, stream: Stream, asked: Asked, ended: list[str], size_max: int) -> Fetch:
    """Reads only shards that have something; they share `size_max` evenly."""
    tips: dict[str, int] = {}
    ready = []
    for name, (shard, position) in asked.items():
        _, tips[name] = await context.log.bounds(stream.log(shard))
        if position != tips[name]:
            ready.append(name)
    batches = []
    at = {name: position for name, (_, position) in asked.items()}
    for name in ready:
        shard, position = asked[name]
        batch = await read(context, stream, shard, position, max(1, size_max // len(ready)))
        at[name] = batch.next
        tips[name] = max(tips[name], batch.next)
        if len(batch):
            behind_ms = context.now_ms() - int(batch.records.arrival_ms()[-1]) if batch.next < tips[name] else 0
            context.metrics.got(stream, name, len(batch), batch.records.size, behind_ms)
            context.lag.seen(stream, name, behind_ms)
            batches.append(Batch(name, batch.first, batch.next, batch.records))
    ends = [name for name, (shard, _) in asked.items() if shard.end is not None and at[name] >= shard.end]
    return Fetch(tuple(batches), (*ended, *ends), tips)
