"""One execution environment: a process that runs one function, started, called and killed, with a scratch folder of its own.

The process is not trusted to keep any limit: time, memory and scratch space are watched from here, and whoever goes over
is killed with everything that it started.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar

from connectors.functions import usage
from connectors.functions.errors import (
    AnswerTooLarge,
    FunctionError,
    FunctionExited,
    FunctionNotLoaded,
    FunctionRaised,
    FunctionTimedOut,
    FunctionUnreachable,
)
from connectors.functions.function import Function
from connectors.functions.output import LogFile, Output
from connectors.functions.runtime_api import ANSWER_SIZE_MAX, Call, RuntimeApi
from connectors.processes import Process, spawn

log = logging.getLogger(__name__)

T = TypeVar("T")

LAUNCHER = Path(__file__).with_name("launcher.py")

CHECK_S = 0.05
"""How often the memory of a call under way is looked at: a process fills some 100 MB meanwhile."""

SCRATCH_CHECK_S = 0.5
"""How often its scratch space is measured, which means walking the folder."""

DATA_HEADROOM = 1 << 30
"""Bytes of memory that a process may ask for beyond its limit, since asking is not using; then it gets a MemoryError."""

MIB = 1 << 20

VERSION = "$LATEST"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call: the answer's JSON, or the fault; and the last lines of its log."""

    answer: bytes
    fault: FunctionError | None = None
    log: bytes = b""


