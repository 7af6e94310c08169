"""The bytes of texts that the compiled JSON reader has found, put behind one another."""

from __future__ import annotations

from typing import Any

import numpy as np

from connectors.formats.json_simd import compiled, copy_bytes


@compiled
def measure(values: np.ndarray, given: np.ndarray, offsets: np.ndarray) -> int:
    """The offsets (int32, one more than there are values) of the bytes that `values` tells; how many they are."""
    total: Any = np.int64(0)
    for row in range(len(values)):
        offsets[row] = total
        if given[row]:
            total += values[row] & 0xFFFFFFFF
    offsets[len(values)] = total
    return total


@compiled
def copy(base: int, stop: int, values: np.ndarray, given: np.ndarray, offsets: np.ndarray, target: int) -> None:
    """The bytes that `values` tells, to their `offsets` from `target` on, which has 32 bytes more."""
    for row in range(len(values)):
        if given[row]:
            at, size, to = base + (values[row] >> 32), values[row] & 0xFFFFFFFF, target + np.int64(offsets[row])
            copy_bytes(at, size, stop, to)
