"""`headrace serve` as a process, and how tests reach it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from click.testing import Result

READY = re.compile(r"headrace is listening on (http://\S+), data in (\S+)")
HEADRACE = [sys.executable, "-m", "gateway.cli"]


@dataclass
class Server:
    process: subprocess.Popen[str]
    url: str
    data: Path

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


def start_server(data: Path, *arguments: str) -> Server:
    """Starts `headrace serve` on a free port and waits for the line that says that it is ready."""
    process = subprocess.Popen(
        [*HEADRACE, "serve", "--port", "0", "--data", str(data), *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    ready = READY.fullmatch(line.strip())
    assert ready, f"not the ready line: {line!r}"
    return Server(process, ready[1], data)


Headrace = Callable[..., Result]
"""Runs a command against the server in this process: ``headrace("stream", "list", stdin=…)``."""
