"""The process of one application: ``python -m analytics.worker.process FD PARENT``.

It talks with the server over the socket FD (`analytics.worker.messages`) and reads and writes streams through the door that
the server keeps for its own processes. It ends when the server does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
import time

import duckdb
import pyarrow as pa
import uvloop

from analytics.application import Application, Progress
from analytics.errors import SqlError
from analytics.worker import questions
from analytics.worker.building import build
from analytics.worker.messages import (
    FRAME_SIZE_MAX,
    HEADER,
    Advanced,
    Command,
    Ended,
    Event,
    Failed,
    Keep,
    Kept,
    Question,
    Read,
    ReadDone,
    Run,
    Running,
    Seen,
    SetClock,
    Stop,
    TableSpec,
    Watch,
    decode_command,
    frame,
)
from analytics.worker.tables import write_tables
from connectors.delivered.remote import RemoteDeliveries
from connectors.formats.json import encode_json
from connectors.functions.errors import FunctionError
from streams.core.clock import ShiftedClock
from streams.core.errors import HeadraceError, RequestError
from streams.core.memory import keep_memory
from streams.core.pandas import without_pandas
from streams.core.scope import Scope
from streams.sdk.http import HttpClient

_PR_SET_PDEATHSIG = 1
SWITCH_INTERVAL_S = 0.0005
CALL_S = 960.0
"""How long a call of a function may take, waiting for its turn included: Lambda's limit is 900."""
OOM_SCORE = 800
"""Whom the kernel ends first where memory is scarce: an application comes back, a server is missed."""
QUESTION_MEMORY_MAX = 1 << 30
"""Bytes that answering a question may take: a sample of a megabyte, or a program of 100 KB, takes far less."""
SEEN_ROWS_MAX = 200
"""Rows of a stream and commit that watchers are shown: more than anybody reads."""
LAST_WORDS_S = 1.0
"""For a last sentence to reach the server."""
PENDING_SIZE_MAX = 8 << 20
"""Bytes of events that may wait for the server: what is for watchers is then left out."""


def main() -> None:
    channel, parent = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    _bind_to(parent)
    # A thread that decodes may hold the interpreter for so long while the loop has rows to deliver; Python's own is 5 ms.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    keep_memory()
    without_pandas()
    uvloop.run(_serve(channel))


def _bind_to(parent: int) -> None:
    """The kernel ends this process with its parent, also where its loop is busy."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it had gone before
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(OOM_SCORE))


async def _serve(channel: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=channel, limit=1 << 20)
    try:
        command = await receive(reader)
        if isinstance(command, Run):
            bound_memory(command.memory_max)
            await _Running(reader, writer).run(command)
            return
        bound_memory(QUESTION_MEMORY_MAX)
        while isinstance(command, Question):
            writer.write(frame(await asyncio.to_thread(questions.answer, command)))
            await writer.drain()
            command = await receive(reader)
    except (asyncio.IncompleteReadError, ConnectionError):
        os._exit(0)  # the server has gone: nothing that is not committed matters
    finally:
        writer.close()


async def receive(reader: asyncio.StreamReader) -> Command:
    (length,) = HEADER.unpack(await reader.readexactly(HEADER.size))
    assert length <= FRAME_SIZE_MAX, "the server sends no frame of this size"
    return decode_command(await reader.readexactly(length))


def bound_memory(size_max: int) -> None:
    """What asks for more gets a MemoryError, here, and takes nobody else along."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (size_max, hard))


class _Running:
    """An application at work, and its ear for the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._clock = ShiftedClock()
        self._watched = False
        self._kept = asyncio.Event()
        self._readings: set[asyncio.Task[None]] = set()

    async def run(self, run: Run) -> None:
        self._clock.ahead_ms = run.ahead_ms
        client = HttpClient(run.door, scope=Scope(run.account, run.region))

        async def invoke(function: str, event: bytes) -> bytes:
            try:
                return await client.call(function, event, CALL_S)
            except RequestError as error:
                raise FunctionError(error.message) from error

        try:
            keep = self._keep if run.kept else None
            application = build(
                *(run, client, RemoteDeliveries(client), invoke, self._clock),
                *(self._progress, self._observe, self._stuck, keep),
            )
            listening = asyncio.create_task(self._listen(application))
            try:
                await application.open()
                streams = application.streams.values()
                names = {stream.name: [column.name for column in stream.columns] for stream in streams}
                seen = {each.name: TableSpec(each.kind, dict(each.columns)) for each in application.shown()}
                self._say(Running(names, seen))
                await application.run()
            finally:
                listening.cancel()
                for reading in self._readings:
                    reading.cancel()
                await asyncio.gather(*self._readings, return_exceptions=True)
                await application.close()
            self._say(Ended())
        except (MemoryError, duckdb.OutOfMemoryException):
            text = f"the application needs more memory than the {run.memory_max >> 20} MiB of application_memory_max"
            self._say(Failed(text))
        except HeadraceError as error:
            # What an application needs changes without it: a stream is made, a file is mended.
            self._say(Failed(error.message, program=isinstance(error, SqlError)))
        finally:
            await client.close()
        await self._writer.drain()

    async def _listen(self, application: Application) -> None:
        while True:
            try:
                command = await receive(self._reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                os._exit(0)
            if isinstance(command, Watch):
                self._watched = command.on
            elif isinstance(command, SetClock):
                self._clock.ahead_ms = command.ahead_ms
            elif isinstance(command, Kept):
                self._kept.set()
            elif isinstance(command, Read):
                reading = asyncio.create_task(self._read(application, command), name="tables are read")
                self._readings.add(reading)
                reading.add_done_callback(self._readings.discard)
            elif isinstance(command, Stop):
                application.stop()

    def _stuck(self, text: str) -> None:
        """A function never comes back: only the end of the process ends it."""
        self._loop.call_soon_threadsafe(self._say, Failed(text))
        time.sleep(LAST_WORDS_S)
        os._exit(1)

    async def _keep(self) -> None:
        self._kept.clear()
        self._say(Keep())
        await self._kept.wait()

    async def _read(self, application: Application, read: Read) -> None:
        try:
            tables = await application.read(read.tables)
            await asyncio.to_thread(write_tables, tables, list(read.tables), read.path)
            self._say(ReadDone(read.id))
        except HeadraceError as error:
            self._say(ReadDone(read.id, error.message))
        except (MemoryError, duckdb.Error, OSError, pa.ArrowException) as error:
            self._say(ReadDone(read.id, f"the tables cannot be read: {error}"))

    def _say(self, event: Event) -> None:
        self._writer.write(frame(event))

    def _progress(self, progress: Progress) -> None:
        known = [at for at in progress.frontiers.values() if at is not None]
        frontier = min(known, default=None)
        event = Advanced(progress.records, progress.rows, progress.faulty, progress.behind, frontier)
        self._loop.call_soon_threadsafe(self._say, event)

    def _observe(self, stream: str, rows: pa.RecordBatch) -> None:
        if not self._watched:
            return
        seen = Seen(stream, encode_json(rows.slice(0, SEEN_ROWS_MAX)).to_pylist())
        self._loop.call_soon_threadsafe(self._show, seen)

    def _show(self, seen: Seen) -> None:
        if self._writer.transport.get_write_buffer_size() < PENDING_SIZE_MAX:
            self._say(seen)


if __name__ == "__main__":
    main()
