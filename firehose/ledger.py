"""What has been settled of a shard: a machine without I/O.

A record is settled when it is in exactly one object, in the error output, or dropped by the function. Partitions are
flushed one by one, so records are settled out of order: `low` is the first offset that is not settled, and a bit for
each offset after it says what is. A restart reads again from `low` and leaves out what the bits name; that is what keeps
a record out of a second object even where a function decides differently the second time.

A source record that was taken apart (see `firehose.splitting`) is settled when all of its parts are; until then the ledger
knows which.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import zstandard

_FEW = 64
"""Offsets are kept one by one where not even one in so many is covered: each takes 8 bytes then, a bit otherwise."""


class Parts(msgspec.Struct, frozen=True, array_like=True):
    """Places in source records that were taken apart: `count` entries, zstd of their offsets (int64), subs (int32) and
    counts (int32), little-endian."""

    count: int
    packed: bytes

    @staticmethod
    def of(offsets: np.ndarray, subs: np.ndarray, counts: np.ndarray) -> Parts:
        order = np.lexsort((subs, offsets))
        columns = offsets[order].astype("<i8"), subs[order].astype("<i4"), counts[order].astype("<i4")
        packed = zstandard.ZstdCompressor(level=1).compress(b"".join(column.tobytes() for column in columns))
        return Parts(len(offsets), packed)

    def entries(self) -> Iterator[tuple[int, int, int]]:
        """(offset, sub, count), sorted."""
        raw = zstandard.ZstdDecompressor().decompress(self.packed, max_output_size=16 * self.count)
        offsets = np.frombuffer(raw, "<i8", self.count)
        subs = np.frombuffer(raw, "<i4", self.count, 8 * self.count)
        counts = np.frombuffer(raw, "<i4", self.count, 12 * self.count)
        return zip(offsets.tolist(), subs.tolist(), counts.tolist(), strict=True)


class Coverage(msgspec.Struct, frozen=True, array_like=True):
    """Offsets of one shard in [first, next): all of them; or those whose bit is set in `bits` (zstd of big-endian
    packed bits); or, where they are few among many, those that `steps` lead to (zstd of the differences from one to the
    next, int64, little-endian, the first 0). A partition's share of an interleaved range takes a few bytes to a bit a
    record, and a small one of many costs no more than it has records. `parts` are of other records, which are covered in
    part."""

    shard: str
    first: int
    next: int
    bits: bytes | None = None
    parts: Parts | None = None
    steps: bytes | None = None

    def offsets(self) -> np.ndarray:
        """int64, sorted."""
        if self.steps is None:
            return self.first + np.flatnonzero(self.mask())
        raw = zstandard.ZstdDecompressor().decompress(self.steps, max_output_size=8 * (self.next - self.first))
        return self.first + np.cumsum(np.frombuffer(raw, "<i8"))

    def mask(self) -> np.ndarray:
        """bool array of next - first."""
        count = self.next - self.first
        if self.steps is not None:
            mask = np.zeros(count, np.bool_)
            mask[self.offsets() - self.first] = True
            return mask
        if self.bits is None:
            return np.ones(count, np.bool_)
        packed = zstandard.ZstdDecompressor().decompress(self.bits, max_output_size=count // 8 + 1)
        return np.unpackbits(np.frombuffer(packed, np.uint8), count=count).astype(np.bool_)

    def count(self) -> int:
        """Records, and parts of records, that it covers."""
        if self.next == self.first:
            whole = 0
        else:
            whole = len(self.offsets()) if self.steps is not None else int(self.mask().sum())
        return whole + (0 if self.parts is None else self.parts.count)

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
        if last - first > _FEW * len(offsets):
            steps = np.diff(np.sort(offsets), prepend=first).astype("<i8")
            packed = zstandard.ZstdCompressor(level=1).compress(steps.tobytes())
            return Coverage(shard, first, last + 1, steps=packed)
        mask = np.zeros(last - first + 1, np.bool_)
        mask[offsets - first] = True
        return Coverage.of_mask(shard, first, mask)

    @staticmethod
    def of_parts(shard: str, offsets: np.ndarray, subs: np.ndarray, counts: np.ndarray) -> Coverage:
        """From records of which some are parts of source records, at least one; none is there twice."""
        _, inverse, found = np.unique(offsets, return_inverse=True, return_counts=True)
        whole = found[inverse] == counts
        if whole.all():
            return Coverage.of_offsets(shard, np.unique(offsets))
        rest = ~whole
        parts = Parts.of(offsets[rest], subs[rest], counts[rest])
        if not whole.any():
            first = int(offsets.min())
            return Coverage(shard, first, first, None, parts)
        return msgspec.structs.replace(Coverage.of_offsets(shard, np.unique(offsets[whole])), parts=parts)


class Ledger:
    """The settled offsets of one shard."""

    def __init__(self, low: int) -> None:
        self.low = low
        self._settled = np.zeros(0, np.bool_)
        self._parts: dict[int, tuple[int, int]] = {}
        """Offset → which parts are settled, as bits, and how many there are."""

    @property
    def end(self) -> int:
        """Nothing is settled from here on."""
        return self.low + len(self._settled)

    def copy(self) -> Ledger:
        other = Ledger(self.low)
        other._settled = self._settled.copy()
        other._parts = self._parts.copy()
        return other

    def settle(self, coverage: Coverage) -> None:
        """Settling what is settled already changes nothing."""
        if coverage.parts is not None:
            self._settle_parts(coverage.parts)
        if coverage.next <= self.low or coverage.next == coverage.first:
            return
        if coverage.first <= self.low and coverage.bits is None and coverage.steps is None:
            self.skip_to(coverage.next)  # a range of any length takes no memory
            return
        end = coverage.next - self.low
        if end > len(self._settled):
            self._settled = np.concatenate([self._settled, np.zeros(end - len(self._settled), np.bool_)])
        if coverage.steps is not None:
            places = coverage.offsets() - self.low
            self._settled[places[places >= 0]] = True
        else:
            mask = coverage.mask()[max(0, self.low - coverage.first) :]
            self._settled[end - len(mask) : end] |= mask
        self._advance()

    def _settle_parts(self, parts: Parts) -> None:
        for offset, sub, count in parts.entries():
            if self._has(offset):
                continue
            bits = self._parts.get(offset, (0, count))[0] | 1 << sub
            if bits == (1 << count) - 1:
                self.settle(Coverage("", offset, offset + 1))
            else:
                self._parts[offset] = bits, count

    def forget_parts(self) -> None:
        """Records come apart in another way now: what was settled in part is not settled."""
        self._parts.clear()

    def unsettled_parts(self, offsets: np.ndarray, subs: np.ndarray) -> np.ndarray:
        """bool array: which of these parts are not settled, of records that are not settled."""
        if not self._parts:
            return np.ones(len(offsets), np.bool_)
        places = zip(offsets.tolist(), subs.tolist(), strict=True)
        return np.array([not self._parts.get(offset, (0, 0))[0] >> sub & 1 for offset, sub in places], np.bool_)

    def _advance(self) -> None:
        """Moves `low` to the first offset that is not settled."""
        if len(self._settled) and self._settled[0]:
            first_open = int(np.argmin(self._settled))
            run = first_open if not self._settled[first_open] else len(self._settled)
            self.low += run
            self._settled = self._settled[run:].copy()
        if self._parts:
            self._parts = {at: parts for at, parts in self._parts.items() if not self._has(at)}

    def _has(self, offset: int) -> bool:
        place = offset - self.low
        return place < 0 or (place < len(self._settled) and bool(self._settled[place]))

    def skip_to(self, offset: int) -> None:
        """Everything before `offset` is out of reach (its retention is over)."""
        if offset > self.low:
            self._settled = self._settled[offset - self.low :].copy()
            self.low = offset
            self._advance()

    def again(self, coverage: Coverage) -> int:
        """How many of the records that it covers whole are settled already."""
        if coverage.next == coverage.first:
            return 0
        if coverage.steps is None:
            return int((self.settled(coverage.first, coverage.next) & coverage.mask()).sum())
        offsets = coverage.offsets()
        places = offsets[offsets >= self.low] - self.low
        places = places[places < len(self._settled)]
        return int((offsets < self.low).sum()) + int(self._settled[places].sum())

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
        if not self._parts:
            return Coverage.of_mask(shard, self.low, self._settled) if self._settled.any() else None
        rows = [(at, sub, n) for at, (bits, n) in self._parts.items() for sub in range(n) if bits >> sub & 1]
        places = np.array(rows, np.int64)
        parts = Parts.of(places[:, 0], places[:, 1], places[:, 2])
        return msgspec.structs.replace(Coverage.of_mask(shard, self.low, self._settled), parts=parts)
