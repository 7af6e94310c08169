"""Digits → numbers, days and milliseconds: the arithmetic of the compiled JSON reader."""

from __future__ import annotations

from typing import Any

import numpy as np

from connectors.formats.json_simd import STEP, byte, eight, inlined, no_digits

BAD = np.iinfo(np.int64).min
"""No time."""
_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_MINUS, _DOT, _COLON, _BLANK, _T, _Z = (ord(each) for each in "-.: TZ")


@inlined
def others(at: int, stop: int) -> int:
    """A bit for each of 32 bytes that is no digit, or not there."""
    if at + STEP <= stop:
        return no_digits(at)
    found: Any = np.int64(0)
    for number in range(STEP):
        if at + number >= stop or not 48 <= byte(at + number) <= 57:
            found |= np.int64(1) << number
    return found


@inlined
def digits(at: int, count: int, stop: int) -> int:
    """The number of at most 18 digits."""
    if count <= 16 and at + 16 <= stop:
        if count <= 8:
            return _of_eight(at, count)
        return _of_eight(at, count - 8) * 100_000_000 + _of_eight(at + count - 8, 8)
    value = 0
    for number in range(at, at + count):
        value = value * 10 + byte(number) - 48
    return value


@inlined
def _of_eight(at: int, count: int) -> int:
    """The number of one to eight digits; eight bytes are there. Tens, then hundreds, then all of it at once."""
    word = (eight(at) & 0x0F0F0F0F0F0F0F0F) << (64 - 8 * count)
    word = word * 10 + (word >> 8)
    return ((word & 0xFF000000FF) * 0xF424000000064 + ((word >> 16) & 0xFF000000FF) * 0x271000000001) >> 32


@inlined
def _two(at: int) -> int:
    return byte(at) * 10 + byte(at + 1) - 528


@inlined
def _day(at: int) -> int:
    """Days since 1970 of ``yyyy-mm-dd`` in which the digits are digits; `BAD` where it is none."""
    year, month, day = _two(at) * 100 + _two(at + 2), _two(at + 5), _two(at + 8)
    if byte(at + 4) != _MINUS or byte(at + 7) != _MINUS or year < 1 or not 1 <= month <= 12 or day < 1:
        return BAD
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > _DAYS[month - 1] + leap:
        return BAD
    if month <= 2:
        year -= 1
        month += 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 1 - 719468


@inlined
def date(at: int, end: int, stop: int) -> int:
    """Days since 1970 of a date; `BAD`."""
    return _day(at) if end - at == 10 and others(at, stop) & 0x3FF == 0x90 else BAD


@inlined
def instant(at: int, end: int, stop: int) -> int:
    """Milliseconds since 1970 of a date, or of a date and time to the second or millisecond, with Z or without; `BAD`."""
    size = end - at
    if size == 10:
        day = date(at, end, stop)
        return day if day == BAD else day * 86_400_000
    if size == 20 or size == 24:
        if byte(end - 1) != _Z:
            return BAD
        size -= 1
    if size != 19 and size != 23:
        return BAD
    # No digits but the signs at 4, 7, 10, 13 and 16, and the point at 19.
    if others(at, stop) & ((np.int64(1) << size) - 1) != (0x12490 if size == 19 else 0x92490):
        return BAD
    day, hour, minute, second = _day(at), _two(at + 11), _two(at + 14), _two(at + 17)
    middle = byte(at + 10)
    if (middle != _T and middle != _BLANK) or byte(at + 13) != _COLON or byte(at + 16) != _COLON:
        return BAD
    if day == BAD or hour > 23 or minute > 59 or second > 59:
        return BAD
    milliseconds = 0
    if size == 23:
        if byte(at + 19) != _DOT:
            return BAD
        milliseconds = _two(at + 20) * 10 + byte(at + 22) - 48
    return ((day * 24 + hour) * 60 + minute) * 60_000 + second * 1_000 + milliseconds
