"""Flat JSON objects → columns, compiled by numba. It reads what is plain, and proves it; `json_scan` has the rest read otherwise.

A batch of records mostly repeats one shape: the same keys in the same order, written in the same way. So what stands between
two values (``,"price":``) is looked up once, remembered as bytes, and from then on compared, 32 bytes at a time. Every byte
of a record is checked: whoever is accepted is valid JSON, whatever was asked of it.

numba remembers compiled code by the time when this file was changed: change it too where `json_simd` or `json_digits` do.
"""

from __future__ import annotations

import numpy as np

from connectors.formats.json_digits import BAD, date, digits, instant, others
from connectors.formats.json_simd import (
    STEP,
    bits,
    byte,
    compiled,
    inlined,
    lowest,
    move,
    put,
    special,
    unlike,
)
from connectors.formats.json_texts import copy, measure

SKIPPED, WHOLE, REAL, TEXT, BOOLEAN, TIME, DATE, DECIMAL = range(8)
"""What a value is read as: not at all, int64, float64, its bytes, 0 or 1, milliseconds, days; its digits as a whole number
and, in the lowest `BEHIND_BITS`, how many of them follow the point."""
BEHIND_BITS = 5

NULL, GIVEN, DIGITS = range(3)
"""What stands in `values`: nothing; the value; where the digits of a REAL stand that are too many to be read exactly here.
Bytes are told by where they begin (the upper 32 bits) and how many they are."""

__all__ = ["BETWEEN_SIZE", "copy", "measure", "scan"]

MEMBERS = 64
"""Members of an object whose surroundings are remembered."""
_BETWEEN = 64
"""Bytes that are remembered between two values."""
BETWEEN_SIZE = MEMBERS * _BETWEEN + STEP
_DEPTH_MAX = 60
_DIGITS_MAX = 18
"""Digits of a whole number that int64 always holds."""
_EXACT_DIGITS = 15
"""Digits that a double always holds; divided by a power of ten up to 10²² it is rounded once, hence rightly."""
_FENCE = 1 << STEP
"""A bit behind 32, so that there is a lowest one."""
_TENS = np.array([10**exponent for exponent in range(19)])
_POWERS = np.array([10.0**exponent for exponent in range(23)])

_QUOTE, _BACKSLASH, _COMMA, _MINUS, _DOT, _ZERO, _COLON = (ord(each) for each in '"\\,-.0:')
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST, _BLANK = (ord(each) for each in "{}[] ")


@inlined
def _string_end(at: int, end: int, stop: int, wide: int) -> int:
    """Where the string is closed whose first byte is at `at`; -1 where it is not plain. Notes at `wide` what is not ASCII."""
    while at + STEP <= stop:
        found = special(at)
        if found != 0:
            at += lowest(found)
            break
        at += STEP
        if at >= end:
            return -1
    if at < end and byte(at) == _QUOTE:
        return at
    return _long_end(at, end, wide)


@compiled
def _long_end(at: int, end: int, wide: int) -> int:
    """The same, byte by byte."""
    while at < end:
        char = byte(at)
        if char == _QUOTE:
            return at
        if char == _BACKSLASH or char < _BLANK:
            return -1
        if char > 127:
            put(wide, 1)
        at += 1
    return -1


@inlined
def _same(at: int, other: int, size: int, stop: int) -> bool:
    """Whether `size` bytes are alike; behind `other` 32 more may be read."""
    if at + size + STEP <= stop:
        while size > STEP:
            if unlike(at, other) != 0:
                return False
            at += STEP
            other += STEP
            size -= STEP
        return (unlike(at, other) & ((np.int64(1) << size) - 1)) == 0
    for number in range(size):  # noqa: SIM110
        if byte(at + number) != byte(other + number):
            return False
    return True


@inlined
def _blank(at: int, end: int) -> int:
    """Behind white space."""
    while at < end and (byte(at) == 32 or byte(at) == 10 or byte(at) == 13 or byte(at) == 9):
        at += 1
    return at


@inlined
def _number_end(at: int, end: int, stop: int) -> tuple[int, int]:
    """Behind a number, and how many of its digits follow a point; (-1, 0) where it is none, or not plain."""
    begin = at
    first = at + (byte(at) == _MINUS)
    count = lowest(others(first, stop) | _FENCE)
    at = first + count
    if count == 0 or at > end or (count > 1 and byte(first) == _ZERO) or count > _DIGITS_MAX:
        return -1, 0
    if at == end:
        return at, 0
    char = byte(at)
    behind = 0
    if char == _DOT:
        behind = lowest(others(at + 1, stop) | _FENCE)
        at += 1 + behind
        if behind == 0 or behind == STEP or at >= end:
            return -1, 0
        char = byte(at)
    elif first > begin and count == 1 and byte(first) == _ZERO:
        return -1, 0  # -0 is another thing to a double than to a whole number
    return (-1, 0) if char == 101 or char == 69 else (at, behind)


