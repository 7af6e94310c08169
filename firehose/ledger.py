"""What has been settled of a shard: a machine without I/O.

A record is settled when it is in exactly one object, in the error output, or dropped by the function. Partitions are
flushed one by one, so records are settled out of order: `low` is the first offset that is not settled, and a bit for
each offset after it says what is. A restart reads again from `low` and leaves out what the bits name; that is what keeps
a record out of a second object even where a function decides differently the second time.
"""

from __future__ import annotations

import msgspec
import numpy as np
import zstandard


class Coverage(msgspec.Struct, frozen=True, array_like=True):
    """Offsets of one shard in [first, next): all of them, or those whose bit is set in `bits` (zstd of big-endian
    packed bits). A partition's share of an interleaved range takes a few bytes to a bit a record."""

    shard: str
    first: int
    next: int
    bits: bytes | None = None

    def mask(self) -> np.ndarray:
        """bool array of next - first."""
        count = self.next - self.first
        if self.bits is None:
            return np.ones(count, np.bool_)
        packed = zstandard.ZstdDecompressor().decompress(self.bits, max_output_size=count // 8 + 1)
        return np.unpackbits(np.frombuffer(packed, np.uint8), count=count).astype(np.bool_)

    @staticmethod
    def of_mask(shard: str, first: int, mask: np.ndarray) -> Coverage:
        """`mask[i]` says whether offset first + i is covered; the ends are trimmed."""
        covered = np.flatnonzero(mask)
        if not len(covered):
            return Coverage(shard, first, first)
        begin, end = int(covered[0]), int(covered[-1]) + 1
        if len(covered) == end - begin:
            return Coverage(shard, first + begin, first + end)
        packed = np.packbits(mask[begin:end]).tobytes()
        return Coverage(shard, first + begin, first + end, zstandard.ZstdCompressor(level=1).compress(packed))

    @staticmethod
    def of_offsets(shard: str, offsets: np.ndarray) -> Coverage:
        """From int64 offsets in any order, at least one."""
        first, last = int(offsets.min()), int(offsets.max())
        if last - first + 1 == len(offsets):
            return Coverage(shard, first, last + 1)
        mask = np.zeros(last - first + 1, np.bool_)
        mask[offsets - first] = True
        return Coverage.of_mask(shard, first, mask)


class Ledger:
    """The settled offsets of one shard."""

    def __init__(self, low: int) -> None:
        self.low = low
        self._settled = np.zeros(0, np.bool_)

    def copy(self) -> Ledger:
        other = Ledger(self.low)
        other._settled = self._settled.copy()
        return other

    def settle(self, coverage: Coverage) -> None:
        """Settling what is settled already changes nothing."""
        if coverage.next <= self.low:
            return
        mask = coverage.mask()
        first = coverage.first
        if first < self.low:
            mask = mask[self.low - first :]
            first = self.low
        begin, end = first - self.low, first - self.low + len(mask)
        if end > len(self._settled):
            self._settled = np.concatenate([self._settled, np.zeros(end - len(self._settled), np.bool_)])
        self._settled[begin:end] |= mask
        self._advance()

    def _advance(self) -> None:
        """Moves `low` to the first offset that is not settled."""
        open_ = np.flatnonzero(~self._settled)
        run = int(open_[0]) if len(open_) else len(self._settled)
        self.low += run
        self._settled = self._settled[run:].copy()

    def skip_to(self, offset: int) -> None:
        """Everything before `offset` is out of reach (its retention is over)."""
        if offset > self.low:
            self._settled = self._settled[offset - self.low :].copy()
            self.low = offset
            self._advance()

    def settled(self, first: int, next_: int) -> np.ndarray:
        """bool array: which of [first, next) are settled."""
        mask = np.zeros(next_ - first, np.bool_)
        mask[: max(0, min(self.low, next_) - first)] = True
        begin, end = max(first, self.low), min(next_, self.low + len(self._settled))
        if begin < end:
            mask[begin - first : end - first] = self._settled[begin - self.low : end - self.low]
        return mask

    def ahead(self, shard: str) -> Coverage | None:
        """What is settled above `low`; None if nothing is."""
        return Coverage.of_mask(shard, self.low, self._settled) if self._settled.any() else None
