"""A `Service` as the gateway drives it: requests through the wire's decoder, replies through its encoder."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from streams.log.memory import MemoryLog

from streams.core.clock import ManualClock
from streams.core.errors import LogFull
from streams.core.records import ProducerMark, Records
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.sdk.local import LocalClient
from streams.service import Service
from streams.wire.protocol import JSON, protocol

PROTOCOL = protocol("kinesis")


class FaultyLog(MemoryLog):
    """Refuses appends to shards whose name contains one of `full`; holds them while `held` is set."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.full: set[str] = set()
        self.held: asyncio.Event | None = None

    async def append(self, shard: str, records: Records, mark: ProducerMark | None = None) -> int:
        if any(part in shard for part in self.full):
            raise LogFull("no space left")
        if self.held is not None and shard.startswith("streams/"):
            await self.held.wait()
        return await super().append(shard, records, mark)


class Kinesis:
    """`ask` is one request; `client` the native face; `restart` closes the service and opens another over the log."""

    def __init__(self, clock: ManualClock, settings: Settings) -> None:
        self.clock = clock
        self.settings = settings
        self.log = FaultyLog(clock)
        self.scope = Scope()
        self.service = self._service()
        self.client = LocalClient(self.service)

    def _service(self) -> Service:
        numbers = itertools.count(1)
        return Service(
            self.log,
            clock=self.clock,
            settings=self.settings,
            random=lambda size: next(numbers).to_bytes(4, "big") * (size // 4),
        )

    async def open(self) -> None:
        await self.service.open()

    async def restart(self) -> None:
        await self.service.close()
        self.service = self._service()
        self.client = LocalClient(self.service)
        await self.open()

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


@pytest.fixture
async def opened(clock: ManualClock) -> AsyncIterator[Callable[..., Any]]:
    """Opens a `Kinesis` with the settings given; closes it after the test."""
    started: list[Kinesis] = []

    async def start(**settings: Any) -> Kinesis:
        kinesis = Kinesis(clock, Settings(**settings))
        await kinesis.open()
        started.append(kinesis)
        return kinesis

    yield start
    for kinesis in started:
        await kinesis.service.close()


@pytest.fixture
async def kinesis(opened: Callable[..., Any]) -> Kinesis:
    return await opened()


@pytest.fixture
async def stream(kinesis: Kinesis) -> Kinesis:
    """With a stream "s" of one shard."""
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    return kinesis
