"""What the server's process asks of the C library and the interpreter, once, at its start."""

from __future__ import annotations

import ctypes
import resource
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
MMAP_THRESHOLD = 64 << 20
"""Blocks below this come from the heap: mapping and unmapping each body of 700 KB cost 523 µs a request, not 171."""
TRIM_THRESHOLD = 256 << 20
"""Free memory at the end of the heap that is kept for the next burst of bodies."""
SWITCH_INTERVAL_S = 0.0002
"""How long a busy thread may keep the interpreter: with Python's 5 ms the log's writer waits for it after each sync."""


OPEN_FILES = 65_536
"""Files and connections that the process may have open, where the system lets it: shells give 1,024."""


def tune() -> None:
    """Does what it can: a C library without mallopt is left as it is."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, OPEN_FILES)), hard))
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD)
