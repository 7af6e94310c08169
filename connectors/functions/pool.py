"""Functions by name, each with a pool of warm processes.

A function is trusted code: its process has this user's rights, files and network. What the process boundary gives is
that a function that hangs, crashes or eats memory takes nothing else with it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from connectors.functions.environment import Environment
from connectors.functions.errors import FunctionRaised, FunctionUnknown

PROCESSES_MAX = max(2, os.cpu_count() or 2)
"""Processes of one function: more than there are cores only wait for each other."""


class FunctionPool:
    """The processes of one function: started when needed, the last used first, so that few stay warm."""

    def __init__(self, name: str, reference: str, *, timeout_s: float, processes_max: int = PROCESSES_MAX) -> None:
        self._name = name
        self._reference = reference
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(processes_max)
        self._idle: list[Environment] = []

    async def invoke(self, event: bytes) -> bytes:
        """JSON in, JSON out. Raises a `FunctionError`."""
        async with self._slots:
            if self._idle:
                environment = self._idle.pop()
            else:
                environment = await Environment.start(self._name, self._reference, self._timeout_s)
            try:
                answer = await environment.call(event)
            except FunctionRaised:
                self._idle.append(environment)
                raise
            except BaseException:
                await environment.kill()
                raise
            self._idle.append(environment)
            return answer

    async def close(self) -> None:
        """Kills the idle processes; calls that are under way must have been cancelled before."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(environment.kill() for environment in idle))


class Functions:
    """Every configured function: name → ``package.module:function`` or ``path/file.py:function``."""

    def __init__(self, references: Mapping[str, str], *, timeout_s: float) -> None:
        self._references = dict(references)
        self._timeout_s = timeout_s
        self._pools: dict[str, FunctionPool] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._references

    async def invoke(self, name: str, event: bytes) -> bytes:
        """Raises a `FunctionError`."""
        if name not in self._references:
            raise FunctionUnknown(f"function {name} is not among the configured functions")
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = FunctionPool(name, self._references[name], timeout_s=self._timeout_s)
        return await pool.invoke(event)

    async def close(self) -> None:
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))
        self._pools.clear()
