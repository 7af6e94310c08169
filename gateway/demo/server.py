"""The demo's server: `headrace serve` in a process of its own, on a free port."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.demo.delivery import FUNCTION, HANDLER
from streams.core.errors import HeadraceError

_READY = re.compile(r"listening on (http://[^,\s]+)")
_STOP_S_MAX = 30.0
_SHARING = ("HEADRACE_LOG", "HEADRACE_WORK", "HEADRACE_WORK_SESSION_S", "HEADRACE_DEPOT")


@contextlib.contextmanager
def serving(data: Path) -> Iterator[str]:
    """The endpoint, once the server listens; in the end it is stopped as a service manager does it. Of the settings in the
    environment only those are the server's too that say how it shares a log with others."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_") or name in _SHARING
    }
    environment |= {
        "HEADRACE_FUNCTIONS": msgspec.json.encode({FUNCTION: HANDLER}).decode(),
        "HEADRACE_FIREHOSE_COMPAT": "emulator",  # a shorter buffering interval than AWS allows
    }
    command = [sys.executable, "-m", "gateway.cli", "serve", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = _READY.search(line)
        if found is None:
            raise HeadraceError(f"the server did not start: {line.strip() or 'it said nothing'}")
        yield found[1]
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
