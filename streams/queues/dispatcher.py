"""The dispatcher: gives the records of one queue to whoever waits for some, first come first served.

    receive ──▶ waiters ──▶ pump ──▶ Received, recorded ──▶ durable ──▶ answer

One task, the pump, runs while anybody waits and a little longer. It alone takes records, so that no record is taken twice
however many workers there are.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streams.control.store import Store
from streams.core.clock import Clock
from streams.core.errors import HeadraceError, RequestError, Throttling
from streams.core.waits import first
from streams.queues.events import Postponed, Restored, Settled, runs_of
from streams.queues.state import State
from streams.queues.supply import Given, Source, Supply

_logger = logging.getLogger(__name__)

WAITERS_MAX = 10_000
"""Receives that wait at a time: each holds a connection, and more workers than this are a mistake."""

LINGER_S = 1.0
"""How long the pump stays when nobody waits: workers come back in a moment, and find what was read ahead."""


class Handle(NamedTuple):
    """What a receipt handle says: which delivery of which record."""

    shard: int
    offset: int
    number: int


class Refusal(NamedTuple):
    """Why an entry failed: AWS's code, and a sentence."""

    code: str
    message: str


@dataclass(slots=True, eq=False)
class _Waiter:
    limit: int
    visibility_ms: int | None
    deadline_ms: int
    answer: asyncio.Future[list[Given]]


