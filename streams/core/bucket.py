"""A token bucket: how much may happen a second, with one second's worth at once after a pause."""

from __future__ import annotations


class TokenBucket:
    """`rate` tokens a second, at most `size` saved up (a second's worth where not given). The caller brings the time."""

    __slots__ = ("_at_ms", "_left", "rate", "size")

    def __init__(self, rate: float, now_ms: int, size: float | None = None) -> None:
        self.rate = rate
        self.size = rate if size is None else size
        self._left = self.size
        self._at_ms = now_ms

    def left(self, now_ms: int) -> float:
        """What may be taken now; below 0 while something larger than the bucket is being paid off."""
        if now_ms > self._at_ms:
            self._left = min(self.size, self._left + (now_ms - self._at_ms) * self.rate / 1000)
            self._at_ms = now_ms
        return self._left

    def take(self, amount: float, now_ms: int) -> bool:
        """Whether so much may happen; if so it is taken. What is larger than the whole bucket passes when that is full,
        and is paid off afterwards."""
        left = self.left(now_ms)
        if left < min(amount, self.size):
            return False
        self._left = left - amount
        return True

    def charge(self, amount: float, now_ms: int) -> None:
        """So much has happened, whether there was enough or not."""
        self._left = self.left(now_ms) - amount

    def full(self, now_ms: int) -> bool:
        """Nothing was taken for so long that a new bucket would say the same."""
        return self.left(now_ms) >= self.size