class Environment:
    """A warm process. One call at a time; when `dead`, it can only be killed."""

    def __init__(self, function: Function, output: Output, api: RuntimeApi, scratch: Path) -> None:
        self.function = function
        self.dead = False
        self.idle_since = 0.0
        self._output = output
        self._api = api
        self._scratch = scratch
        self._process: Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._fail: Callable[[FunctionError], None] = _nobody_waits
        self._check_next: asyncio.TimerHandle | None = None
        self._exit_status: int | None = None
        self._request_id = ""
        self._peak = 0
        self._scratch_checked = 0.0
        self._init_ms: float | None = None

    @classmethod
    async def start(cls, function: Function, folder: Path, file: LogFile | None, init_timeout_s: float) -> Self:
        """A process that has imported the function. Raises a `FunctionError`; `folder` is where scratch space is made."""
        scratch = folder / uuid.uuid4().hex
        try:
            scratch.mkdir(parents=True)
            environment = cls(function, Output(function.name, file), RuntimeApi(), scratch)
            try:
                await environment._start(init_timeout_s)
            except BaseException:
                await environment.kill()
                raise
        except OSError as error:  # the disk is full, or there are no descriptors left
            raise FunctionUnreachable(f"function {function.name}: no environment can be started: {error}") from error
        return environment

    async def call(self, request_id: str, event: bytes, timeout_s: float, client_context: str = "") -> Outcome:
        """Never raises for what the function does: that is the outcome's fault."""
        self._request_id = request_id
        self._output.begin()
        self._output.write(f"START RequestId: {request_id} Version: {VERSION}")
        began = time.perf_counter()
        try:
            call = self._call(request_id, event, timeout_s, client_context)
            answer = await self._until(self._api.call(call), timeout_s)
        except FunctionError as error:
            self.dead = True
            self._kill_group()
            self._output.settle()
            return Outcome(b"", error, self._report(began, error))
        self._output.settle()
        log = self._report(began)
        name = self.function.name
        if answer.size > ANSWER_SIZE_MAX:
            text = f"Response payload size exceeded maximum allowed payload size ({ANSWER_SIZE_MAX} bytes)."
            return Outcome(b"", AnswerTooLarge.of(name, "Function.ResponseSizeTooLarge", text), log)
        if answer.failed:
            return Outcome(b"", FunctionRaised(name, answer.body), log)
        return Outcome(answer.body, None, log)

    def interrupt(self) -> None:
        """The call under way fails."""
        self.dead = True
        self._kill_group()

    async def kill(self) -> None:
        """The process and all that it started are gone when this returns, and so is its scratch space."""
        self.dead = True
        self._kill_group()
        self._api.close()
        if self._watching is not None:
            await asyncio.gather(self._watching, return_exceptions=True)
        self._output.close()
        await asyncio.to_thread(shutil.rmtree, self._scratch, ignore_errors=True)

    # Starting ---------------------------------------------------------------------------------------------------------

    async def _start(self, timeout_s: float) -> None:
        began = time.perf_counter()
        function = self.function
        variables = self._variables(await self._api.listen())
        data_size_max = function.memory_mb * MIB + DATA_HEADROOM
        try:
            self._process = spawn(
                [sys.executable, "-P", str(LAUNCHER), str(os.getpid()), function.handler, str(data_size_max)],
                output=self._output.descriptor,
                session=True,
                folder=function.root,
                environment=variables,
            )
        except (OSError, ValueError) as error:  # a variable or a handler with a NUL in it is a ValueError
            raise FunctionNotLoaded.of(function.name, "Runtime.InvalidEntrypoint", f"{error}") from error
        self._output.watch()
        self._watching = asyncio.create_task(self._watch(), name=f"process of function {function.name}")
        refusal = await self._until(self._api.ready, timeout_s)
        self._init_ms = (time.perf_counter() - began) * 1000
        if refusal is not None:
            raise FunctionNotLoaded(function.name, refusal)

    def _variables(self, address: str) -> dict[str, str]:
        function = self.function
        runtime = function.runtime if function.runtime != "python" else "python{}.{}".format(*sys.version_info)
        region = function.arn.split(":")[3] if function.arn else ""
        server = dict(os.environ) if function.inherits else {"PATH": os.environ.get("PATH", os.defpath)}
        return {
            **server,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PYTHONUNBUFFERED": "1",
            **function.environment,
            "_HANDLER": function.handler,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
            "AWS_LAMBDA_FUNCTION_VERSION": VERSION,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"{datetime.now(UTC):%Y/%m/%d}/[{VERSION}]{self._scratch.name}",
            "AWS_LAMBDA_RUNTIME_API": address,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "LAMBDA_TASK_ROOT": str(function.root),
            "LAMBDA_RUNTIME_DIR": str(LAUNCHER.parent),
            "TMPDIR": str(self._scratch),
        }

    # One call ---------------------------------------------------------------------------------------------------------

    def _call(self, request_id: str, event: bytes, timeout_s: float, client_context: str) -> Call:
        deadline_ms = time.time_ns() // 1_000_000 + int(timeout_s * 1000)
        context = f"Lambda-Runtime-Client-Context: {client_context}\r\n" if client_context else ""
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            f"Lambda-Runtime-Aws-Request-Id: {request_id}\r\n"
            f"Lambda-Runtime-Deadline-Ms: {deadline_ms}\r\n"
            f"Lambda-Runtime-Invoked-Function-Arn: {self.function.arn}\r\n"
            f"{context}Content-Length: {len(event)}\r\n\r\n"
        )
        return Call(request_id, head.encode(), event)

    async def _until(self, awaited: asyncio.Future[T], timeout_s: float) -> T:
        """What `awaited` gives. Raises the `FunctionError` of what comes before: the end of the time, of the process, or
        of what it may use."""
        loop = asyncio.get_running_loop()
        self._fail = lambda error: None if awaited.done() else awaited.set_exception(error)
        if self._exit_status is not None:
            self._fail(self._exited(self._exit_status))
        late = loop.call_later(timeout_s, self._late, timeout_s)
        self._check_next = loop.call_later(CHECK_S, self._check)
        try:
            return await awaited
        finally:
            late.cancel()
            self._check_next.cancel()
            self._fail = _nobody_waits

    def _late(self, timeout_s: float) -> None:
        text = f"{_now()} {self._request_id} Task timed out after {timeout_s:.2f} seconds"
        self._output.write(f"{text}\n")
        self._fail(FunctionTimedOut.of(self.function.name, "Sandbox.Timedout", text))

    def _check(self) -> None:
        """Whether the call under way keeps its limits; again in a moment."""
        loop = asyncio.get_running_loop()
        self._check_next = loop.call_later(CHECK_S, self._check)
        if self._process is None:
            return
        used, most = usage.memory(self._process.pid), self.function.memory_mb * MIB
        self._peak = max(self._peak, used)
        if used > most:
            self._told(f"{used // MIB} MB of memory are more than its {self.function.memory_mb} MB")
            self._fail(self._exited(-signal.SIGKILL))
        elif loop.time() - self._scratch_checked > SCRATCH_CHECK_S:
            self._scratch_checked = loop.time()
            used, most = usage.size_of(self._scratch), self.function.scratch_mb * MIB
            if used > most:
                words = f"{used // MIB} MB of scratch space are more than its {self.function.scratch_mb} MB"
                self._told(words)
                self._fail(self._exit_error(words))

    def _told(self, words: str) -> None:
        log.warning("function %s is killed: %s", self.function.name, words)
        self._output.write(f"Environment killed: {words}")

    async def _watch(self) -> None:
        """Until the process ends."""
        assert self._process is not None
        status = await self._process.wait()
        self._kill_group()  # what it has left behind, before its number is another's
        self._exit_status = status
        self.dead = True
        self._fail(self._exited(status))

    def _exited(self, status: int) -> FunctionExited:
        """In the words of Lambda, which are Go's."""
        if status == 0:
            return self._exit_error("Runtime exited without providing a reason")
        if status > 0:
            return self._exit_error(f"Runtime exited with error: exit status {status}")
        name = signal.strsignal(-status) or f"signal {-status}"
        return self._exit_error(f"Runtime exited with error: signal: {name.lower()}")

    def _exit_error(self, words: str) -> FunctionExited:
        text = f"RequestId: {self._request_id} Error: {words}"
        return FunctionExited.of(self.function.name, "Runtime.ExitError", text)

    def _report(self, began: float, error: FunctionError | None = None) -> bytes:
        """Writes the last two lines of a call; gives the end of its log."""
        duration_ms = (time.perf_counter() - began) * 1000
        if self._process is not None:
            self._peak = max(self._peak, usage.peak_memory(self._process.pid))
        parts = [
            f"REPORT RequestId: {self._request_id}",
            f"Duration: {duration_ms:.2f} ms",
            f"Billed Duration: {math.ceil(duration_ms)} ms",
            f"Memory Size: {self.function.memory_mb} MB",
            f"Max Memory Used: {math.ceil(self._peak / MIB)} MB",
        ]
        if self._init_ms is not None:
            parts.append(f"Init Duration: {self._init_ms:.2f} ms")
            self._init_ms = None
        if error is not None:
            parts.append("Status: timeout" if isinstance(error, FunctionTimedOut) else "Status: error")
        self._output.write(f"END RequestId: {self._request_id}")
        self._output.write("\t".join(parts))
        return self._output.take()

    def _kill_group(self) -> None:
        if self._process is None or self._exit_status is not None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it is gone already


def _nobody_waits(_error: FunctionError) -> None:
    pass


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
