"""The environments of one function: started when needed, the last used first, so that few stay warm.

A function is trusted code: its process has this user's rights, files and network. What the process boundary gives is
that a function that hangs, crashes or eats memory takes nothing else with it.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import uuid
from pathlib import Path

from connectors.functions.environment import Environment, Outcome
from connectors.functions.errors import FunctionError, FunctionTimedOut, PayloadTooLarge, TooManyCalls
from connectors.functions.function import Function
from connectors.functions.output import LogFile

EVENT_SIZE_MAX = 6 << 20
"""Lambda's limit for an event, bytes."""

ENVIRONMENTS_MAX = max(4, 2 * (os.cpu_count() or 2))
"""Environments of one function: functions compute, or wait for others; more processes than this only wait for cores."""

WAITING_MAX = 1000
"""Calls of one function that wait for an environment, Lambda's own number of calls at once; one more is refused."""

IDLE_S = 300.0
"""How long an environment stays warm without a call."""

INIT_TIMEOUT_S = 10.0
"""How long a function may take to be imported before its first call's time begins, as on Lambda."""


class FunctionPool:
    """`scratch` is the folder of the environments' temporary directories, one of the system's without one; `file` is their
    log."""

    def __init__(
        self,
        function: Function,
        *,
        scratch: Path | None = None,
        file: LogFile | None = None,
        environments_max: int = ENVIRONMENTS_MAX,
        init_timeout_s: float = INIT_TIMEOUT_S,
    ) -> None:
        self.function = function
        self._scratch = scratch or Path(tempfile.gettempdir()) / "headrace-functions"
        self._file = file
        self._environments_max = environments_max
        self._init_timeout_s = init_timeout_s
        self._slots = asyncio.Semaphore(environments_max)
        self._calls = 0
        self._idle: list[Environment] = []
        self._reaper: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._busy: set[Environment] = set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._retired = False
        self._closed = False

    async def call(self, event: bytes, *, request_id: str = "", client_context: str = "") -> Outcome:
        """Raises `PayloadTooLarge`, `TooManyCalls`; whatever the function does is the outcome's fault.

        Times are those of the machine, not of a `Clock`: they bound real work."""
        function = self.function
        if len(event) > EVENT_SIZE_MAX:
            raise PayloadTooLarge(
                f"function {function.name}: the event has {len(event)} bytes, the limit is {EVENT_SIZE_MAX}"
            )
        if self._calls >= WAITING_MAX + self._environments_max:
            raise TooManyCalls(f"function {function.name}: {WAITING_MAX} calls wait already")
        self._calls += 1
        self._quiet.clear()
        try:
            async with self._slots:
                return await self._run(event, request_id or str(uuid.uuid4()), client_context)
        finally:
            self._calls -= 1
            if not self._calls:
                self._quiet.set()

    async def invoke(self, event: bytes) -> bytes:
        """JSON in, JSON out. Raises a `FunctionError`."""
        outcome = await self.call(event)
        if outcome.fault is not None:
            raise outcome.fault
        return outcome.answer

    async def retire(self) -> None:
        """Kills the idle environments; returns when the calls under way have ended, and their environments with them."""
        self._retired = True
        if self._reaper is not None:
            self._reaper.cancel()
        idle, self._idle = self._idle, []
        await asyncio.gather(*(environment.kill() for environment in idle), *self._ending)
        await self._quiet.wait()
        if self._file is not None:
            self._file.close()

    async def close(self) -> None:
        """Kills every environment: calls under way fail."""
        self._closed = True
        for environment in self._busy:
            environment.interrupt()
        await self.retire()

    async def _run(self, event: bytes, request_id: str, client_context: str) -> Outcome:
        timeout_s = self.function.timeout_s
        try:
            environment = self._warm()
            if environment is None:
                environment, timeout_s = await self._started(timeout_s)
        except FunctionError as error:
            return Outcome(b"", error)
        self._busy.add(environment)
        if self._closed:
            environment.interrupt()
        try:
            outcome = await environment.call(request_id, event, timeout_s, client_context)
        except BaseException:
            await environment.kill()
            raise
        finally:
            self._busy.discard(environment)
        if environment.dead or self._retired:
            await environment.kill()
        else:
            environment.idle_since = time.monotonic()
            self._idle.append(environment)
            self._reap_later()
        return outcome

    def _warm(self) -> Environment | None:
        while self._idle:
            environment = self._idle.pop()
            if not environment.dead:
                return environment
            self._end(environment)
        return None

    async def _started(self, timeout_s: float) -> tuple[Environment, float]:
        """A new environment, and what is left of the call's time. Importing that takes too long is begun again, within
        the call's time, as on Lambda."""
        function = self.function
        try:
            return await Environment.start(function, self._scratch, self._file, self._init_timeout_s), timeout_s
        except FunctionTimedOut:
            began = time.monotonic()
            environment = await Environment.start(function, self._scratch, self._file, timeout_s)
            return environment, max(0.0, timeout_s - (time.monotonic() - began))

    # Environments that are not needed ---------------------------------------------------------------------------------

    def _reap_later(self) -> None:
        if self._reaper is None:
            self._reaper = asyncio.get_running_loop().call_later(IDLE_S, self._reap)

    def _reap(self) -> None:
        self._reaper = None
        before = time.monotonic() - IDLE_S
        for environment in [one for one in self._idle if one.dead or one.idle_since <= before]:
            self._idle.remove(environment)
            self._end(environment)
        if self._idle:
            self._reap_later()

    def _end(self, environment: Environment) -> None:
        task = asyncio.create_task(environment.kill(), name=f"end of function {self.function.name}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
