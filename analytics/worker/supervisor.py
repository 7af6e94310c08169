"""Who keeps an application at work: its process is started, and started again when it ends by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from analytics.worker.child import Child
from analytics.worker.messages import (
    Advanced,
    Event,
    Failed,
    Keep,
    Kept,
    Read,
    ReadDone,
    Run,
    Running,
    Seen,
    SetClock,
    Stop,
    Watch,
)
from streams.core.clock import Clock
from streams.core.errors import HeadraceError, InvalidArgument, ServiceUnavailable

log = logging.getLogger("headrace.applications")

PAUSE_S_FIRST = 0.5
"""Before the first restart: most of what ends a process is over at once."""
PAUSE_S_MAX = 60.0
"""How late an application may come back after what stopped it is over."""
STEADY_MS = 60_000
"""A process that lived so long did not end because of how it began: pauses start over."""
STOP_S = 20.0
"""How long a micro-batch may take to end when the application stops; what is not committed then is done again."""
READ_S = 60.0
"""How long tables may take to be written: a gigabyte takes a few seconds."""
SEEN_MAX = 64
"""Pieces of rows that are kept for watchers: one who is slower misses some."""
WATCHED_MS = 30_000
"""How long after somebody asked for rows an application goes on to show them."""


@dataclass(slots=True)
class Health:
    """How an application is. `error` is why its process ended last, None once it has done something since."""

    phase: str = "starting"
    error: str | None = None
    restarts: int = 0
    pid: int | None = None
    records: int = 0
    rows: int = 0
    faulty: int = 0
    behind: int = 0
    frontier_ms: int | None = None
    streams: dict[str, list[str]] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What queries see, by name: kind, and types of columns by name."""


class Handover(Protocol):
    """What other processes go on with: the state of an application, as it was last kept."""

    async def recall(self) -> None:
        """The state is here."""
        ...

    async def keep(self) -> None:
        """The state is where others find it. Raises `HeadraceError` where this process is not to have the application any
        more."""
        ...


