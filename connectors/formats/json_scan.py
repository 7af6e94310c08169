"""The fast way into columns: records that are plain are read by a compiled kernel (`json_kernel`), the others are named.

Plain is an object whose keys and texts have no backslash, whose numbers have at most 18 digits and no exponent, and whose
values are of the kind that their column asks for: whole numbers, doubles, decimals that need no rounding, texts, true and
false, ISO dates and times. What
is read here is what DuckDB reads; what is not is left to it, record by record.

The kernel needs numba (``headrace[fast]``). Loading it takes 1.4 s of CPU and 120 MB, and compiling, once on a machine,
some six seconds: so it is loaded beside the work, and only by a process that has read `RECORDS_BEFORE`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import resource
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa

from connectors.formats.schema import Column

RECORDS_BEFORE = 250_000
"""Records that a process reads without the kernel: about what loading it costs."""
MEMORY_MIN = 1 << 30
"""A process that may have less (RLIMIT_DATA) goes without: a compiler that finds no memory ends it."""
COLUMNS_MAX = 63
"""Columns of a scan: the kernel notes those that it has seen in the bits of a number."""
_PADDING = 32

_log = logging.getLogger(__name__)


class _Loader:
    """The kernel of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loading: threading.Thread | None = None
        self._records = 0
        self.kernel: ModuleType | None = None
        self.texts: ModuleType | None = None

    def count(self, records: int) -> None:
        """So many records have been read without it."""
        self._records += records
        if self._records >= RECORDS_BEFORE and self._loading is None:
            self.begin()

    def begin(self) -> threading.Thread:
        with self._lock:
            if self._loading is None:
                self._loading = threading.Thread(target=self._load, name="json kernel is loaded", daemon=True)
                self._loading.start()
            return self._loading

    def _load(self) -> None:
        allowed, _ = resource.getrlimit(resource.RLIMIT_DATA)
        if importlib.util.find_spec("numba") is None or 0 <= allowed < MEMORY_MIN:
            return
        try:
            from connectors.formats import json_kernel, text_kernel

            Scan([Column("a", pa.string())]).run(json_kernel, pa.array([b'{"a":"b"}']))
            self.kernel = json_kernel
            self.texts = text_kernel
        except Exception:
            # Without it everything works as before, only slower.
            _log.warning("the compiled JSON reader cannot be loaded; DuckDB reads all records", exc_info=True)


_loader = _Loader()


def texts(records: int) -> ModuleType | None:
    """`text_kernel`, for whoever has so many records to do with it; None where there is none, or not yet."""
    if _loader.texts is None:
        _loader.count(records)
    return _loader.texts


def load() -> bool:
    """Loads the kernel now, and says whether there is one: for whoever would measure, or has much to read."""
    _loader.begin().join()
    return _loader.kernel is not None


@contextlib.contextmanager
def used(wanted: bool) -> Iterator[None]:
    """Inside, the kernel is used if there is one and it is `wanted`: for whoever compares both. For one thread."""
    kernel, _loader.kernel = _loader.kernel, _loader.kernel if wanted else None
    try:
        yield
    finally:
        _loader.kernel = kernel


@dataclass(frozen=True, slots=True)
class Scanned:
    """The values of each column; the numbers of the records that were `left`, whose values mean nothing; and whether all
    that was read is ASCII. What is not, has to be proved to be UTF-8."""

    arrays: list[pa.Array]
    left: np.ndarray
    ascii: bool


def scan(columns: Scan | None, data: pa.Array) -> Scanned | None:
    """What the kernel reads of records (binary). None where there is none, or it is of no use for these columns."""
    if columns is None or data.null_count or not columns.useful():
        return None
    if _loader.kernel is None:
        _loader.count(len(data))
        return None
    found = columns.run(_loader.kernel, data)
    columns.note(len(data), len(found.left))
    return found


def planned(columns: Sequence[Column], paths: Sequence[tuple[str, ...]]) -> Scan | None:
    """A scan of columns that are values at `paths`; None for columns that no scan reads."""
    names = [path[0] for path in paths]
    if any(len(path) > 1 for path in paths) or len(set(names)) < len(names) or not 0 < len(names) <= COLUMNS_MAX:
        return None
    if any(_kind(column.type) is None for column in columns):
        return None
    return Scan([Column(name, column.type) for name, column in zip(names, columns, strict=True)])


_SKIPPED_BATCHES = 16
"""Batches for which DuckDB reads everything, after one of which more than half was left to it."""


