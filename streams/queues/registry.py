"""The queues at work: one dispatcher for each that is in use, opened when it is first asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Container

from streams.control.queue import Queue
from streams.control.store import Store
from streams.core.clock import Clock
from streams.core.errors import RequestError, ResourceNotFound, ServiceUnavailable
from streams.core.work import ALONE, Work, part_of, queue_item
from streams.log.log import Log
from streams.queues.dispatcher import Dispatcher
from streams.queues.events import Lost, decode_event, decode_snapshot, encode
from streams.queues.state import State
from streams.queues.supply import Source

ELSEWHERE = "This queue is another process's, or it takes it over just now."


class Queues:
    """Where processes share the log, of the queues whose parts are this one's."""

    def __init__(self, log: Log, clock: Clock, work: Work = ALONE) -> None:
        self._log = log
        self._clock = clock
        self._work = work
        self._dispatchers: dict[str, asyncio.Task[Dispatcher]] = {}
        self._stopped = False

    async def dispatcher(self, queue: Queue, source: Callable[[], Source]) -> Dispatcher:
        """The queue's only one. Raises `ServiceUnavailable` where it is another process's, `LogError` where its journal cannot
        be read."""
        if not self._work.mine(part_of(queue_item(queue.id))):
            raise ServiceUnavailable(ELSEWHERE)
        task = self._dispatchers.get(queue.id)
        if task is not None and task.done() and not task.cancelled() and not task.exception() and task.result().moved:
            del self._dispatchers[queue.id]
            await _close(task, ServiceUnavailable(ELSEWHERE))
            task = self._dispatchers.get(queue.id)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._dispatchers[queue.id] = asyncio.create_task(self._open(queue, source()))
        return await asyncio.shield(task)

    def stop(self) -> None:
        """Whoever waits at a queue is answered, with nothing, and so is whoever comes."""
        self._stopped = True
        for task in self._dispatchers.values():
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().end_waits()

    async def delete(self, queue: Queue) -> None:
        """It delivers no more: whoever waits at it gets `ResourceNotFound`."""
        task = self._dispatchers.pop(queue.id, None)
        if task is not None:
            await _close(task, ResourceNotFound(f"Queue {queue.arn} not found."))

    async def keep(self, there: Container[str]) -> None:
        """Only those of `there`, by id."""
        for queue_id in [one for one in self._dispatchers if one not in there]:
            await _close(self._dispatchers.pop(queue_id), ResourceNotFound("The queue was deleted."))

    async def release(self, parts: Collection[int]) -> None:
        """Whoever waits at a queue of these parts is told to ask again; they are others' when it returns."""
        for queue_id in [one for one in self._dispatchers if part_of(queue_item(one)) in parts]:
            await _close(self._dispatchers.pop(queue_id), ServiceUnavailable(ELSEWHERE))

    async def close(self) -> None:
        self.stop()
        while self._dispatchers:
            _, task = self._dispatchers.popitem()
            await _close(task)

    async def _open(self, queue: Queue, source: Source) -> Dispatcher:
        store = await Store.open(
            self._log,
            queue.log,
            fresh=lambda: State(queue.starts),
            restored=lambda data: State.restored(decode_snapshot(data)),
            decode=decode_event,
            encode=encode,
        )
        for shard in source.shards():
            end, cursor = await source.tip(shard), store.state.cursor(shard.index)
            if cursor > end:
                store.record(Lost([(shard.index, end, cursor - end)]))
        dispatcher = Dispatcher(store, source, self._clock)
        if self._stopped:
            dispatcher.end_waits()
        return dispatcher


async def _close(task: asyncio.Task[Dispatcher], error: RequestError | None = None) -> None:
    (dispatcher,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(dispatcher, Dispatcher):
        await dispatcher.close(error)
