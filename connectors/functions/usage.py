"""What a process and its children use, read from /proc; what a folder holds."""

from __future__ import annotations

import os
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def memory(pid: int) -> int:
    """Resident bytes of the process and of everything that it started; 0 once it is gone."""
    total = 0
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        try:
            total += int(_read(f"/proc/{one}/statm").split()[1]) * _PAGE
            for task in os.listdir(f"/proc/{one}/task"):
                waiting += map(int, _read(f"/proc/{one}/task/{task}/children").split())
        except (OSError, IndexError):
            continue  # it has ended meanwhile
    return total


def peak_memory(pid: int) -> int:
    """The most resident bytes that the process had at once; 0 once it is gone."""
    try:
        _, _, rest = _read(f"/proc/{pid}/status").partition("VmHWM:")
        return int(rest.split(maxsplit=1)[0]) << 10
    except (OSError, IndexError, ValueError):
        return 0


def size_of(folder: Path) -> int:
    """Bytes on disk of everything in the folder."""
    total = 0
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue  # it has been removed meanwhile
    return total


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()
