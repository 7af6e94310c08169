"""When to try again, and how long to pause before it."""

from __future__ import annotations

import random
from collections.abc import Iterator

from streams.core.errors import HeadraceError

PAUSE_S_FIRST = 0.05
"""A server that restarts or a disk that is full for a moment answers again within tens of milliseconds."""
PAUSE_S_MAX = 5.0
"""The longest pause: how late a client may notice that its server is back."""


def retriable(error: Exception) -> bool:
    """Whether the same call may succeed later."""
    if isinstance(error, HeadraceError):
        return error.retry
    return isinstance(error, ConnectionError | TimeoutError)


def pauses(randomness: random.Random) -> Iterator[float]:
    """Seconds to pause before each retry, without end: doubling, with jitter so that clients do not march in step."""
    pause = PAUSE_S_FIRST
    while True:
        yield pause * (0.5 + randomness.random() / 2)
        pause = min(pause * 2, PAUSE_S_MAX)
