"""Texts that are parts of other texts: places in memory, of which nothing is copied until it comes out.

All are ASCII, so that characters are bytes: whoever makes `Texts` of a column proves it. The work is done by compiled code
(`connectors.formats.text_kernel`); without it, or where a text is not ASCII, `Left` says that DuckDB has to do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import pyarrow as pa

_SIZE = 0xFFFFFFFF
_PADDING = 32
_MEMORIES_MAX = 256
_HIGH = np.uint64(0x8080808080808080)


class Left(Exception):
    """This is for DuckDB to do."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Whole numbers (int64, or one for all rows), and which of them are `given` (bool; None: all)."""

    values: np.ndarray | int
    given: np.ndarray | None = None

    @staticmethod
    def of(column: pa.Array) -> Numbers:
        """Of int64, or of the milliseconds of times."""
        if column.type != pa.int64():
            column = column.cast(pa.int64())
        if not column.null_count:
            return Numbers(column.to_numpy())
        return Numbers(column.fill_null(0).to_numpy(), _given(column))

    def take(self, rows: np.ndarray) -> Numbers:
        values = self.values if isinstance(self.values, int) else self.values[rows]
        return Numbers(values, _taken(self.given, rows))

    def stepped(self) -> tuple[np.ndarray, int]:
        """An array, and how far it is in it from one row to the next."""
        if isinstance(self.values, int):
            return np.array([self.values], np.int64), 0
        return self.values, 1


@dataclass(frozen=True, slots=True)
class Texts:
    """`places` as the kernel has them, in `memories` (uint8), of which `which` has the number for each row (uint8; None: all
    in the first). Rows that are not `given` (bool; None: all are) have place 0."""

    kernel: ModuleType
    memories: tuple[np.ndarray, ...]
    places: np.ndarray
    given: np.ndarray | None = None
    which: np.ndarray | None = None

    @staticmethod
    def of(kernel: ModuleType, column: pa.Array, rows: np.ndarray | None, *, only_moved: bool = False) -> Texts:
        """The texts of a column, or of some rows of it. Those that are `only_moved` need not be ASCII. Raises `Left`."""
        if column.type != pa.string():
            raise Left
        _, offsets_buffer, data = column.buffers()
        offsets = np.frombuffer(offsets_buffer, np.int32)[column.offset : column.offset + len(column) + 1]
        memory = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
        if not only_moved and not _ascii(memory[offsets[0] : offsets[-1]]):
            raise Left
        places = np.empty(len(column), np.int64)
        kernel.placed(offsets, places)
        given = None
        if column.null_count:
            given = _given(column)
            places *= given
        texts = Texts(kernel, (memory,), places, given)
        return texts if rows is None else texts.take(rows)

    @staticmethod
    def all(kernel: ModuleType, text: str, count: int) -> Texts:
        """The same for all rows. Raises `Left`."""
        if not text.isascii():
            raise Left
        memory = np.frombuffer(text.encode() + bytes(_PADDING), np.uint8)
        return Texts(kernel, (memory,), np.full(count, len(text), np.int64))

    @staticmethod
    def none(kernel: ModuleType, count: int) -> Texts:
        """NULL for all rows."""
        return Texts(kernel, (np.empty(0, np.uint8),), np.zeros(count, np.int64), np.zeros(count, np.bool_))

    @staticmethod
    def times(kernel: ModuleType, times: Numbers) -> Texts:
        """Milliseconds of the years 1 to 9999 as text."""
        values, _ = times.stepped()
        memory = np.empty(len(values) * kernel.INSTANT_SIZE + _PADDING, np.uint8)
        places = np.empty(len(values), np.int64)
        kernel.instants(values, memory.ctypes.data, places)
        if times.given is not None:
            places *= times.given
        return Texts(kernel, (memory,), places, times.given)

    def take(self, rows: np.ndarray) -> Texts:
        which = None if self.which is None else self.which[rows]
        return Texts(self.kernel, self.memories, self.places[rows], _taken(self.given, rows), which)

    def lengths(self) -> Numbers:
        return Numbers(self.places & _SIZE, self.given)

    def cut(self, start: Numbers, count: Numbers | None) -> Texts:
        """`count` characters from the `start` on, which counts from 1. Raises `Left`."""
        starts, start_step = start.stepped()
        counts, count_step = (Numbers(_SIZE) if count is None else count).stepped()
        places = np.empty_like(self.places)
        if not self.kernel.cut(self.places, starts, start_step, counts, count_step, places):
            raise Left
        given = both(self.given, start.given, None if count is None else count.given)
        if given is not self.given:
            places *= given
        return replace(self, places=places, given=given)

    def find(self, needle: bytes) -> Numbers:
        """Where a text begins in each, counted from 1; 0 for nowhere."""
        base, stop, single = self._together()
        sought, found = np.frombuffer(needle, np.uint8), np.empty_like(self.places)
        self.kernel.find(base, stop, single.places, sought.ctypes.data, len(needle), found)
        return Numbers(found, self.given)

    def equal(self, other: bytes) -> np.ndarray:
        base, _, single = self._together()
        sought, same = np.frombuffer(other + b"\0", np.uint8), np.empty(len(self.places), np.bool_)
        self.kernel.equal(base, single.places, sought.ctypes.data, len(other), same)
        return same

    def folded(self, upper: bool) -> Texts:
        base, _, single = self._together()
        memory = np.empty(self._size() + _PADDING, np.uint8)
        places = np.empty_like(self.places)
        first, change = (ord("a"), -32) if upper else (ord("A"), 32)
        self.kernel.fold(base, single.places, first, change, memory.ctypes.data, places)
        return Texts(self.kernel, (memory,), places if self.given is None else places * self.given, self.given)

    def joined(self, other: Texts) -> Texts:
        """Each with the other's behind it. Raises `Left`."""
        base, stop, single = self._together()
        other_base, other_stop, others = other._together()
        size = self._size() + other._size()
        if size >= 1 << 31:
            raise Left
        memory = np.empty(size + _PADDING, np.uint8)
        places = np.empty_like(self.places)
        self.kernel.join(base, stop, single.places, other_base, other_stop, others.places, memory.ctypes.data, places)
        given = both(self.given, other.given)
        return Texts(self.kernel, (memory,), places if given is None else places * given, given)

    def array(self) -> pa.Array:
        """As a column of strings. Raises `Left`."""
        if self._size() >= 1 << 31:
            raise Left
        count = len(self.places)
        offsets = np.empty(count + 1, np.int32)
        memory = np.empty(self.kernel.ends(self.places, offsets) + _PADDING, np.uint8)
        which = np.zeros(count, np.uint8) if self.which is None else self.which
        bases = np.array([each.ctypes.data for each in self.memories], np.int64)
        stops = bases + np.array([len(each) for each in self.memories], np.int64)
        self.kernel.gather(bases, stops, which, self.places, offsets, memory.ctypes.data)
        bits = None if self.given is None else pa.py_buffer(np.packbits(self.given, bitorder="little"))
        return pa.Array.from_buffers(pa.string(), count, [bits, pa.py_buffer(offsets), pa.py_buffer(memory)])

    def _size(self) -> int:
        return int((self.places & _SIZE).sum())

    def _together(self) -> tuple[int, int, Texts]:
        """In one memory, its begin and its end."""
        texts = self if len(self.memories) == 1 else Texts.of(self.kernel, self.array(), None, only_moved=True)
        (memory,) = texts.memories
        return memory.ctypes.data, memory.ctypes.data + len(memory), texts


