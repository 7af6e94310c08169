"""The server's end of one process (`analytics.worker.process`): started, spoken to, ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from typing import Self

from analytics.worker.messages import FRAME_SIZE_MAX, HEADER, Command, Event, decode_event, frame
from connectors.processes import Process, spawn
from streams.core.errors import HeadraceError

NICENESS = 5
"""Below the server: whoever puts records goes first where cores are scarce."""
LAST_WORDS_LINES = 5
"""Lines of what a process wrote last that are repeated where it ended by itself."""
LINE_SIZE_MAX = 64 << 10
"""Bytes of one line of its output."""


class ProcessEnded(HeadraceError):
    """The process ended by itself: exit, signal, out of memory."""

    retry = True


class Child:
    """`start`, then `send` and `receive`, then `kill`, which is always to be called."""

    def __init__(self, name: str, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._name = name
        self._process = process
        self._reader = reader
        self._writer = writer
        self._words: deque[str] = deque(maxlen=LAST_WORDS_LINES)
        self._logging = asyncio.create_task(self._log_output(), name=f"output of application {name}")

    @classmethod
    async def start(cls, name: str) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            process = spawn(
                [sys.executable, "-m", "analytics.worker.process", str(theirs.fileno()), str(os.getpid())],
                output=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                # Arrow's own allocators keep what they had: memory that is bounded must be given back.
                environment={**os.environ, "PYTHONUNBUFFERED": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"},
            )
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 20)
        return cls(name, process, reader, writer)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def send(self, command: Command) -> None:
        """A process that has gone takes nothing; `receive` says so."""
        self._writer.write(frame(command))
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def receive(self) -> Event | None:
        """What it says next; None where it has no more to say. Raises `ProcessEnded` where it ended badly."""
        try:
            (length,) = HEADER.unpack(await self._reader.readexactly(HEADER.size))
            if length > FRAME_SIZE_MAX:
                raise ProcessEnded(f"the process says {length} bytes at once, which is no sentence")
            return decode_event(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            status = await self._process.wait()
            if status:
                raise ProcessEnded(await self._last_words(status)) from None
            return None

    async def kill(self) -> None:
        """It is gone when this returns."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._writer.close()
        await self._process.wait()
        self._logging.cancel()
        await asyncio.gather(self._logging, return_exceptions=True)
        self._process.close()

    async def _last_words(self, status: int) -> str:
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
        await asyncio.gather(self._logging, return_exceptions=True)
        words = "; ".join(self._words)
        return f"the application's process {how}" + (f": {words}" if words else "")

    async def _log_output(self) -> None:
        output = await self._process.output(LINE_SIZE_MAX)
        logger = logging.getLogger(f"headrace.applications.{self._name}")
        while True:
            try:
                line = await output.readuntil()
            except asyncio.IncompleteReadError as error:
                line = error.partial
            except asyncio.LimitOverrunError:
                line = await output.read(LINE_SIZE_MAX)
            if not line:
                return
            text = line.decode(errors="replace").rstrip("\n")
            self._words.append(text[:500])
            logger.warning("%s", text)