class Dispatcher:
    def __init__(self, store: Store[State], source: Source, clock: Clock) -> None:
        self._store = store
        self._state = store.state
        self._source = source
        self._clock = clock
        self._waiters: dict[bool, deque[_Waiter]] = {False: deque(), True: deque()}
        self._supply = Supply(store, source, clock)
        self._kick = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def moved(self) -> bool:
        """Whether another process has opened the queue since: this one can do nothing more."""
        return self._store.moved

    async def receive(self, limit: int, wait_ms: int, visibility_ms: int | None, dead: bool) -> list[Given]:
        """Up to `limit` records, of the dead letters if `dead`, in flight for so long (None: as the queue says); none if
        none became visible for `wait_ms`. That they were received is durable when it returns.

        Raises `Throttling` where too many wait already, `LogError`.
        """
        if self._stopped:
            return []
        if len(self._waiters[dead]) >= WAITERS_MAX:
            raise Throttling(f"{WAITERS_MAX} receives are waiting at this queue, the most at a time.")
        answer: asyncio.Future[list[Given]] = asyncio.get_running_loop().create_future()
        self._waiters[dead].append(_Waiter(limit, visibility_ms, self._clock.now_ms() + wait_ms, answer))
        self._kick.set()
        if self._pump is None:
            self._pump = asyncio.create_task(self._run())
        given = await answer
        if given:
            await self._store.durable()
        return given

    async def acknowledge(self, handles: Sequence[Handle], dead: bool) -> list[Refusal | None]:
        """Why not, for each; None where it is settled, which is durable when this returns. A record that is settled
        already stays so, whichever delivery is acknowledged."""
        answers = [self._check(handle, dead, settled_is_fine=True) for handle in handles]
        places = self._places(handles, answers)
        if places:
            self._store.record(Settled(runs_of(places)))
            if self._supply.full:
                self._kick.set()
            await self._store.durable()
        return answers

    async def postpone(
        self, handles: Sequence[Handle], visibility_ms: Sequence[int], dead: bool
    ) -> list[Refusal | None]:
        """In flight for so long from now; visible now where that is 0."""
        answers = [self._check(handle, dead) for handle in handles]
        now_ms = self._clock.now_ms()
        for handle, for_ms, answer in zip(handles, visibility_ms, answers, strict=True):
            if answer is None:
                self._store.record(Postponed([(handle.shard, handle.offset, 1)], now_ms + for_ms))
        if None in answers:
            self._kick.set()
            await self._store.durable()
        return answers

    async def restore(self, handles: Sequence[Handle]) -> list[Refusal | None]:
        """Dead letters become records like others, never received."""
        answers = [self._check(handle, dead=True) for handle in handles]
        places = self._places(handles, answers)
        if places:
            self._store.record(Restored(runs_of(places), self._clock.now_ms()))
            self._kick.set()
            await self._store.durable()
        return answers

    def end_waits(self) -> None:
        """Whoever waits is answered, with nothing, and so is whoever comes."""
        self._stopped = True
        self._answer_waiters([])

    async def close(self, error: RequestError | None = None) -> None:
        """Whoever waits gets `error`, or nothing. What was recorded is durable when it returns."""
        self._stopped = True
        self._answer_waiters(error or [])
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
        await self._store.close()

    def _check(self, handle: Handle, dead: bool, settled_is_fine: bool = False) -> Refusal | None:
        delivery = self._state.find(handle.shard, handle.offset)
        if delivery is None:
            if settled_is_fine and handle.offset < self._state.cursor(handle.shard):
                return None
            return Refusal(
                "ResourceNotFoundException", "The record was acknowledged, or has reached the end of its retention."
            )
        if delivery.dead and not dead:
            return Refusal("InvalidArgumentException", "The record has become a dead-letter record.")
        if not delivery.dead and dead:
            return Refusal("InvalidArgumentException", "The record is not a dead-letter record.")
        if delivery.number != handle.number:
            return Refusal(
                "InvalidArgumentException",
                "The receipt handle is no longer valid: the record became visible and was received again.",
            )
        return None

    @staticmethod
    def _places(handles: Sequence[Handle], answers: Sequence[Refusal | None]) -> list[tuple[int, int]]:
        return sorted({(one.shard, one.offset) for one, answer in zip(handles, answers, strict=True) if answer is None})

    async def _run(self) -> None:
        try:
            while True:
                self._kick.clear()
                await self._serve(True)
                await self._serve(False)
                if any(self._waiters.values()):
                    await self._news()
                else:
                    await first(self._kick.wait(), self._clock.sleep(LINGER_S))
                    if not any(self._waiters.values()) and not self._kick.is_set():
                        break
        except Exception as error:
            self._answer_waiters(error)
            if not isinstance(error, HeadraceError):
                _logger.exception("a queue's dispatcher")
        finally:
            self._supply.forget()
            if self._pump is asyncio.current_task():
                self._pump = None

    async def _serve(self, dead: bool) -> None:
        """Answers in order, as far as records are there; and whoever has waited long enough."""
        lane = self._waiters[dead]
        while lane:
            waiter = lane[0]
            if waiter.answer.done():
                lane.popleft()
                continue
            taken, rows = await self._supply.take(waiter.limit, dead)
            if waiter.answer.done():
                self._supply.give_back(taken)
                continue
            if not rows:
                break
            lane.popleft()
            waiter.answer.set_result(self._supply.give(rows, waiter.visibility_ms))
        now_ms = self._clock.now_ms()
        for waiter in lane:
            if waiter.deadline_ms <= now_ms and not waiter.answer.done():
                waiter.answer.set_result([])
        if lane and any(waiter.answer.done() for waiter in lane):
            self._waiters[dead] = deque(waiter for waiter in lane if not waiter.answer.done())

    async def _news(self) -> None:
        """Waits until it may be worth to look again."""
        times = [waiter.deadline_ms for lane in self._waiters.values() for waiter in lane]
        due_ms = self._state.next_due_ms()
        if due_ms is not None:
            times.append(due_ms)
        waits = [self._kick.wait(), self._clock.sleep(max(0, min(times) - self._clock.now_ms()) / 1000)]
        if self._waiters[False] and not self._supply.full:
            waits.append(self._source.change())
            for shard in self._source.shards():
                cursor = self._state.cursor(shard.index)
                if shard.end is None or cursor < shard.end:
                    waits.append(self._source.arrival(shard, cursor))
        await first(*waits)

    def _answer_waiters(self, answer: list[Given] | Exception) -> None:
        for lane in self._waiters.values():
            for waiter in lane:
                if waiter.answer.done():
                    continue
                if isinstance(answer, Exception):
                    waiter.answer.set_exception(answer)
                else:
                    waiter.answer.set_result(answer)
            lane.clear()
