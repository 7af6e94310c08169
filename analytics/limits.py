"""How long functions in Python may take: one call, and all calls of a micro-batch.

A call that takes too long is interrupted where it is: an exception is raised in its thread, as Python can do between two of
its own steps. Code that never comes to such a step (a wait in C) cannot be interrupted; then `stuck` is told.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from streams.core.errors import ValidationError

CALL_S = 5.0
"""Of one call, over a batch or a row: a hundred times what is useful for a row."""
BATCH_S = 60.0
"""Of all calls in one micro-batch: beyond it an application would only fall behind."""
GRACE_S = 10.0
"""How long a call may go on after it has been interrupted."""
AGAIN_S = 0.25
"""Between two interruptions: a function may catch the first."""


class TimeIsUp(Exception):
    """Raised inside a function that takes too long."""


class FunctionsTooSlow(ValidationError):
    """The functions of a micro-batch took longer than they may together."""


@dataclass(slots=True)
class _Call:
    name: str
    until: float
    interrupted: bool = False


@dataclass(slots=True)
class Limits:
    """Of one application or query. `stuck` gets the sentence, in a thread of its own, when a call cannot be interrupted.
    `failed` remembers, for a micro-batch, the arguments that failed and why."""

    stuck: Callable[[str], None] | None = None
    call_s: float = CALL_S
    batch_s: float = BATCH_S
    grace_s: float = GRACE_S
    failed: dict[Any, str] = field(default_factory=dict)
    _used_s: float = 0.0
    _slowest: str = ""
    _calls: dict[int, _Call] = field(default_factory=dict)
    _lock: threading.Condition = field(default_factory=threading.Condition)
    _watching: bool = False

    def begin(self) -> None:
        """A micro-batch begins."""
        self.failed.clear()
        self._used_s, self._slowest = 0.0, ""

    def check(self) -> None:
        """Raises `FunctionsTooSlow` where the micro-batch has used up its time."""
        if self._used_s > self.batch_s:
            raise FunctionsTooSlow(
                f"the functions of one batch took more than {self.batch_s:g} s, {self._slowest} the last of them"
            )

    @contextlib.contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Around a call. Raises `TimeIsUp` inside of it."""
        if self._used_s > self.batch_s:
            raise TimeIsUp(f"the functions of this batch have taken {self.batch_s:g} s already")
        thread, began = threading.get_ident(), time.monotonic()
        with self._lock:
            self._calls[thread] = _Call(name, began + self.call_s)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="watches functions", daemon=True).start()
            self._lock.notify()
        try:
            yield
        except TimeIsUp:
            raise TimeIsUp(f"it took longer than {self.call_s:g} s") from None
        finally:
            self._end(thread)
            self._used_s += time.monotonic() - began
            self._slowest = name

    def _end(self, thread: int) -> None:
        while True:
            try:
                with self._lock:
                    self._calls.pop(thread, None)
                    _interrupt(thread, None)  # one that has not been noticed yet
                return
            except TimeIsUp:
                continue

    def _watch(self) -> None:
        """Ends with the last call."""
        while True:
            with self._lock:
                if not self._calls:
                    self._watching = False
                    return
                now = time.monotonic()
                for thread, call in self._calls.items():
                    if now < call.until:
                        continue
                    if call.interrupted and now > call.until + self.grace_s and self.stuck is not None:
                        self.stuck(f"function {call.name} does not come to an end, and cannot be interrupted")
                    call.interrupted = True
                    _interrupt(thread, TimeIsUp)
                due = min((call.until for call in self._calls.values() if not call.interrupted), default=now + AGAIN_S)
                self._lock.wait(max(0.01, min(due - now, self.call_s)))


def _interrupt(thread: int, exception: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if exception is None else ctypes.py_object(exception)
    )
