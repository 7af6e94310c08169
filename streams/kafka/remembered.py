"""What shards remember of their producers' marks, for processes that start: one compacted topic, `PREFIX-marks`.

    key     the shard
    value   msgpack of `Kept`: the marks of all records below an offset, and when that was written; empty: the shard is gone

A process writes down what it knows before it appends under a mark, if it has not for `SAVE_MS`. So a mark that is in no
entry lies within `SAVE_MS` of one: whoever starts reads the entry, and of the shard so much more, however old they are.
"""

from __future__ import annotations

import asyncio

import msgspec
from aiokafka.errors import KafkaError

from streams.core.errors import LogUnreachable
from streams.core.records import Records
from streams.kafka.address import Address
from streams.kafka.cluster import LATEST, Cluster
from streams.kafka.codec import decode, plain
from streams.kafka.places import Place
from streams.kafka.producers import Producers

SAVE_MS = 60_000
"""How old what is written down of a shard may be when a mark is appended to it: some hundred kilobytes a minute at most."""

READ_SIZE = 8 << 20

CONFIG = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.2"}


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """producer → (sequence, first offset) of its last append below `offset`, as of `at_ms`."""

    offset: int
    at_ms: int
    last: dict[str, tuple[int, int]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode


class Remembered:
    """Of all shards of a log."""

    def __init__(self, address: Address, cluster: Cluster, producers: Producers) -> None:
        self._place = Place(f"{address.prefix}-marks", 0)
        self._cluster = cluster
        self._producers = producers
        self._entries: dict[str, bytes] = {}
        self._read_to = 0
        self._there = False
        self._reading = asyncio.Lock()
        self._writing = asyncio.Lock()

    async def load(self, shard: str) -> Kept | None:
        """As it was last written down by any process. Raises `LogError`."""
        async with self._reading:
            await self.exist()
            end = await self._cluster.offset(self._place, LATEST)
            while self._read_to < end:
                fetched = await self._cluster.fetch(self._place, self._read_to, READ_SIZE)
                parts = list(decode(fetched.data, self._place.topic))
                for part in parts:
                    for key, value in zip(
                        part.records.partition_key.to_pylist(), part.records.data.to_pylist(), strict=True
                    ):
                        self._entries[key] = value
                    # A batch has one record, or none where a later one has taken its place.
                    self._read_to = max(self._read_to, part.first + 1)
                if not parts:
                    self._read_to = end
        entry = self._entries.get(shard)
        return _decode(entry) if entry else None

    async def save(self, shard: str, kept: Kept) -> None:
        """Durable when it returns. Raises `LogError`."""
        await self._write(shard, _encode(kept), kept.at_ms)

    async def forget(self, shard: str, now_ms: int) -> None:
        """The shard is gone."""
        if shard in self._entries:
            await self._write(shard, b"", now_ms)

    async def _write(self, shard: str, value: bytes, at_ms: int) -> None:
        async with self._writing:  # a producer has one batch of a partition at a time
            await self.exist()
            batch = plain(Records.of([shard], [value]), at_ms, [], self._producers.compression)
            try:
                await self._producers.send(batch, self._place)
            except KafkaError as error:
                raise LogUnreachable(f"what is known of {shard} could not be written down: {error!r}") from error
            self._entries[shard] = value

    async def exist(self) -> None:
        """The topic is there: made with the first shard, since a broker may be away when the first mark comes."""
        if not self._there:
            await self._cluster.create(self._place.topic, 1, CONFIG)
            self._there = True
