"""A shard's, or a whole stream's, records as one Arrow IPC stream: what `pa.ipc.open_stream(urlopen(url))` reads.

    GET /native/v1/streams/NAME/records?shard=shardId-000000000000&from=trim_horizon&follow=true

shard   absent: all shards, and a column `shard` that says which
from    trim_horizon (the default), latest, timestamp:MILLISECONDS, or with a shard an offset
follow  true: goes on with what arrives, for as long as somebody reads and the shard is open; else it ends at the newest
        record of the time of the question

Every record batch goes out as soon as there is one, and the next is read when the reader has taken it: a reader that
stops costs one batch of memory.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from streams.core.errors import InvalidArgument
from streams.core.exchange import LATEST, TRIM_HORIZON, Start
from streams.core.records import SCHEMA, Batch
from streams.sdk.client import Client
from streams.sdk.consumer import Consumer
from streams.wire import native
from streams.wire.arrow import StreamWriter

BATCH_SIZE_MAX = 1 << 20
"""Bytes of a record batch: past this its cost no longer shows, and it is what each reader may hold here."""

WAIT_MS = 20_000
"""How long one look for new records waits; the next follows at once."""

SHARDED_SCHEMA = pa.schema([pa.field("shard", pa.string(), nullable=False), *SCHEMA])


@dataclass(frozen=True, slots=True)
class Reading:
    """What a query asks for."""

    shard: str | None
    start: Start | int
    follow: bool

    @staticmethod
    def of(query: Mapping[str, str]) -> Reading:
        """Raises `InvalidArgument`. A signature may stand in the query too."""
        for name in query:
            if name not in ("shard", "from", "follow") and not name.startswith("X-Amz-"):
                raise InvalidArgument(f"Records are asked for by shard, from and follow, not by {name[:100]!r}.")
        follow = query.get("follow", "false")
        if follow not in ("true", "false"):
            raise InvalidArgument(f"follow is true or false, not {follow[:100]!r}.")
        shard, text = query.get("shard"), query.get("from", "trim_horizon")
        start: Start | int
        if text.isascii() and text.isdigit():
            if shard is None:
                raise InvalidArgument("An offset counts within one shard: name it, as in shard=shardId-000000000000.")
            if len(text) > 19 or int(text) > native.INT64_MAX:
                raise InvalidArgument(f"An offset is at most {native.INT64_MAX}, not {text[:100]}.")
            start = int(text)
        else:
            start = native.parse_start(text)
        return Reading(shard, start, follow == "true")

    async def positions(self, client: Client, stream: str) -> dict[str, int]:
        """Where each shard is begun. Raises as `Client.find` does."""
        shards = None if self.shard is None else (self.shard,)
        if isinstance(self.start, Start):
            return await client.find(stream, self.start, shards)
        assert shards is not None
        await client.find(stream, TRIM_HORIZON, shards)  # the shard exists
        return {shards[0]: self.start}


async def arrow_stream(
    client: Client, stream: str, reading: Reading, positions: dict[str, int]
) -> AsyncGenerator[bytes, None]:
    """The IPC stream, message by message."""
    sharded = reading.shard is None
    schema = SHARDED_SCHEMA if sharded else SCHEMA
    writer = StreamWriter(schema)
    # An empty batch is the schema's message and next to nothing: readers know the columns before the first record.
    yield b"".join(writer.write(pa.RecordBatch.from_pylist([], schema=schema)))
    follow = _follow_all if sharded else _follow
    batches = (follow if reading.follow else _rest)(client, stream, positions)
    try:
        async for batch in batches:
            table = batch.to_arrow()
            if sharded:
                table = pa.RecordBatch.from_arrays([pa.repeat(batch.shard, len(batch)), *table.columns], schema=schema)
            yield b"".join(writer.write(table))
    finally:
        await batches.aclose()
    yield b"".join(writer.end())


async def _rest(client: Client, stream: str, positions: dict[str, int]) -> AsyncGenerator[Batch, None]:
    """Shard by shard, up to the newest record of now."""
    tips = await client.find(stream, LATEST, tuple(positions))
    for shard, position in positions.items():
        while position < tips[shard]:
            fetch = await client.fetch(stream, {shard: position}, size_max=BATCH_SIZE_MAX)
            for batch in fetch.batches:
                position = batch.next
                yield _until(batch, tips[shard])
            if not fetch.batches:
                break  # what was left has passed out of retention


async def _follow(client: Client, stream: str, positions: dict[str, int]) -> AsyncGenerator[Batch, None]:
    """One shard as long as it is open."""
    ((shard, position),) = positions.items()
    while True:
        fetch = await client.fetch(stream, {shard: position}, size_max=BATCH_SIZE_MAX, wait_ms=WAIT_MS)
        for batch in fetch.batches:
            position = batch.next
            yield batch
        if fetch.ended:
            return


async def _follow_all(client: Client, stream: str, positions: dict[str, int]) -> AsyncGenerator[Batch, None]:
    """All shards, and those that a resharding makes, parents before children."""
    async with Consumer(client, stream, positions=positions, size_max=BATCH_SIZE_MAX) as consumer:
        async for batch in consumer:
            yield batch


def _until(batch: Batch, tip: int) -> Batch:
    count = min(batch.next, tip) - batch.first
    return Batch(batch.shard, batch.first, batch.first + count, batch.records.slice(0, count))
