"""A `Service` as the gateway drives it: requests through the wire's decoder, replies through its encoder."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streams.core.clock import ManualClock
from streams.core.errors import LogFull
from streams.core.records import ProducerMark, Records
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.kafka.address import parse
from streams.kafka.log import KafkaLog
from streams.log.embedded import EmbeddedLog
from streams.log.log import Appended, Appends, Log, side_by_side
from streams.log.memory import MemoryLog
from streams.sdk.local import LocalClient
from streams.service import Service
from streams.wire.protocol import JSON, protocol

OpenLog = Callable[[], Awaitable[Any]]

PROTOCOL = protocol("kinesis")


class FaultyLog:
    """Another log, which refuses appends to shards whose name contains one of `full`, and holds them while `held` is set."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.full: set[str] = set()
        self.held: asyncio.Event | None = None

    async def append(self, shard: str, records: Records, mark: ProducerMark | None = None, **how: bool) -> int:
        if any(part in shard for part in self.full):
            raise LogFull("no space left")
        if self.held is not None and shard.startswith("streams/"):
            await self.held.wait()
        return await self.log.append(shard, records, mark, **how)

    def append_each(
        self, shards: Sequence[str], ends: Sequence[int], records: Records, **how: bool
    ) -> asyncio.Future[Appends]:
        async def append(shard: str, part: Records) -> Appended:
            first = await self.append(shard, part, **how)
            return Appended(first, int((await self.log.read(shard, first, 1)).records.arrival_ms()[0]))

        return side_by_side(append, shards, ends, records)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)


class Kinesis:
    """`ask` is one request; `client` the native face; `restart` closes service and log and opens them again."""

    def __init__(self, clock: ManualClock, settings: Settings, open_log: OpenLog) -> None:
        self.clock = clock
        self.settings = settings
        self.open_log = open_log
        self.scope = Scope()
        self.numbers = itertools.count(1)

    async def open(self) -> None:
        self.log = FaultyLog(await self.open_log())
        self.service = Service(self.log, clock=self.clock, settings=self.settings, random=self.random)
        self.client = LocalClient(self.service)
        await self.service.open()

    async def close(self) -> None:
        await self.service.close()
        await self.log.close()

    async def restart(self) -> None:
        await self.close()
        await self.open()

    def random(self, size: int) -> bytes:
        """Never the same twice, always the same in each run."""
        return next(self.numbers).to_bytes(4, "big") * (size // 4)

    async def ask(self, operation: str, scope: Scope | None = None, **members: Any) -> Any:
        request = PROTOCOL.decode(operation, JSON, msgspec.json.encode(members))
        reply = await self.service.call(operation, request, scope or self.scope)
        body = PROTOCOL.encode(operation, JSON, reply)
        return msgspec.json.decode(body) if body else None

    async def iterator(self, kind: str = "TRIM_HORIZON", shard: str = "0", stream: str = "s", **members: Any) -> str:
        reply = await self.ask("GetShardIterator", StreamName=stream, ShardId=shard, ShardIteratorType=kind, **members)
        return reply["ShardIterator"]

    async def read(self, iterator: str, **members: Any) -> list[str]:
        """The partition keys of what the iterator gives."""
        reply = await self.ask("GetRecords", ShardIterator=iterator, **members)
        return [record["PartitionKey"] for record in reply["Records"]]

    async def put(self, *keys: str, stream: str = "s", data: bytes = b"x") -> list[str]:
        """The sequence numbers."""
        reply = await self.ask(
            "PutRecords", StreamName=stream, Records=[{"PartitionKey": key, "Data": data} for key in keys]
        )
        return [record["SequenceNumber"] for record in reply["Records"]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Unclosed:
    """A log in memory whose records outlive `close`, as a disk's do."""

    def __init__(self, clock: ManualClock) -> None:
        self._log = MemoryLog(clock)

    async def close(self) -> None:
        """Nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


@pytest.fixture(params=["memory", "embedded", pytest.param("kafka", marks=pytest.mark.soak)])
def open_log(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> OpenLog:
    """Opens the same log each time."""
    memory = Unclosed(clock)

    async def open_memory() -> Any:
        return memory

    async def open_embedded() -> Any:
        return await EmbeddedLog.open(tmp_path / "log", clock=clock)

    async def open_kafka() -> Any:
        return await KafkaLog.open(parse(request.getfixturevalue("kafka_url")), clock=clock)

    return {"kafka": open_kafka, "memory": open_memory, "embedded": open_embedded}[request.param]


@pytest.fixture
async def opened(clock: ManualClock, open_log: OpenLog) -> AsyncIterator[Callable[..., Any]]:
    """Opens a `Kinesis` with the settings given; closes it after the test."""
    started: list[Kinesis] = []

    async def start(**settings: Any) -> Kinesis:
        kinesis = Kinesis(clock, Settings(**settings), open_log)
        await kinesis.open()
        started.append(kinesis)
        return kinesis

    yield start
    for kinesis in started:
        await kinesis.close()


@pytest.fixture
async def kinesis(opened: Callable[..., Any]) -> Kinesis:
    return await opened()


@pytest.fixture
async def stream(kinesis: Kinesis) -> Kinesis:
    """With a stream "s" of one shard."""
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    return kinesis
