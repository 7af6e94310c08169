"""How many bytes of direct puts are on their way into the log. Who has no room is told to come again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streams.core.errors import ServiceUnavailable

INFLOW_SIZE_MAX = 64 << 20
"""Bytes of records that have been sent and are not on disk yet: sixteen of the largest batches. A disk that is slow must
not gather requests in memory."""

SLOW_DOWN = "Slow down."


class Inflow:
    def __init__(self, size_max: int = INFLOW_SIZE_MAX) -> None:
        self._size_max = size_max
        self._held = 0

    @contextmanager
    def admitted(self, size: int) -> Iterator[None]:
        """While `size` bytes are on their way. One request always may. Raises `ServiceUnavailable`."""
        if self._held and self._held + size > self._size_max:
            raise ServiceUnavailable(SLOW_DOWN)
        self._held += size
        try:
            yield
        finally:
            self._held -= size
