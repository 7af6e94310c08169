"""How many bytes all delivery streams of the process hold. Who has no room left stops reading; the log keeps the rest."""

from __future__ import annotations

_COMMON = 0.75
"""The part of the bound that is first come, first served. The rest is divided among all streams, so that one whose store
is away for hours, and which holds what it can, never stops the others."""


class Memory:
    """A bound over many holders: their total stays below it, give or take what each is reading just now."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._held: dict[object, int] = {}

    def register(self, holder: object) -> None:
        self._held[holder] = 0

    def forget(self, holder: object) -> None:
        """Whatever it held is free."""
        self._held.pop(holder, None)

    def hold(self, holder: object, size: int) -> None:
        """`holder` holds `size` bytes now."""
        self._held[holder] = size

    def room(self, holder: object) -> bool:
        """Whether `holder` may read more. A holder of nothing always may."""
        share = self._size_max * (1 - _COMMON) / len(self._held)
        return self._held[holder] < share or sum(self._held.values()) < self._size_max * _COMMON
