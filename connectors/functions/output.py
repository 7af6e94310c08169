"""What a function writes: the lines of its standard output and error, between START, END and REPORT, as on Lambda.

They go to the function's log file, to the server's log (logger ``functions.NAME``; the function's own lines as INFO, the
others as DEBUG), and the last 4 KB of a call to whoever asks for them.
"""

from __future__ import annotations

import asyncio
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

JOINED_MAX = 500
"""Lines in one, as a traceback is, that are logged each by itself; of more, somebody means something else."""

LINE_SIZE_MAX = 64 << 10
"""Bytes of one line that are logged in one piece."""

TAIL_SIZE_MAX = 4096
"""Bytes of a call's log that Invoke answers, as on Lambda."""

DRAIN_SIZE_MAX = 1 << 20
"""Bytes that are read at once: a function that writes without end must not hold up the server. A pipe holds 64 KiB."""

FILE_SIZE_MAX = 8 << 20
"""Bytes of a log file; then it becomes ``….log.1``, in place of the one before."""

_READ_SIZE = 64 << 10


class LogFile:
    """``FOLDER/NAME.log``, made when the first line is written. A disk that is full costs lines, never a call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._size = 0

    def write(self, lines: bytes) -> None:
        try:
            if self._file is None or self._size > FILE_SIZE_MAX:
                self._open()
            assert self._file is not None
            self._file.write(lines)
        except OSError as error:
            logging.getLogger(__name__).warning("%s cannot be written: %s", self._path, error)
        self._size += len(lines)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size > FILE_SIZE_MAX:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._file = self._path.open("ab", buffering=0)
        self._size = self._path.stat().st_size


class Output:
    """The output of one environment. `begin` and `take` stand around a call, `write` adds a line of the
    runtime's own."""

    def __init__(self, name: str, file: LogFile | None) -> None:
        self._logger = logging.getLogger(f"functions.{name}")
        self._file = file
        self._tail = bytearray()
        self._line = b""
        self._cut = False
        self._reader, self.descriptor = os.pipe()
        os.set_blocking(self._reader, False)

    def watch(self) -> None:
        """Reads from now on; the writing end is the process's alone."""
        os.close(self.descriptor)
        self.descriptor = -1
        asyncio.get_running_loop().add_reader(self._reader, self.drain)

    def begin(self) -> None:
        self._tail.clear()

    def take(self) -> bytes:
        """The last of what this call has written."""
        return bytes(self._tail)

    def write(self, line: str) -> None:
        self._emit(line.encode() + b"\n", logging.DEBUG)

    def drain(self) -> None:
        """Everything that has been written by now, up to a bound: a process writes before it answers."""
        size = 0
        while size < DRAIN_SIZE_MAX:
            try:
                data = os.read(self._reader, _READ_SIZE)
            except BlockingIOError:
                return
            if not data:
                asyncio.get_running_loop().remove_reader(self._reader)
                return
            size += len(data)
            self._received(data)

    def settle(self) -> None:
        """`drain`, and a line that has not ended is one."""
        self.drain()
        if self._line:
            self._received(b"\n")

    def close(self) -> None:
        """When the process has ended: what is left of its output, then no more."""
        self.settle()
        asyncio.get_running_loop().remove_reader(self._reader)
        os.close(self._reader)
        if self.descriptor >= 0:
            os.close(self.descriptor)

    def _received(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        if lines and self._cut and not lines[0]:
            del lines[0]  # the end of a line that has been logged already
        self._cut = self._cut and not lines and not self._line
        if len(self._line) > LINE_SIZE_MAX:
            lines.append(self._line)
            self._line, self._cut = b"", True
        for line in lines:
            # awslambdaric joins the lines of a traceback with carriage returns.
            self._emit(line.replace(b"\r", b"\n").rstrip(b"\n") + b"\n", logging.INFO)

    def _emit(self, line: bytes, level: int) -> None:
        self._tail += line
        if len(self._tail) > TAIL_SIZE_MAX:
            del self._tail[:-TAIL_SIZE_MAX]
        if self._file is not None:
            stamp = datetime.now(UTC).isoformat(timespec="milliseconds").encode()
            self._file.write(b"%s %s" % (stamp, line))
        if self._logger.isEnabledFor(level):
            # Each under the function's name: a traceback of its own must not look like one of the server's.
            text = line.decode(errors="replace").rstrip("\n")
            for one in text.split("\n") if text.count("\n") < JOINED_MAX else [text.replace("\n", " ")]:
                self._logger.log(level, "%s", one)