def chosen(texts: Sequence[Texts], arm: np.ndarray) -> Texts:
    """Of several texts of each row that of its `arm` (their number, uint8). Those behind the last are NULL."""
    kernel, given = texts[0].kernel, arm < len(texts)
    places = np.zeros(len(arm), np.int64)
    which = np.zeros(len(arm), np.uint8)
    memories: list[np.ndarray] = []
    for number, each in enumerate(texts):
        if len(memories) + len(each.memories) > _MEMORIES_MAX:
            raise Left
        own = np.zeros(1, np.uint8) if each.which is None else each.which
        kernel.pick(arm, number, len(memories), each.places, own, places, which)
        if each.given is not None:
            given &= each.given | (arm != number)
        memories += each.memories
    return Texts(kernel, tuple(memories), places, None if given.all() else given, which)


def both(*given: np.ndarray | None) -> np.ndarray | None:
    """What all of some say."""
    known = [each for each in given if each is not None]
    if not known:
        return None
    found = known[0]
    for each in known[1:]:
        if each is not found:
            found = found & each
    return found


def _taken(given: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    if given is None:
        return None
    taken = given[rows]
    return None if taken.all() else taken


def _given(column: pa.Array) -> np.ndarray:
    given: np.ndarray = column.is_valid().to_numpy(zero_copy_only=False)
    return given


def _ascii(memory: np.ndarray) -> bool:
    whole = len(memory) // 8 * 8
    words = memory[:whole].view(np.uint64)
    return not (int(np.bitwise_or.reduce(words)) & int(_HIGH)) and not (memory[whole:] > 127).any()