class Supervisor:
    """One application. `specify` gives what is to run, anew for each process. Before the first one the state is recalled by
    `handover`, where there is one, which then keeps it. `phase` of its health is *starting* until its
    first process runs or has failed, then *running*, and *waiting* before a restart."""

    def __init__(self, name: str, specify: Callable[[], Run], clock: Clock, handover: Handover | None = None) -> None:
        self._name = name
        self._specify = specify
        self._clock = clock
        self._handover = handover
        self._recalled = handover is None
        self._child: Child | None = None
        self._stopping = asyncio.Event()
        self._renewing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._seen: deque[Seen] = deque(maxlen=SEEN_MAX)
        self._seen_count = 0
        self._something = asyncio.Event()
        self._watched = False
        self._watched_until_ms = 0
        self._reads: dict[int, asyncio.Future[ReadDone]] = {}
        self._read_count = 0
        self.health = Health()

    def start(self) -> None:
        self._task = asyncio.create_task(self._supervise(), name=f"application {self._name}")

    async def stop(self, drain_s: float = STOP_S) -> None:
        """Returns when the process is gone: after the micro-batch at hand, or after `drain_s`."""
        self._stopping.set()
        task = self._task
        if task is None:
            return
        if self._child is not None:
            await self._child.send(Stop())
            await asyncio.wait({task}, timeout=drain_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def renew(self) -> None:
        """Something of what is specified is different: the process ends as in `stop`, and another begins."""
        self.health.phase = "updating"
        self._renewing.set()
        if self._child is not None:
            self._ending = asyncio.create_task(self._end(self._child), name=f"application {self._name} is renewed")

    async def set_clock(self, ahead_ms: int) -> None:
        """Its clock is so far ahead of the machine's from now on; `specify` says it to the processes to come."""
        if self._child is not None:
            await self._child.send(SetClock(ahead_ms))

    async def _end(self, child: Child) -> None:
        await child.send(Stop())
        await self._clock.sleep(STOP_S)
        if child is self._child:
            await child.kill()

    async def seen(self, after: int | None, wait_ms: int) -> tuple[int, list[Seen]]:
        """Rows of in-application streams as they are made, without any promise: those after the number `after` (None: from
        now on), and the number to ask with the next time. Waits up to `wait_ms` for the first."""
        self._watched_until_ms = self._clock.now_ms() + WATCHED_MS
        if not self._watched and self._child is not None:
            self._watched = True
            await self._child.send(Watch(True))
        if after is None or after > self._seen_count:
            return self._seen_count, []
        if after == self._seen_count:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._something.wait(), wait_ms / 1000)
        kept = min(self._seen_count - after, len(self._seen))
        return self._seen_count, list(self._seen)[len(self._seen) - kept :]

    async def read(self, tables: dict[str, list[str] | None], path: str) -> None:
        """Tables of the application, as they are after one commit, into a file: an Arrow stream each, in their order. Raises
        `InvalidArgument` for names that are none, `ServiceUnavailable` where it is not at work."""
        child = self._child
        if child is None or self.health.phase != "running":
            raise ServiceUnavailable(f"Application {self._name} is not at work: {self.health.phase}.")
        self._read_count += 1
        number, answer = self._read_count, asyncio.get_running_loop().create_future()
        self._reads[number] = answer
        try:
            await child.send(Read(number, tables, path))
            done = await asyncio.wait_for(answer, READ_S)
        except TimeoutError:
            raise ServiceUnavailable(f"Application {self._name} did not answer within {READ_S:g} seconds.") from None
        finally:
            self._reads.pop(number, None)
        if done.error is not None:
            raise InvalidArgument(done.error)

    async def _supervise(self) -> None:
        pause_s = PAUSE_S_FIRST
        while not self._stopping.is_set():
            began_ms = self._clock.now_ms()
            try:
                await self._run()
            except (HeadraceError, OSError) as error:
                text = error.message if isinstance(error, HeadraceError) else f"no process can be started: {error}"
                self.health.error = text
            except Exception as error:
                # Whatever it is, it must not leave an application that nobody starts again.
                log.exception("application %s: the server failed to attend to it", self._name)
                self.health.error = f"the server failed to attend to it: {error!r}"
            if self._stopping.is_set():
                return
            if self._renewing.is_set():
                continue
            if self._clock.now_ms() - began_ms > STEADY_MS:
                pause_s = PAUSE_S_FIRST
            self.health.phase, self.health.pid = "waiting", None
            self.health.restarts += 1
            log.warning("application %s starts again in %g s: %s", self._name, pause_s, self.health.error)
            await self._pause(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    async def _pause(self, seconds: float) -> None:
        """Or until there is something new to run."""
        waits = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.create_task(self._renewing.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _run(self) -> None:
        self._renewing.clear()
        if self._handover is not None and not self._recalled:
            await self._handover.recall()
            self._recalled = True
        child = self._child = await Child.start(self._name)
        try:
            self.health.pid = child.pid
            await child.send(self._specify())
            self._watched = self._clock.now_ms() < self._watched_until_ms
            if self._watched:
                await child.send(Watch(True))
            if self._stopping.is_set():
                await child.send(Stop())
            while (event := await child.receive()) is not None:
                self._hear(event)
                if isinstance(event, Keep):
                    assert self._handover is not None, "it was told that its state is kept"
                    await self._handover.keep()
                    await child.send(Kept())
                if self._watched and self._clock.now_ms() >= self._watched_until_ms:
                    self._watched = False
                    await child.send(Watch(False))
        finally:
            self._child = None
            for answer in self._reads.values():
                if not answer.done():
                    answer.set_exception(ServiceUnavailable(f"The process of application {self._name} has ended."))
            if self._ending is not None:
                self._ending.cancel()
            await child.kill()

    def _hear(self, event: Event) -> None:
        health = self.health
        match event:
            case Running():
                health.phase, health.streams = "running", event.streams
                health.tables = {name: {"kind": s.kind, "columns": s.columns} for name, s in event.tables.items()}
            case Advanced():
                health.error = None
                health.records += event.records
                health.rows += event.rows
                health.faulty += event.faulty
                health.behind, health.frontier_ms = event.behind, event.frontier_ms
            case Seen():
                self._seen.append(event)
                self._seen_count += 1
                self._something.set()
                self._something = asyncio.Event()
            case ReadDone():
                answer = self._reads.get(event.id)
                if answer is not None and not answer.done():
                    answer.set_result(event)
            case Failed():
                health.error = event.text