@inlined
def _word_end(at: int, end: int) -> tuple[int, int]:
    """Behind true (1), false (0) or null (2); (-1, 0) where it is none of them."""
    if at + 4 <= end:
        if byte(at) == 116 and byte(at + 1) == 114 and byte(at + 2) == 117 and byte(at + 3) == 101:
            return at + 4, 1
        if byte(at) == 110 and byte(at + 1) == 117 and byte(at + 2) == 108 and byte(at + 3) == 108:
            return at + 4, 2
        if (
            at + 5 <= end
            and byte(at) == 102
            and byte(at + 1) == 97
            and byte(at + 2) == 108
            and byte(at + 3) == 115
            and byte(at + 4) == 101
        ):
            return at + 5, 0
    return -1, 0


@compiled
def _key_end(at: int, end: int, stop: int, wide: int) -> tuple[int, int, int]:
    """Behind the colon and the blanks of a key, and where the key's bytes begin and end; (-1, 0, 0) where there is none."""
    at = _blank(at, end)
    if at >= end or byte(at) != _QUOTE:
        return -1, 0, 0
    close = _string_end(at + 1, end, stop, wide)
    if close < 0:
        return -1, 0, 0
    colon = _blank(close + 1, end)
    if colon >= end or byte(colon) != _COLON:
        return -1, 0, 0
    return _blank(colon + 1, end), at + 1, close


@inlined
def _scalar_end(at: int, end: int, stop: int, wide: int) -> int:
    """Behind a plain value that is no object and no list; -1."""
    if at >= end:
        return -1
    char = byte(at)
    if char == _QUOTE:
        close = _string_end(at + 1, end, stop, wide)
        return close + 1 if close >= 0 else -1
    if char == _MINUS or 48 <= char <= 57:
        return _number_end(at, end, stop)[0]
    return _word_end(at, end)[0]


@compiled
def _nested_end(at: int, end: int, stop: int, wide: int) -> int:
    """Behind an object or a list, which is checked through and through; -1."""
    depth, objects = 0, 0
    while True:
        if at >= end:
            return -1
        fresh = False
        if byte(at) == _OPEN or byte(at) == _OPEN_LIST:
            inside = 1 if byte(at) == _OPEN else 0
            depth += 1
            if depth > _DEPTH_MAX:
                return -1
            objects = (objects << 1) | inside
            at = _blank(at + 1, end)
            fresh = at < end and (byte(at) == _CLOSE if inside == 1 else byte(at) == _CLOSE_LIST)
            if not fresh:
                if inside == 1:
                    at = _key_end(at, end, stop, wide)[0]
                    if at < 0:
                        return -1
                continue
        else:
            at = _scalar_end(at, end, stop, wide)
            if at < 0:
                return -1
        while True:
            at = _blank(at, end)
            if at >= end:
                return -1
            inside = objects & 1
            if byte(at) == _COMMA and not fresh:
                at = _blank(at + 1, end)
                if inside == 1:
                    at = _key_end(at, end, stop, wide)[0]
                    if at < 0:
                        return -1
                break
            if byte(at) != (_CLOSE if inside == 1 else _CLOSE_LIST):
                return -1
            fresh = False
            at += 1
            objects >>= 1
            depth -= 1
            if depth == 0:
                return at


@inlined
def _taken(at: int, end: int, kind: int, base: int, stop: int, wide: int) -> tuple[int, int, int]:
    """Behind a value of one column, what there is, and the value; (-1, 0, 0) where it is not plainly of its kind."""
    char = byte(at)
    if char == _QUOTE:
        close = _string_end(at + 1, end, stop, wide)
        if close < 0:
            return -1, 0, 0
        if kind == TEXT:
            return close + 1, GIVEN, ((at + 1 - base) << 32) | (close - at - 1)
        value = BAD
        if kind == TIME:
            value = instant(at + 1, close, stop)
        elif kind == DATE:
            value = date(at + 1, close, stop)
        return (-1, 0, 0) if value == BAD else (close + 1, GIVEN, value)
    if char == _MINUS or 48 <= char <= 57:
        return _number(at, end, kind, base, stop)
    close, word = _word_end(at, end)
    if close < 0 or word == 2:
        return close, NULL, 0
    if kind == TEXT:
        return close, GIVEN, ((at - base) << 32) | (close - at)
    return (close, GIVEN, word) if kind == BOOLEAN else (-1, 0, 0)


