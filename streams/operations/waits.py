"""Waiting for a record."""

from __future__ import annotations

from streams.core.errors import ShardUnknown
from streams.log.log import Log


async def arrival(log: Log, name: str, offset: int) -> None:
    try:
        await log.wait(name, offset)
    except ShardUnknown:
        return  # dropped: the next look at the catalog says why
