"""From what `json_transform` gives (`json_plan.read_as`) to the types of columns, in Arrow and numpy.

A value that is not plainly of its column's type becomes NULL here, and DuckDB is asked about it (`json_plan.converting`).
Times are parsed a column at a time: all of them, or none.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_EXACT = 9_007_199_254_740_992
"""2⁵³: below it a double tells every whole number apart."""
_YEAR_1_MS = -62_135_596_800_000
_DAY_MS = 86_400_000

_DATE_SIZES = {10}
_TIME_SIZES = {10, 19, 23}
"""Lengths of ISO times without a zone: a date, seconds, milliseconds. Arrow and DuckDB read these alike."""


def typed(raw: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """The values of `raw` that are plainly of type `kind`, NULL for the others; None: all of them have to be asked about."""
    if pa.types.is_integer(kind):
        return _whole(raw, kind)
    if pa.types.is_floating(kind):
        return _finite(raw, kind)
    if raw.null_count == len(raw):
        return pa.nulls(len(raw), kind)
    if pa.types.is_timestamp(kind):
        return _times(raw)
    if pa.types.is_date(kind):
        return _dates(raw)
    return None if pa.types.is_binary(kind) else raw


def ambiguous(kind: pa.DataType) -> bool:
    """Whether a NULL of `raw` may be a value that does not fit; text holds whatever is there."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def _whole(raw: pa.Array, kind: pa.DataType) -> pa.Array:
    numbers = raw.to_numpy(zero_copy_only=False)  # NULL is NaN
    bounds = np.iinfo(kind.to_pandas_dtype())
    good = (np.trunc(numbers) == numbers) & (np.abs(numbers) < _EXACT)
    good &= (numbers >= bounds.min) & (numbers <= bounds.max)
    if good.all():
        return pa.array(numbers.astype(bounds.dtype))
    return pa.array(np.where(good, numbers, 0).astype(bounds.dtype), mask=~good)


def _finite(raw: pa.Array, kind: pa.DataType) -> pa.Array:
    numbers = raw.to_numpy(zero_copy_only=False)
    if pa.types.is_float32(kind):
        with np.errstate(over="ignore"):
            numbers = numbers.astype(np.float32)
    good = np.isfinite(numbers)
    return pa.array(numbers) if good.all() else pa.array(numbers, mask=~good)


def _times(raw: pa.Array) -> pa.Array | None:
    utc = pc.ends_with(raw, "Z")
    some, every = pc.any(utc).as_py(), pc.all(utc).as_py()
    if some != every:
        return None
    sizes = {size - 1 for size in _sizes(raw)} - {10} if every else _sizes(raw)
    if not sizes <= _TIME_SIZES:
        return None
    try:
        times = raw.cast(pa.timestamp("ms", "UTC")) if every else raw.cast(pa.timestamp("ms"))
    except pa.ArrowInvalid:
        return None
    times = times.cast(pa.timestamp("ms"))
    return times if pc.min(times.cast(pa.int64())).as_py() >= _YEAR_1_MS else None


def _dates(raw: pa.Array) -> pa.Array | None:
    if not _sizes(raw) <= _DATE_SIZES:
        return None
    try:
        dates = raw.cast(pa.date32())
    except pa.ArrowInvalid:
        return None
    return dates if pc.min(dates.cast(pa.int32())).as_py() >= _YEAR_1_MS // _DAY_MS else None


def _sizes(raw: pa.Array) -> set[int]:
    return {size for size in pc.unique(pc.binary_length(raw)).to_pylist() if size is not None}