@inlined
def _number(at: int, end: int, kind: int, base: int, stop: int) -> tuple[int, int, int]:
    close, behind = _number_end(at, end, stop)
    exact = kind in (REAL, DECIMAL)
    if close < 0 or (behind > 0 and not exact) or (not exact and kind != TEXT and kind != WHOLE):
        return -1, 0, 0
    place = ((at - base) << 32) | (close - at)
    if kind == TEXT:
        return close, GIVEN, place
    if kind == REAL and close - at > _EXACT_DIGITS:
        return close, DIGITS, place
    if kind == DECIMAL and close - at > _EXACT_DIGITS:
        return -1, 0, 0
    minus = byte(at) == _MINUS
    value = digits(at + minus, close - at - minus - (behind + 1 if behind else 0), stop)
    if behind:
        value = value * _TENS[behind] + digits(close - behind, behind, stop)
    if kind == WHOLE:
        return close, GIVEN, -value if minus else value
    if kind == DECIMAL:
        return close, GIVEN, ((-value if minus else value) << BEHIND_BITS) | behind
    real = np.float64(value) / _POWERS[behind]
    return close, GIVEN, bits(-real if minus else real)


@compiled
def scan(
    base: int,
    stop: int,
    offsets: np.ndarray,
    keys: int,
    key_ends: np.ndarray,
    kinds: np.ndarray,
    least: np.ndarray,
    most: np.ndarray,
    between: int,
    wide: int,
    values: np.ndarray,
    given: np.ndarray,
    left: np.ndarray,
) -> int:
    """Reads the records at `base`, of which number n goes from ``offsets[n]`` to ``offsets[n + 1]`` (int32); memory ends at
    `stop`. The keys of columns are at `keys` up to `key_ends` each, with 32 bytes behind; `kinds` is what their values are
    read as, `least` and `most` which whole numbers they hold. `between` is `BETWEEN_SIZE` bytes of work space; the byte at `wide` becomes 1
    where something was not ASCII. Into column
    and record of `values` (int64, of which a REAL takes the bits) and `given` (uint8, zeros); `left` gets the numbers of
    records to be read otherwise. How many those are."""
    sizes, columns = np.zeros(MEMBERS, np.int64), np.zeros(MEMBERS, np.int64)
    count = 0
    for row in range(len(offsets) - 1):
        at, end = base + np.int64(offsets[row]), base + np.int64(offsets[row + 1])
        member, seen, read = 0, np.int64(0), False
        while at < end:
            if member > 0 and byte(at) == _CLOSE:
                read = _blank(at + 1, end) == end
                break
            column = -2
            if member < MEMBERS:
                size = sizes[member]
                if size > 0 and at + size <= end and _same(at, between + member * _BETWEEN, size, stop):
                    column = columns[member]
                    at += size
            if column == -2:
                begin = at
                at = _blank(at, end)
                if at < end and member > 0 and byte(at) == _CLOSE:
                    continue
                if at >= end or byte(at) != (_COMMA if member > 0 else _OPEN):
                    break
                at = _blank(at + 1, end)
                if member == 0 and at < end and byte(at) == _CLOSE:
                    read = _blank(at + 1, end) == end
                    break
                at, first, last = _key_end(at, end, stop, wide)
                if at < 0:
                    break
                column = -1
                key = 0
                for number in range(len(kinds)):
                    if last - first == key_ends[number] - key and _same(first, keys + key, last - first, stop):
                        column = number
                        break
                    key = key_ends[number]
                if member < MEMBERS and at - begin <= _BETWEEN and at + STEP <= stop:
                    for step in range(0, at - begin, STEP):
                        move(between + member * _BETWEEN + step, begin + step)
                    sizes[member], columns[member] = at - begin, column
            member += 1
            if at >= end:
                break
            if column >= 0:
                if (seen >> column) & 1:
                    break  # which of two values counts, is DuckDB's affair
                seen |= np.int64(1) << column
                at, there, value = _taken(at, end, kinds[column], base, stop, wide)
                if at < 0 or (kinds[column] == WHOLE and not least[column] <= value <= most[column]):
                    break
                values[column, row], given[column, row] = value, there
            else:
                nested = byte(at) == _OPEN or byte(at) == _OPEN_LIST
                at = _nested_end(at, end, stop, wide) if nested else _scalar_end(at, end, stop, wide)
                if at < 0:
                    break
        if not read:
            left[count] = row
            count += 1
    return count
