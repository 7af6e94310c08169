"""The real service over the in-memory log, and a server on a free port: one set of tests for both seams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
from streams.log.memory import MemoryLog

from streams.core.clock import ManualClock, SystemClock
from streams.core.scope import Scope
from streams.sdk.client import Client
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


@pytest.fixture
async def client(service: Service) -> Client:
    return LocalClient(service)


async def operate(service: Service, operation: str, **members: str) -> None:
    """``await operate(service, "SplitShard", StreamName=…)``: what an operator does to a stream meanwhile."""
    request = protocol("kinesis").decode(operation, "application/x-amz-json-1.1", msgspec.json.encode(members))
    await service.call(operation, request, Scope())
