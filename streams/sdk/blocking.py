"""The blocking faces of client, producer and consumer, for programs without an event loop.

Nothing is written twice: a method here waits, from any thread, for the method of the same name, which runs in an event
loop in a background thread that belongs to the client.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

import pyarrow as pa

from streams.core.records import Batch
from streams.sdk.client import TRIM_HORIZON, Client, Start
from streams.sdk.consumer import Consumer
from streams.sdk.delivery import Sent, Ticket
from streams.sdk.group import GroupConsumer
from streams.sdk.metrics import ProducerMetrics
from streams.sdk.producer import Producer
from streams.sdk.tables import read_table

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")


class LoopThread:
    """An event loop in a thread of its own. A daemon: a program that forgets to close it still ends."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="headrace client", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """What the coroutine returns or raises. Interrupting the wait (Ctrl-C) cancels it."""
        if self.loop.is_closed():
            coroutine.close()
            raise RuntimeError("the client is closed")
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Cancels what still runs in the loop, and ends the thread."""
        if not self.loop.is_closed():
            self.run(self._cancel_all())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.loop.shutdown_asyncgens()
        await self.loop.shutdown_default_executor()


class Face(Generic[A]):
    """A blocking face of `behind`, which lives in the loop of `thread`."""

    def __init__(self, behind: A, thread: LoopThread) -> None:
        self._behind = behind
        self._thread = thread

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()

    def close(self) -> None:
        raise NotImplementedError


def _waits(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> Callable[Concatenate[Face[Any], P], R]:
    """A method that waits for the one of the same name behind the face."""

    @functools.wraps(method)
    def call(self: Face[Any], /, *arguments: P.args, **options: P.kwargs) -> R:
        return self._thread.run(getattr(self._behind, method.__name__)(*arguments, **options))

    return call


class BlockingTicket(Face[Ticket]):
    """What `BlockingProducer.put` gives."""

    def result(self) -> Sent:
        """Where the record is, once it is durable; raises what kept it from getting there."""

        async def sent() -> Sent:
            return await self._behind

        return self._thread.run(sent())


class BlockingProducer(Face[Producer]):
    """A `Producer` for threads. One `put` costs a hop between threads; `put_many` and `put_batch` one for all."""

    put_batch = _waits(Producer.put_batch)
    flush = _waits(Producer.flush)
    close = _waits(Producer.close)

    @property
    def metrics(self) -> ProducerMetrics:
        """See `Producer.metrics`."""
        return self._behind.metrics

    def put(
        self, data: bytes | str, partition_key: str | None = None, explicit_hash_key: int | str | None = None
    ) -> BlockingTicket:
        ticket = self._thread.run(self._behind.put(data, partition_key, explicit_hash_key))
        return BlockingTicket(ticket, self._thread)

    def put_many(self, records: Iterable[tuple[str | None, bytes | str]]) -> list[BlockingTicket]:
        tickets = self._thread.run(self._behind.put_many(records))
        return [BlockingTicket(ticket, self._thread) for ticket in tickets]


class BlockingConsumer(Face[Consumer]):
    """A `Consumer` as an iterator."""

    checkpoint = _waits(Consumer.checkpoint)
    close = _waits(Consumer.close)

    @property
    def positions(self) -> dict[str, int]:
        return self._behind.positions

    def stop(self) -> None:
        """The iteration ends before its next batch. May be called from any thread."""
        self._thread.loop.call_soon_threadsafe(self._behind.stop)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        return _next(self._behind, self._thread)


class BlockingGroupConsumer(Face[GroupConsumer]):
    """A `GroupConsumer` as an iterator."""

    commit = _waits(GroupConsumer.commit)
    put = _waits(GroupConsumer.put)
    close = _waits(GroupConsumer.close)

    @property
    def member(self) -> str:
        return self._behind.member

    @property
    def shards(self) -> list[str]:
        return self._behind.shards

    def stop(self) -> None:
        """The iteration ends before its next batch. May be called from any thread."""
        self._thread.loop.call_soon_threadsafe(self._behind.stop)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        return _next(self._behind, self._thread)


class BlockingClient(Face[Client]):
    """A `Client` whose methods block. It opens, and closes, what it talks to."""

    create_stream = _waits(Client.create_stream)
    delete_stream = _waits(Client.delete_stream)
    list_streams = _waits(Client.list_streams)
    describe_stream = _waits(Client.describe_stream)
    put = _waits(Client.put)
    find = _waits(Client.find)
    fetch = _waits(Client.fetch)
    load_checkpoint = _waits(Client.load_checkpoint)
    save_checkpoint = _waits(Client.save_checkpoint)
    forget_group = _waits(Client.forget_group)
    describe_groups = _waits(Client.describe_groups)

    def __init__(self, opening: AbstractAsyncContextManager[Client]) -> None:
        thread = LoopThread()
        try:
            super().__init__(thread.run(_enter(opening)), thread)
        except BaseException:
            thread.stop()
            raise
        self._opening = opening

    def producer(self, stream: str, **options: Any) -> BlockingProducer:
        """A `Producer` with these options."""
        return BlockingProducer(Producer(self._behind, stream, **options), self._thread)

    def consumer(self, stream: str, **options: Any) -> BlockingConsumer:
        """A `Consumer` with these options."""
        return BlockingConsumer(Consumer(self._behind, stream, **options), self._thread)

    def group_consumer(self, stream: str, group: str, **options: Any) -> BlockingGroupConsumer:
        """A `GroupConsumer` with these options."""
        return BlockingGroupConsumer(GroupConsumer(self._behind, stream, group, **options), self._thread)

    def read_table(self, stream: str, *, start: Start = TRIM_HORIZON, limit: int | None = None) -> pa.Table:
        """See `streams.sdk.tables.read_table`."""
        return self._thread.run(read_table(self._behind, stream, start=start, limit=limit))

    def close(self) -> None:
        """Producers and consumers of this client must be closed before. Closing twice does nothing."""
        if not self._thread.loop.is_closed():
            try:
                self._thread.run(_leave(self._opening))
            finally:
                self._thread.stop()


def _next(behind: Consumer | GroupConsumer, thread: LoopThread) -> Batch:
    async def after() -> Batch | None:
        return await anext(behind, None)

    batch = thread.run(after())
    if batch is None:
        raise StopIteration
    return batch


async def _enter(opening: AbstractAsyncContextManager[Client]) -> Client:
    return await opening.__aenter__()


async def _leave(opening: AbstractAsyncContextManager[Client]) -> None:
    await opening.__aexit__(None, None, None)
