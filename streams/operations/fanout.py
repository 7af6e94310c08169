"""Enhanced fan-out's register: who is subscribed to what, what wakes them, and the events that they share.

One watch a shard waits on the log for all of its subscriptions. Those that stand at the same position are given the same
event: it is read and built once, and so is what somebody has encoded.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from streams.core.errors import ResourceInUse

TAKEOVER_MS = 5_000
"""A subscription may be taken over by a second one of the same consumer and shard when it is this old: AWS's."""

EVENTS_SIZE_MAX = 32 << 20
"""Bytes of records in the events that are kept for others to share; with their encodings they take some four times that."""

EVENTS_MAX = 1024
"""Events that are kept, however small: at the tip, the newest of each shard."""

SHARED_MS = 1_000
"""How long an event may be shared: so old may its MillisBehindLatest be."""


class Event:
    """A SubscribeToShardEvent.

    `reply` is what it says, `next` the offset behind it, `size` the bytes of its records; `encoded` is room for whoever encodes it to keep the result, by
    content type.
    """

    __slots__ = ("encoded", "made_ms", "next", "reply", "size")

    def __init__(self, reply: dict[str, Any], following: int, made_ms: int, size: int = 0) -> None:
        self.reply = reply
        self.next = following
        self.made_ms = made_ms
        self.size = size
        self.encoded: dict[str, bytes] = {}


class Subscriber(Protocol):
    """A subscription as the register knows it: `key` is its consumer's ARN and its shard's index."""

    key: tuple[str, int]
    log: str
    began_ms: int
    wake: asyncio.Event
    superseded: bool


class Fanout:
    """`news` returns when a shard (by its name in the log) has a record at an offset, or its stream has changed; it
    answers the shard's tip then, None once the shard is gone."""

    def __init__(self, news: Callable[[str, int], Awaitable[int | None]]) -> None:
        self._news = news
        self._active: dict[tuple[str, int], Subscriber] = {}
        self._watches: dict[str, _Watch] = {}
        self._began_ms: dict[tuple[str, int], int] = {}
        self._events: OrderedDict[tuple[str, int], asyncio.Future[Event]] = OrderedDict()
        self._size = 0
        self.stopping = False

    def __len__(self) -> int:
        return len(self._active)

    def begin(self, subscriber: Subscriber, position: int, now_ms: int, *, strict: bool) -> None:
        """Takes the place of an older one. Raises `ResourceInUse` where that is too young; with `strict` also where it has
        ended by itself since, as AWS does."""
        key = subscriber.key
        old = self._active.get(key)
        if old is not None:
            began_ms = old.began_ms
        else:
            began_ms = self._began_ms.get(key, now_ms - TAKEOVER_MS) if strict else now_ms - TAKEOVER_MS
        if now_ms - began_ms < TAKEOVER_MS:
            raise ResourceInUse(
                f"Another active subscription exists for this consumer: {key[0]} and shard {subscriber.log.rpartition('/')[2]}."
                f" It can be taken over {TAKEOVER_MS // 1000} seconds after it began."
            )
        if old is not None:
            old.superseded = True
            old.wake.set()
        self._active[key] = subscriber
        if strict:
            self._began_ms = {one: at for one, at in self._began_ms.items() if now_ms - at < TAKEOVER_MS}
            self._began_ms[key] = now_ms
        watch = self._watches.get(subscriber.log)
        if watch is None:
            watch = self._watches[subscriber.log] = _Watch(self._news, subscriber.log, position)
        watch.subscribers.add(subscriber)

    def end(self, subscriber: Subscriber) -> None:
        """Ending twice does nothing."""
        if self._active.get(subscriber.key) is subscriber:
            del self._active[subscriber.key]
        watch = self._watches.get(subscriber.log)
        if watch is not None:
            watch.subscribers.discard(subscriber)
            if not watch.subscribers:
                watch.task.cancel()
                del self._watches[subscriber.log]

    def stop(self) -> None:
        """All of them end, cleanly."""
        self.stopping = True
        for subscriber in self._active.values():
            subscriber.wake.set()

    async def share(
        self, log: str, position: int, now_ms: int, make: Callable[[], Coroutine[Any, Any, Event]]
    ) -> Event:
        """The event that somebody has made for this position, or is making; else the one that `make` makes."""
        key = log, position
        shared = self._events.get(key)
        if shared is not None and shared.done() and not _fresh(shared, now_ms):
            self._forget(key)
            shared = None
        if shared is None:
            shared = self._events[key] = asyncio.ensure_future(make())
            shared.add_done_callback(self._made)
        return await asyncio.shield(shared)

    def _made(self, event: asyncio.Future[Event]) -> None:
        self._size += _size(event)
        while len(self._events) > EVENTS_MAX or (self._size > EVENTS_SIZE_MAX and len(self._events) > 1):
            self._forget(next(iter(self._events)))

    def _forget(self, key: tuple[str, int]) -> None:
        """Whoever waits for it or holds it goes on."""
        event = self._events.pop(key)
        if event.done():
            self._size -= _size(event)
        else:
            event.remove_done_callback(self._made)


class _Watch:
    """Wakes the subscribers of one shard whenever there are news of it."""

    def __init__(self, news: Callable[[str, int], Awaitable[int | None]], log: str, position: int) -> None:
        self.subscribers: set[Subscriber] = set()
        self.task = asyncio.create_task(self._run(news, log, position))

    async def _run(self, news: Callable[[str, int], Awaitable[int | None]], log: str, tip: int | None) -> None:
        try:
            while tip is not None:
                tip = await news(log, tip)
                self._wake()
        finally:
            self._wake()  # whatever ended the watch, each subscriber finds out for itself

    def _wake(self) -> None:
        for subscriber in self.subscribers:
            subscriber.wake.set()


def _size(event: asyncio.Future[Event]) -> int:
    return 0 if event.cancelled() or event.exception() is not None else event.result().size


def _fresh(shared: asyncio.Future[Event], now_ms: int) -> bool:
    if shared.cancelled() or shared.exception() is not None:
        return False
    return now_ms - shared.result().made_ms < SHARED_MS
