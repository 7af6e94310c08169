"""What the benchmarks of our own ends stand on: records to put, and a service in this process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from streams.core.clock import SystemClock
from streams.core.records import Records
from streams.core.settings import Settings
from streams.log.embedded import EmbeddedLog
from streams.sdk.client import Client
from streams.sdk.local import LocalClient
from streams.service import Service

BATCHES = {100: 64 * 1024, 1024: 8 * 1024}
"""Records of a batch by their size: 6 to 8 MB, where the cost of a batch has vanished."""


def sample(count: int, size: int) -> Records:
    """`count` records of `size` random bytes under random keys."""
    source = np.random.default_rng(count)
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(size)
    data = pa.Array.from_buffers(
        pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(source.bytes(count * size))]
    )
    return Records(data, pa.array(source.integers(0, 1 << 40, count)).cast(pa.string()))


@contextlib.asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[Client]:
    """A client of a service in this process, on the embedded log with its defaults (``log_sync = "always"``)."""
    clock = SystemClock()
    log = await EmbeddedLog.open(folder, clock=clock)
    service = Service(log, clock=clock, settings=Settings(data=str(folder)))
    await service.open()
    try:
        yield LocalClient(service)
    finally:
        await service.close()
        await log.close()
