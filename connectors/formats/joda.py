"""Times in patterns of Joda's DateTimeFormat, a column at a time: each pattern becomes one regular expression.

    y Y  year (yy: 1950 to 2049)   M  month (MMM Jan, MMMM January)   d  day   D  day of the year   E  weekday
    H  hour   k  1-24   h  of 12, 1-12   K  of 12, 0-11   a  AM or PM   m  minute   s  second   S  fraction of a second
    Z  zone, +0200 or +02:00       'text'   ''      `millis`: milliseconds since 1970

A time without a zone is UTC. A pattern fits the whole text or not at all; a number has as many digits as its letters, or
fewer, unless another number follows at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MILLIS = "millis"

_TOKENS = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+")
_NUMBERS = {"y": 4, "Y": 4, "M": 2, "d": 2, "D": 3, "H": 2, "k": 2, "h": 2, "K": 2, "m": 2, "s": 2, "S": 9}
"""Letters of numbers, and their most digits."""
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PIVOT = 50
"""Of years of two digits, those from here on are of the last century."""
_YEARS = 1, 9999


@dataclass(frozen=True, slots=True)
class Pattern:
    """`regex` has a group for each letter of `letters`."""

    text: str
    regex: str
    letters: tuple[str, ...]


@lru_cache(1_024)
def compiled(text: str) -> Pattern:
    """Raises ValueError that says what a pattern cannot have."""
    tokens = _tokens(text)
    parts, letters = [], []
    for place, token in enumerate(tokens):
        letter = token[0]
        if not letter.isalpha() or not letter.isascii():
            parts.append(re.escape(_literal(token)))
        elif letter in letters:
            raise ValueError(f"pattern {text!r} has the letter {letter} twice")
        else:
            following = tokens[place + 1] if place + 1 < len(tokens) else ""
            parts.append(f"(?P<{letter}>{_group(text, token, _is_number(following))})")
            letters.append(letter)
    if not set("yY") & set(letters):
        raise ValueError(f"pattern {text!r} has no year")
    if {"y", "Y"} <= set(letters):
        raise ValueError(f"pattern {text!r} has two years")
    return Pattern(text, "^" + "".join(parts) + "$", tuple(letters))


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    while at < len(text):
        found = _TOKENS.match(text, at)
        if found is None:
            raise ValueError(f"pattern {text!r} has a quote that does not end")
        tokens.append(found[0])
        at = found.end()
    return tokens


def _literal(token: str) -> str:
    if token == "''":
        return "'"
    return token[1:-1].replace("''", "'") if token.startswith("'") else token


def _is_number(token: str) -> bool:
    return token[:1] in _NUMBERS and not (token[:1] == "M" and len(token) > 2)


def _group(text: str, token: str, number_follows: bool) -> str:
    letter, size = token[0], len(token)
    if letter == "M" and size > 2:
        return _one_of(_MONTHS)
    if letter == "E":
        return _one_of(_DAYS)
    if letter == "a":
        return "(?i:am|pm)"
    if letter == "Z" and size < 3:
        return r"[+-]\d{2}:?\d{2}"
    if letter not in _NUMBERS:
        raise ValueError(f"pattern {text!r} has {token}, which cannot be read")
    if number_follows or (letter in "yY" and size == 2):
        return rf"\d{{{size}}}"
    most = size if letter == "S" else max(size, _NUMBERS[letter])
    return rf"\d{{1,{most}}}"


def _one_of(names: Sequence[str]) -> str:
    return f"(?i:{'|'.join([*names, *(name[:3] for name in names)])})"


def parse(texts: pa.Array, patterns: Sequence[str]) -> pa.Array:
    """Times (timestamp, ms) of string `texts`, each by the first pattern that fits; NULL where none does."""
    found = pa.nulls(len(texts), pa.timestamp("ms"))
    for pattern in patterns:
        if found.null_count == texts.null_count:
            break
        times = _millis(texts) if pattern == MILLIS else _fitted(texts, compiled(pattern))
        found = times if found.null_count == len(found) else pc.coalesce(found, times)
    return found


def _millis(texts: pa.Array) -> pa.Array:
    good = pc.match_substring_regex(texts, r"^-?\d{1,14}$")
    numbers = pc.if_else(good, texts, pa.scalar(None, pa.string())).cast(pa.int64())
    return numbers.cast(pa.timestamp("ms"))


def _fitted(texts: pa.Array, pattern: Pattern) -> pa.Array:
    groups = pc.extract_regex(texts, pattern.regex)
    fits = groups.is_valid().to_numpy(zero_copy_only=False)
    if not fits.any():
        return pa.nulls(len(texts), pa.timestamp("ms"))
    given = dict(zip((field.name for field in groups.type), groups.filter(pa.array(fits)).flatten(), strict=True))
    days, good = _days(given)
    ms, in_day = _time_of_day(given)
    good &= in_day
    values = days * 86_400_000 + ms - _offset_ms(given)
    whole = np.zeros(len(texts), np.int64)
    mask = np.ones(len(texts), bool)
    whole[fits], mask[fits] = np.where(good, values, 0), ~good
    return pa.array(whole, mask=mask).cast(pa.timestamp("ms"))


def _number(texts: pa.Array) -> np.ndarray:
    found: np.ndarray = texts.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found


def _days(given: dict[str, pa.Array]) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970, and which are days of a calendar at all."""
    year = given["y"] if "y" in given else given["Y"]
    years = _number(year)
    short = pc.binary_length(year).to_numpy(zero_copy_only=False) == 2
    years = np.where(short, years + np.where(years < _PIVOT, 2000, 1900), years)
    good = (years >= _YEARS[0]) & (years <= _YEARS[1])
    january = np.where(good, years - 1970, 0).astype("datetime64[Y]")
    one = np.ones(len(years), np.int64)
    if "D" in given:
        day = _number(given["D"])
        first, last = january.astype("datetime64[D]"), (january + 1).astype("datetime64[D]")
    else:
        month = _month(given["M"]) if "M" in given else one
        good &= (month >= 1) & (month <= 12)
        start = january.astype("datetime64[M]") + np.where(good, month - 1, 0)
        day = _number(given["d"]) if "d" in given else one
        first, last = start.astype("datetime64[D]"), (start + 1).astype("datetime64[D]")
    good &= (day >= 1) & (day <= (last - first).astype(np.int64))
    return first.astype(np.int64) + day - 1, good


