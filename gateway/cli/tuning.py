"""What the server's process asks of the C library and the interpreter, once, at its start."""

from __future__ import annotations

import resource
import sys

from streams.core.memory import keep_memory
from streams.core.pandas import without_pandas

SWITCH_INTERVAL_S = 0.0002
"""How long a busy thread may keep the interpreter: with Python's 5 ms the log's writer waits for it after each sync."""


OPEN_FILES = 65_536
"""Files and connections that the process may have open, where the system lets it: shells give 1,024."""


def tune() -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, OPEN_FILES)), hard))
    keep_memory()
    without_pandas()
