"""One process that runs one function: started, called, killed. The parent's end of `connectors.functions.runtime`."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import time
import uuid
from typing import Self

from connectors.functions.errors import (
    FunctionExited,
    FunctionNotLoaded,
    FunctionRaised,
    FunctionTimedOut,
    PayloadTooLarge,
)
from connectors.functions.runtime import CALL, HEADER

PAYLOAD_SIZE_MAX = 6 << 20
"""Lambda's limit for an event and for an answer."""

LOG_LINE_SIZE_MAX = 64 << 10
"""Bytes of one line of a function's output that are logged in one piece."""

MESSAGE_SIZE_MAX = 4096
"""Characters of an exception's message that are repeated: it stands beside every record that failed with it."""


class Environment:
    """A warm process. One call at a time; after any error but `FunctionRaised` it is dead."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        timeout_s: float,
    ) -> None:
        self._name = name
        self._process = process
        self._reader = reader
        self._writer = writer
        self._timeout_s = timeout_s
        self._logging = asyncio.create_task(self._log_output(), name=f"output of function {name}")

    @classmethod
    async def start(cls, name: str, reference: str, timeout_s: float) -> Self:
        """A process that has imported the function, within `timeout_s`."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "connectors.functions.runtime", str(theirs.fileno()), name, reference),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                limit=LOG_LINE_SIZE_MAX,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "AWS_LAMBDA_FUNCTION_NAME": name},
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 20)
        environment = cls(name, process, reader, writer, timeout_s)
        try:
            kind, payload = await environment._answer()
            if kind == b"L":
                raise FunctionNotLoaded(f"function {name} ({reference}) cannot be loaded: {_words(payload)}")
        except BaseException:
            await environment.kill()
            raise
        return environment

    async def call(self, event: bytes) -> bytes:
        """What the function answers, as JSON. Times are those of the machine, not of a `Clock`: they bound real work."""
        if len(event) > PAYLOAD_SIZE_MAX:
            raise PayloadTooLarge(
                f"function {self._name}: the event has {len(event)} bytes, the limit is {PAYLOAD_SIZE_MAX}"
            )
        deadline_ms = time.time_ns() // 1_000_000 + int(self._timeout_s * 1000)
        head = CALL.pack(deadline_ms, str(uuid.uuid4()).encode())
        try:
            self._writer.writelines([HEADER.pack(len(head) + len(event), b"C"), head, event])
            kind, payload = await self._answer()
        except ConnectionError as error:
            raise FunctionExited(await self._last_words()) from error
        if kind == b"E":
            raise FunctionRaised(f"function {self._name} raised {_words(payload)}")
        return payload

    async def kill(self) -> None:
        """The process and all that it started are gone when this returns."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it is gone already
        self._writer.close()
        await self._process.wait()
        self._logging.cancel()
        await asyncio.gather(self._logging, return_exceptions=True)

    async def _answer(self) -> tuple[bytes, bytes]:
        try:
            async with asyncio.timeout(self._timeout_s):
                length, kind = HEADER.unpack(await self._reader.readexactly(HEADER.size))
                if length > PAYLOAD_SIZE_MAX:
                    raise PayloadTooLarge(
                        f"function {self._name}: the answer has {length} bytes, the limit is {PAYLOAD_SIZE_MAX}"
                    )
                return kind, await self._reader.readexactly(length)
        except TimeoutError as error:
            raise FunctionTimedOut(
                f"function {self._name}: Task timed out after {self._timeout_s:.2f} seconds"
            ) from error
        except asyncio.IncompleteReadError as error:
            raise FunctionExited(await self._last_words()) from error

    async def _last_words(self) -> str:
        """Why the process ended, once it has."""
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await self._process.wait()
        except TimeoutError:
            return f"function {self._name}: the process closed its channel"
        if status < 0:
            return f"function {self._name}: Runtime.ExitError: signal: {signal.Signals(-status).name}"
        return f"function {self._name}: Runtime.ExitError: exit status {status}"

    async def _log_output(self) -> None:
        assert self._process.stdout is not None
        logger = logging.getLogger(f"functions.{self._name}")
        while True:
            try:
                line = await self._process.stdout.readuntil()
            except asyncio.IncompleteReadError as error:
                line = error.partial
            except asyncio.LimitOverrunError:
                line = await self._process.stdout.read(LOG_LINE_SIZE_MAX)
            if not line:
                return
            logger.info("%s", line.decode(errors="replace").rstrip("\n"))


def _words(payload: bytes) -> str:
    failure = json.loads(payload)
    kind, message = failure["errorType"], failure["errorMessage"]
    if len(message) > MESSAGE_SIZE_MAX:
        message = message[:MESSAGE_SIZE_MAX] + "…"
    return f"{kind}: {message}" if message else str(kind)