def _month(texts: pa.Array) -> np.ndarray:
    if pc.any(pc.match_substring_regex(texts, "^[0-9]")).as_py():
        return _number(texts)
    names = pa.array([name[:3].lower() for name in _MONTHS])
    found: np.ndarray = pc.index_in(pc.utf8_lower(pc.utf8_slice_codeunits(texts, 0, 3)), names).to_numpy() + 1
    return found.astype(np.int64)


def _time_of_day(given: dict[str, pa.Array]) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds, and which are of a day."""
    count = len(next(iter(given.values())))
    good, hour = np.ones(count, bool), np.zeros(count, np.int64)
    for letter, least, most in (("H", 0, 23), ("k", 1, 24), ("K", 0, 11), ("h", 1, 12)):
        if letter in given:
            number = _number(given[letter])
            good &= (number >= least) & (number <= most)
            hour = number % (24 if letter in "Hk" else 12)
    if "a" in given:
        hour = hour + 12 * pc.equal(pc.utf8_lower(given["a"]), "pm").to_numpy(zero_copy_only=False)
    total = hour * 3_600_000
    for letter, ms in (("m", 60_000), ("s", 1_000)):
        if letter in given:
            number = _number(given[letter])
            good &= number < 60
            total = total + number * ms
    if "S" in given:
        padded = pc.utf8_slice_codeunits(pc.utf8_rpad(given["S"], 3, "0"), 0, 3)
        total = total + _number(padded)
    return total, good & (hour < 24)


def _offset_ms(given: dict[str, pa.Array]) -> np.ndarray | int:
    if "Z" not in given:
        return 0
    digits = pc.replace_substring(given["Z"], ":", "")
    sign = np.where(pc.starts_with(digits, "-").to_numpy(zero_copy_only=False), -1, 1)
    hours, minutes = (_number(pc.utf8_slice_codeunits(digits, at, at + 2)) for at in (1, 3))
    offset: np.ndarray = sign * (hours * 60 + minutes) * 60_000
    return offset
