"""Work in threads: what must have ended before anybody else begins it, and what waits for the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

T = TypeVar("T")

_readers = ThreadPoolExecutor(4, "manifests")
"""Threads that wait for what the event loop does. It does some of that in the usual threads: these must not fill them."""


async def to_its_end(work: Callable[..., T], *arguments: object) -> T:
    """Runs `work` in a thread, and waits for the thread even where the caller is cancelled: whoever goes on afterwards works
    on the same files."""
    thread = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        raise


async def beside(work: Callable[..., T], *arguments: object) -> T:
    """Runs `work`, which waits for the event loop now and then, in a thread."""
    return await asyncio.get_running_loop().run_in_executor(_readers, partial(work, *arguments))
