"""Processes under an event loop, started as Python's own `subprocess` does.

uvloop forks, and a fork runs the handlers of every library that is loaded: once DuckDB has worked in a thread, the child
ends by SIGSEGV before it has become another program. `subprocess` uses vfork, which runs none.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class Process:
    """One process. `wait` may be awaited by many, and as often as they like."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._pipe: asyncio.ReadTransport | None = None
        self._descriptor = os.pidfd_open(process.pid)
        self._loop.add_reader(self._descriptor, self._end)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; the negative number of the signal that ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Its `returncode`, once it has ended."""
        return await asyncio.shield(self._ended)

    def send_signal(self, number: int) -> None:
        """A process that has ended hears nothing."""
        self._process.send_signal(number)

    async def output(self, line_size_max: int) -> asyncio.StreamReader:
        """What it writes, where it was started with a pipe for that; `close` in the end."""
        assert self._process.stdout is not None
        reader = asyncio.StreamReader(limit=line_size_max)
        self._pipe, _ = await self._loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout
        )
        return reader

    def close(self) -> None:
        """Reads its output no more."""
        if self._pipe is not None:
            self._pipe.close()
        elif self._process.stdout is not None:
            self._process.stdout.close()

    def _end(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._ended.set_result(self._process.wait())


def spawn(
    arguments: Sequence[str],
    *,
    output: int | None,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    session: bool = False,
) -> Process:
    """Starts a process with nothing to read; `output` is a descriptor or `subprocess.PIPE` for all that it writes. With
    `session` it leads a group of its own. Takes a millisecond or two of the loop. Raises `OSError`."""
    return Process(
        subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output == subprocess.PIPE else output,
            pass_fds=pass_fds,
            env=environment,
            cwd=folder,
            start_new_session=session,
        )
    )
