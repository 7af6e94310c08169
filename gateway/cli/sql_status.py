"""The line under a program's rows that says how it is: only where stderr is a terminal, and gone when rows come."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Self

from analytics.application import Progress

DRAW_S = 0.2
"""Between two drawings: more often nobody can read."""

_CLEAR = "\r\x1b[K"


class Status:
    """`tell` it of each commit."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._line = ""
        self._drawn = False
        self._drawn_at = 0.0
        self._records = 0
        self._counted_at = time.monotonic()
        self._rate = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._clear()

    def tell(self, progress: Progress) -> None:
        if not self._on:
            return
        self._records += progress.records
        now = time.monotonic()
        passed_s = now - self._counted_at
        if passed_s >= 1:
            self._rate, self._records, self._counted_at = self._records / passed_s, 0, now
        self._line = line(progress, self._rate)
        if now - self._drawn_at >= DRAW_S:
            self._draw()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """While something else is written."""
        self._clear()
        yield
        if self._line:
            self._draw()

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"{_CLEAR}\x1b[2m{self._line[:width]}\x1b[0m")
        sys.stderr.flush()
        self._drawn, self._drawn_at = True, time.monotonic()

    def _clear(self) -> None:
        if self._drawn:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
            self._drawn = False


def line(progress: Progress, rate: float) -> str:
    """``1,200 records/s · 80 behind · at 2026-01-01 09:00:00.000 · next window closes at 09:01:00.000``"""
    parts = [f"{rate:,.0f} records/s", f"{progress.behind:,} behind"]
    frontiers = progress.frontiers
    known = [at for at in frontiers.values() if at is not None]
    if known and len(known) == len(frontiers):
        parts.append(f"at {_time(min(known))}")
    elif frontiers:
        waiting = sorted(name for name, at in frontiers.items() if at is None)
        parts.append(f"waiting for {', '.join(waiting)}")
    if progress.open_until_ms is not None:
        parts.append(f"next window closes at {_time(progress.open_until_ms)}")
    return " · ".join(parts)


def _time(at_ms: int) -> str:
    try:
        return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):
        return f"{at_ms} ms"
