"""The real service over the in-memory log, and a server on a free port: one set of tests for both seams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from gateway.native import NativeDoor
from gateway.server import Server
from streams.core.clock import ManualClock, SystemClock
from streams.core.scope import Scope
from streams.log.memory import MemoryLog
from streams.sdk.client import Client
from streams.sdk.http import HttpClient
from streams.sdk.local import LocalClient
from streams.service import Service
from streams.wire.protocol import protocol


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Lets the other tasks run until it is so."""
    for _ in range(100_000):
        answer = condition()
        if await answer if isinstance(answer, Awaitable) else answer:
            return
        await asyncio.sleep(0)
    raise AssertionError("that never came")


class HastyClock(ManualClock):
    """A clock that moves as fast as anybody sleeps."""

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)


@pytest.fixture
async def log() -> AsyncIterator[MemoryLog]:
    log = MemoryLog(SystemClock())
    yield log
    await log.close()


@pytest.fixture
async def service(log: MemoryLog) -> AsyncIterator[Service]:
    service = Service(log)
    await service.open()
    yield service
    await service.close()


@pytest.fixture(params=["local", "http"])
async def client(request: pytest.FixtureRequest, service: Service) -> AsyncIterator[Client]:
    """A client of the service in this process, and one over its native door."""
    if request.param == "local":
        yield LocalClient(service)
        return
    door = NativeDoor(service)
    server = Server(lambda asked: door.handle(asked, Scope()), "127.0.0.1", 0)
    await server.start()
    client = HttpClient(f"http://127.0.0.1:{server.port}")
    try:
        yield client
    finally:
        await client.close()
        await server.stop()


async def operate(service: Service, operation: str, **members: str) -> None:
    """``await operate(service, "SplitShard", StreamName=…)``: what an operator does to a stream meanwhile."""
    request = protocol("kinesis").decode(operation, "application/x-amz-json-1.1", msgspec.json.encode(members))
    await service.call(operation, request, Scope())