class Scan:
    """Columns of which each is the value of the key that is its name."""

    def __init__(self, columns: Sequence[Column]) -> None:
        keys = [column.name.encode() for column in columns]
        self._types = [column.type for column in columns]
        self._keys = np.frombuffer(b"".join(keys) + bytes(_PADDING), np.uint8)
        self._key_ends = np.cumsum([len(key) for key in keys])
        self._kinds = np.array([_kind(kind) for kind in self._types], np.int64)
        bounds = [np.iinfo(kind.to_pandas_dtype() if pa.types.is_integer(kind) else np.int64) for kind in self._types]
        self._least, self._most = (np.array([getattr(each, way) for each in bounds]) for way in ("min", "max"))
        self._skips = 0

    def useful(self) -> bool:
        """Whether to try: what a producer writes that is not plain, it mostly goes on writing."""
        if self._skips:
            self._skips -= 1
            return False
        return True

    def note(self, count: int, left: int) -> None:
        if 2 * left > count:
            self._skips = _SKIPPED_BATCHES

    def run(self, kernel: ModuleType, data: pa.Array) -> Scanned:
        count = len(data)
        _, offset_buffer, bytes_buffer = data.buffers()
        offsets = np.frombuffer(offset_buffer, np.int32)[data.offset : data.offset + count + 1]
        base, size = (0, 0) if bytes_buffer is None else (bytes_buffer.address, bytes_buffer.size)
        values = np.empty((len(self._types), count), np.int64)
        given, left = np.zeros(values.shape, np.uint8), np.empty(count, np.int64)
        between = np.zeros(kernel.BETWEEN_SIZE + 1, np.uint8)
        found = kernel.scan(
            base,
            base + size,
            offsets,
            self._keys.ctypes.data,
            self._key_ends,
            self._kinds,
            self._least,
            self._most,
            between.ctypes.data,
            between.ctypes.data + kernel.BETWEEN_SIZE,
            values,
            given,
            left,
        )
        left = left[:found]
        for number, kind in enumerate(self._types):
            if pa.types.is_decimal(kind):
                left = np.union1d(left, _scaled(values[number], given[number], kind))
        memory = (kernel, base, base + size)
        arrays = [_array(kind, values[number], given[number], memory) for number, kind in enumerate(self._types)]
        return Scanned(arrays, left, not between[-1])


# As json_kernel has them, which may not be there.
_SKIPPED, _WHOLE, _REAL, _TEXT, _BOOLEAN, _TIME, _DATE, _DECIMAL = range(8)
_DIGITS = 2
_BEHIND_BITS = 5
_PRECISION_MAX = 18
"""Of the decimals that a scan reads: int64 holds them."""


def _kind(kind: pa.DataType) -> int | None:
    if pa.types.is_integer(kind):
        return _WHOLE
    if pa.types.is_floating(kind):
        return _REAL
    if pa.types.is_decimal128(kind) and kind.precision <= _PRECISION_MAX and kind.scale >= 0:
        return _DECIMAL
    return {pa.string(): _TEXT, pa.bool_(): _BOOLEAN, pa.timestamp("ms"): _TIME, pa.date32(): _DATE}.get(kind)


def _array(kind: pa.DataType, values: np.ndarray, given: np.ndarray, memory: tuple[Any, int, int]) -> pa.Array:
    count, valid = len(values), int(np.count_nonzero(given))
    bits = None if valid == count else pa.py_buffer(np.packbits(given, bitorder="little"))
    if pa.types.is_string(kind):
        offsets, data = _bytes(values, given, memory)
        return pa.Array.from_buffers(kind, count, [bits, offsets, data], count - valid)
    if pa.types.is_floating(kind):
        if valid and given.max() == _DIGITS:
            _read_digits(values, given, memory)
        values = values.view(np.float64)
    if pa.types.is_boolean(kind):
        values = np.packbits(values == 1, bitorder="little")
    elif pa.types.is_decimal(kind):
        values = np.stack([values, values >> 63], axis=1)
    elif pa.types.is_date(kind):
        values = values.astype(np.int32)
    elif not pa.types.is_timestamp(kind):
        # What stands where nothing was given may be too great for its type, and means nothing.
        with np.errstate(all="ignore"):
            values = values.astype(kind.to_pandas_dtype(), copy=False)
    return pa.Array.from_buffers(kind, count, [bits, pa.py_buffer(values)], count - valid)


def _scaled(values: np.ndarray, given: np.ndarray, kind: pa.DataType) -> np.ndarray:
    """Brings decimals to the scale of their type. The numbers of the records with one that does not fit, or would have to
    be rounded."""
    behind = np.where(given, values & ((1 << _BEHIND_BITS) - 1), 0)
    values >>= _BEHIND_BITS
    more = kind.scale - behind
    bad = (more < 0) | (np.abs(values) >= 10 ** np.clip(kind.precision - more, 0, _PRECISION_MAX))
    bad &= given != 0
    values *= 10 ** np.where(bad | (given == 0), 0, np.clip(more, 0, _PRECISION_MAX))
    values[bad | (given == 0)] = 0
    return np.flatnonzero(bad)


def _bytes(values: np.ndarray, given: np.ndarray, memory: tuple[Any, int, int]) -> tuple[pa.Buffer, pa.Buffer]:
    """Offsets and bytes of what `values` tells."""
    kernel, base, stop = memory
    offsets = np.empty(len(values) + 1, np.int32)
    size = kernel.measure(values, given, offsets)
    target = np.empty(size + _PADDING, np.uint8)
    kernel.copy(base, stop, values, given, offsets, target.ctypes.data)
    return pa.py_buffer(offsets), pa.py_buffer(target)


def _read_digits(values: np.ndarray, given: np.ndarray, memory: tuple[Any, int, int]) -> None:
    """Numbers with more digits than the kernel reads exactly, put where their places stood."""
    which = np.flatnonzero(given == _DIGITS)
    offsets, data = _bytes(values[which], given[which], memory)
    texts = pa.Array.from_buffers(pa.string(), len(which), [None, offsets, data])
    values.view(np.float64)[which] = texts.cast(pa.float64()).to_numpy()
