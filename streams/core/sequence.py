"""Sequence numbers: offsets in AWS's clothes.

AWS's sequence number is the decimal form of a 186-bit number, 56 digits today. In hexadecimal, 47 digits:

    2 | ccccccccc | n | iiiiiiiiiiiiiiii | 00 | aaaaaaaaa | ssssssss | 2
    │   shard       │   index              │    arrival     shard      version
    │   creation,   low nibble of          │    time, s     index
    │   seconds     the shard index        zero

Headrace's index is the record's offset in its shard plus one, so that the shard's own StartingSequenceNumber (index 0)
lies below every record of it and a closed shard's EndingSequenceNumber (index 2⁶³−1) above. KCL depends on bit 185
being set, on the version and on ``(n >> 4) & 0xffffffff`` being the shard index.

Worked example: shard 6 created 1542776258, index 1734642199, arrival 1545084650 is
49590338271490256608559692538361571095921575989136588898.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

_INDEX_SHIFT = 4 * (2 + 9 + 8 + 1)
_ARRIVAL_SHIFT = 4 * (8 + 1)
_CREATED_SHIFT = 4 * (1 + 16 + 2 + 9 + 8 + 1)
_NIBBLE_SHIFT = 4 * (16 + 2 + 9 + 8 + 1)
_TOP = 2 << (4 * 46)
_INDEX_END = 2**63 - 1


@dataclass(frozen=True, slots=True)
class SequenceNumber:
    """The fields of a sequence number. `index` 0 is the shard's start, offset + 1 a record, 2⁶³−1 the shard's end."""

    created_s: int
    shard_index: int
    index: int
    arrival_s: int

    def __int__(self) -> int:
        return base(self.created_s, self.shard_index, self.arrival_s) + (self.index << _INDEX_SHIFT)

    def __str__(self) -> str:
        return str(int(self))

    @property
    def offset(self) -> int:
        """The offset of the record that carries this number (-1 for the shard's start)."""
        return self.index - 1

    @staticmethod
    def parse(text: str) -> SequenceNumber:
        """Raises ValueError where `text` is not a sequence number of version 2."""
        if not text.isascii() or not text.isdigit() or len(text) > 60:
            raise ValueError(f"not a sequence number: {text[:80]!r}")
        number = int(text)
        if number >> (4 * 46) != 2 or number & 0xF != 2:
            raise ValueError(f"not a sequence number of version 2: {text!r}")
        return SequenceNumber(
            created_s=(number >> _CREATED_SHIFT) & 0xFFFFFFFFF,
            shard_index=(number >> 4) & 0xFFFFFFFF,
            index=(number >> _INDEX_SHIFT) & 0xFFFFFFFFFFFFFFFF,
            arrival_s=(number >> _ARRIVAL_SHIFT) & 0xFFFFFFFFF,
        )


@lru_cache(maxsize=1024)
def base(created_s: int, shard_index: int, arrival_s: int) -> int:
    """The number of index 0 at this arrival second; add ``(offset + 1) << 80`` for a record.

    It changes once a second for a shard, so it is remembered.
    """
    return (
        _TOP
        | (created_s << _CREATED_SHIFT)
        | ((shard_index & 0xF) << _NIBBLE_SHIFT)
        | (arrival_s << _ARRIVAL_SHIFT)
        | (shard_index << 4)
        | 2
    )


def of_record(created_ms: int, shard_index: int, offset: int, arrival_ms: int) -> SequenceNumber:
    return SequenceNumber(created_ms // 1000, shard_index, offset + 1, arrival_ms // 1000)


def of_start(created_ms: int, shard_index: int) -> SequenceNumber:
    """StartingSequenceNumber of a shard."""
    return SequenceNumber(created_ms // 1000, shard_index, 0, created_ms // 1000)


def of_end(created_ms: int, shard_index: int, closed_ms: int) -> SequenceNumber:
    """EndingSequenceNumber of a closed shard: above every record of it."""
    return SequenceNumber(created_ms // 1000, shard_index, _INDEX_END, closed_ms // 1000)
