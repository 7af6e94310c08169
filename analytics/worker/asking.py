"""Questions to processes: one that has answered stays for a while, since the next question is often near."""

from __future__ import annotations

import asyncio

from analytics.worker.child import Child, ProcessEnded
from analytics.worker.messages import Event, Question
from streams.core.clock import Clock

PROCESSES_MAX = 2
"""Processes that answer at once: each takes a core while it does."""
ANSWER_S = 60.0
"""How long an answer may take: a program of 100 KB takes seconds."""
IDLE_S = 30.0
"""How long a process waits for another question."""


class Questions:
    """`ask`, and `close` in the end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slots = asyncio.Semaphore(PROCESSES_MAX)
        self._idle: dict[Child, asyncio.Task[None]] = {}

    async def ask(self, question: Question) -> Event:
        """Raises `ProcessEnded`, also where there is no answer in time, and `OSError` where no process can be started."""
        async with self._slots:
            child = await self._take()
            try:
                async with asyncio.timeout(ANSWER_S):
                    await child.send(question)
                    answer = await child.receive()
                if answer is None:
                    raise ProcessEnded("the process ended without an answer")
            except TimeoutError:
                await child.kill()
                raise ProcessEnded(f"there was no answer within {ANSWER_S:g} seconds") from None
            except BaseException:
                await child.kill()
                raise
            self._idle[child] = asyncio.create_task(self._retire(child), name="a process of questions waits")
            return answer

    async def close(self) -> None:
        """Ends the processes that wait; questions that are open end by themselves."""
        idle, self._idle = self._idle, {}
        for child, waiting in idle.items():
            waiting.cancel()
            await child.kill()

    async def _take(self) -> Child:
        while self._idle:
            child, waiting = self._idle.popitem()
            waiting.cancel()
            if child.alive:
                return child
            await child.kill()
        return await Child.start("questions")

    async def _retire(self, child: Child) -> None:
        await self._clock.sleep(IDLE_S)
        if self._idle.pop(child, None) is not None:
            await child.kill()
