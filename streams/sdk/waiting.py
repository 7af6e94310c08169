"""Waiting for whichever comes first: news, or a time of the given clock."""

from __future__ import annotations

import asyncio

from streams.core.clock import Clock


async def news_within(news: asyncio.Event, clock: Clock, seconds: float | None) -> bool:
    """Whether `news` is set before `seconds` have passed; None waits without a limit."""
    if seconds is None or news.is_set():
        return await news.wait()
    told = asyncio.ensure_future(news.wait())
    elapsed = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((told, elapsed), return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
        elapsed.cancel()
    return news.is_set()
