"""Waiting for whichever comes first: a record, a change of the stream, a time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from streams.core.errors import ShardUnknown
from streams.log.log import Log


async def arrival(log: Log, name: str, offset: int) -> None:
    try:
        await log.wait(name, offset)
    except ShardUnknown:
        return  # dropped: the next look at the catalog says why


async def first(*waits: Coroutine[Any, Any, Any]) -> None:
    """Returns when one of them has; the others are cancelled and gone."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()  # a log that has been closed says so
