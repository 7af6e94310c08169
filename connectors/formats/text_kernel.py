"""What is done with many texts at once, compiled by numba: finding, cutting, comparing, writing. All texts are ASCII.

A text is told by its place: where it begins in some memory (the upper 32 bits) and how many bytes it has. Whoever is no text
has place 0. numba remembers compiled code by the time when this file was changed: change it too where `json_simd` does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from connectors.formats.json_simd import STEP, alike, byte, compiled, copy_bytes, inlined, lowest, move, put

INSTANT_SIZE = 24
"""Bytes from one written time to the next."""
_MINUTE_MS, _DAY_MINUTES = 60_000, 1_440
_ZERO, _MINUS, _BLANK, _COLON, _DOT = (ord(each) for each in "0- :.")


@compiled
def placed(offsets: np.ndarray, places: np.ndarray) -> None:
    """The places of the texts between offsets (int32, one more than there are texts)."""
    for row in range(len(places)):
        begin = np.int64(offsets[row])
        places[row] = (begin << 32) | (np.int64(offsets[row + 1]) - begin)


@inlined
def _same(at: int, other: int, size: int) -> bool:
    for number in range(size):  # noqa: SIM110
        if byte(at + number) != byte(other + number):
            return False
    return True


@inlined
def _found(at: int, end: int, stop: int, needle: int, size: int) -> int:
    """Where from `at` on, before `end`, the needle begins; -1 for nowhere. Behind `stop` nothing may be read."""
    first, last = byte(needle), byte(needle + size - 1)
    while at < end:
        if at + size - 1 + STEP <= stop:
            mask = alike(at, first)
            if size > 1:
                mask &= alike(at + size - 1, last)
            while mask != 0:
                where = at + lowest(mask)
                if where >= end:
                    return -1
                if size <= 2 or _same(where + 1, needle + 1, size - 2):
                    return where
                mask &= mask - 1
            at += STEP
        else:
            if _same(at, needle, size):
                return at
            at += 1
    return -1


@compiled
def find(base: int, stop: int, places: np.ndarray, needle: int, size: int, found: np.ndarray) -> None:
    """Where in each text the needle of `size` bytes begins, counted from 1; 0 for nowhere."""
    for row in range(len(places)):
        begin = base + (places[row] >> 32)
        where: Any = _found(begin, begin + (places[row] & 0xFFFFFFFF) - size + 1, stop, needle, size)
        found[row] = 0 if where < 0 else where - begin + 1


@compiled
def cut(
    places: np.ndarray, starts: np.ndarray, start_step: int, counts: np.ndarray, count_step: int, made: np.ndarray
) -> bool:
    """The places of parts: `counts` bytes from the `starts` on, which count from 1; a step of 0 means one for all rows. False
    where a start is below 1 or a count below 0."""
    good = True
    for row in range(len(places)):
        start, count = starts[row * start_step], counts[row * count_step]
        good &= (start >= 1) & (count >= 0)
        size = places[row] & 0xFFFFFFFF
        skipped = min(start - 1, size)
        made[row] = places[row] + (skipped << 32) - size + min(count, size - skipped)
    return good


@compiled
def equal(base: int, places: np.ndarray, other: int, size: int, same: np.ndarray) -> None:
    """Whether each text is the other one."""
    for row in range(len(places)):
        same[row] = (places[row] & 0xFFFFFFFF) == size and _same(base + (places[row] >> 32), other, size)


@compiled
def ends(places: np.ndarray, offsets: np.ndarray) -> int:
    """Offsets (int32) of texts that are put behind one another; how many bytes they are."""
    total: Any = np.int64(0)
    for row in range(len(places)):
        offsets[row] = total
        total += places[row] & 0xFFFFFFFF
    offsets[len(places)] = total
    return total


@compiled
def gather(
    bases: np.ndarray, stops: np.ndarray, which: np.ndarray, places: np.ndarray, offsets: np.ndarray, target: int
) -> None:
    """Texts, each of one of some memories, to their `offsets` from `target` on, which has 32 bytes more."""
    for row in range(len(places)):
        memory = which[row]
        at, size = bases[memory] + (places[row] >> 32), places[row] & 0xFFFFFFFF
        copy_bytes(at, size, stops[memory], target + np.int64(offsets[row]))


@compiled
def pick(
    arm: np.ndarray,
    number: int,
    first: int,
    given: np.ndarray,
    given_which: np.ndarray,
    places: np.ndarray,
    which: np.ndarray,
) -> None:
    """The places of the rows whose `arm` has the number; their memories, or one for all, count from `first` on."""
    step = 1 if len(given_which) == len(given) else 0
    for row in range(len(arm)):
        if arm[row] == number:
            places[row] = given[row]
            which[row] = first + given_which[row * step]


@compiled
def join(
    base: int,
    stop: int,
    places: np.ndarray,
    other_base: int,
    other_stop: int,
    others: np.ndarray,
    target: int,
    made: np.ndarray,
) -> None:
    """Two texts behind one another, and their places from `target` on, which has 32 bytes more."""
    to: Any = np.int64(0)
    for row in range(len(places)):
        size, more = places[row] & 0xFFFFFFFF, others[row] & 0xFFFFFFFF
        copy_bytes(base + (places[row] >> 32), size, stop, target + to)
        copy_bytes(other_base + (others[row] >> 32), more, other_stop, target + to + size)
        made[row] = (to << 32) | (size + more)
        to += size + more


@compiled
def fold(base: int, places: np.ndarray, first: int, change: int, target: int, made: np.ndarray) -> None:
    """Texts in which the 26 letters from `first` on are changed by so much."""
    to: Any = np.int64(0)
    for row in range(len(places)):
        at, size = base + (places[row] >> 32), places[row] & 0xFFFFFFFF
        for number in range(size):
            char = byte(at + number)
            put(target + to + number, char + change if first <= char < first + 26 else char)
        made[row] = (to << 32) | size
        to += size


@inlined
def _two(to: int, number: int) -> None:
    tens = number // 10
    put(to, _ZERO + tens)
    put(to + 1, _ZERO + number - 10 * tens)


@compiled
def _minute(to: int, minute: int) -> None:
    """A time up to its minutes and the colon behind them."""
    day = minute // _DAY_MINUTES
    of_day = minute - day * _DAY_MINUTES
    # Years begin in March and count from 0000-03-01, so that a leap day is their last.
    shifted = day + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    years = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * years + years // 4 - years // 100)
    months = (5 * of_year + 2) // 153
    month = months + 3 if months < 10 else months - 9
    year = era * 400 + years + (1 if month <= 2 else 0)
    century = year // 100
    _two(to, century)
    _two(to + 2, year - 100 * century)
    put(to + 4, _MINUS)
    _two(to + 5, month)
    put(to + 7, _MINUS)
    _two(to + 8, of_year - (153 * months + 2) // 5 + 1)
    put(to + 10, _BLANK)
    hour = of_day // 60
    _two(to + 11, hour)
    put(to + 13, _COLON)
    _two(to + 14, of_day - 60 * hour)
    put(to + 16, _COLON)


@compiled
def instants(times: np.ndarray, target: int, made: np.ndarray) -> None:
    """Milliseconds of the years 1 to 9999 as DuckDB writes them: ``2015-07-15 00:00:00.02``."""
    known: Any = np.int64(-(1 << 62))
    before: Any = np.int64(0)
    for row in range(len(times)):
        to, minute = target + row * INSTANT_SIZE, times[row] // _MINUTE_MS
        rest = times[row] - minute * _MINUTE_MS
        if minute == known:
            move(to, before)
        else:
            _minute(to, minute)
            known = minute
        before = to
        seconds = rest // 1_000
        _two(to + 17, seconds)
        size: Any = np.int64(19)
        thousandths = rest - 1_000 * seconds
        if thousandths != 0:
            hundredths = thousandths // 10
            put(to + 19, _DOT)
            _two(to + 20, hundredths)
            put(to + 22, _ZERO + thousandths - 10 * hundredths)
            size = 23 if thousandths % 10 else 22 if thousandths % 100 else 21
        made[row] = (np.int64(row * INSTANT_SIZE) << 32) | size
