"""Java's DateTimeFormatter patterns, as far as object prefixes use them, in English.

yyyy u…  year        MM month (MMM Jan, MMMM January)   dd day     DDD day of the year   E… weekday   e 1 = Monday
HH hour  hh of 12    kk 1-24   KK 0-11   mm minute      ss second  SSS fraction          a AM/PM      n nanosecond
XXX +02:00 (Z at 0)  xx +0200  Z +0200   z CEST         VV Europe/Berlin                 'text'  ''
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import cache

_TOKENS = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+")
_LETTERS = frozenset("yuMLdDEeHhkKmsSanXxZzV")
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


class PatternError(ValueError):
    """A pattern that cannot be used: which letter, or a quote that does not end."""


@cache
def check(pattern: str) -> None:
    """Raises `PatternError`."""
    for token in _tokens(pattern):
        if token[0].isalpha() and token[0] not in _LETTERS:
            raise PatternError(f"Unknown pattern letter: {token[0]}")


def format_time(pattern: str, moment: datetime) -> str:
    """`moment` (with its time zone) in `pattern`, which `check` accepts."""
    return "".join(_format(token, moment) for token in _tokens(pattern))


@cache
def _tokens(pattern: str) -> tuple[str, ...]:
    tokens = []
    at = 0
    while at < len(pattern):
        match = _TOKENS.match(pattern, at)
        if match is None:
            raise PatternError(f"Pattern ends with an incomplete string literal: {pattern}")
        tokens.append(match.group())
        at = match.end()
    return tuple(tokens)


def _format(token: str, moment: datetime) -> str:
    letter, width = token[0], len(token)
    match letter:
        case "'":
            return "'" if token == "''" else token[1:-1].replace("''", "'")
        case "y" | "u":
            return f"{moment.year % 100:02d}" if width == 2 else f"{moment.year:0{width}d}"
        case "M" | "L":
            name = _MONTHS[moment.month - 1]
            return (
                f"{moment.month:0{width}d}"
                if width < 3
                else name[:3]
                if width == 3
                else name[:1]
                if width == 5
                else name
            )
        case "E":
            name = _DAYS[moment.weekday()]
            return name[:3] if width < 4 else name[:1] if width == 5 else name
        case "S":
            return f"{moment.microsecond * 1000:09d}"[:width].ljust(width, "0")
        case "a":
            return "AM" if moment.hour < 12 else "PM"
        case "V":
            return str(moment.tzinfo)
        case "z":
            return moment.tzname() or ""
        case "X" | "x" | "Z":
            return _zone_offset(letter, width, moment)
    number = _NUMBERS.get(letter)
    return token if number is None else f"{number(moment):0{width}d}"


_NUMBERS: dict[str, Callable[[datetime], int]] = {
    "d": lambda moment: moment.day,
    "D": lambda moment: moment.timetuple().tm_yday,
    "e": lambda moment: moment.isoweekday(),
    "H": lambda moment: moment.hour,
    "k": lambda moment: moment.hour or 24,
    "K": lambda moment: moment.hour % 12,
    "h": lambda moment: moment.hour % 12 or 12,
    "m": lambda moment: moment.minute,
    "s": lambda moment: moment.second,
    "n": lambda moment: moment.microsecond * 1000,
}


def _zone_offset(letter: str, width: int, moment: datetime) -> str:
    offset = moment.utcoffset()
    minutes = 0 if offset is None else round(offset.total_seconds() / 60)
    if letter == "X" and minutes == 0:
        return "Z"
    hours, rest = divmod(abs(minutes), 60)
    sign = "-" if minutes < 0 else "+"
    if width == 1 and letter != "Z":
        return f"{sign}{hours:02d}" + (f"{rest:02d}" if rest else "")
    colon = ":" if (letter != "Z" and width in (3, 5)) or (letter == "Z" and width == 5) else ""
    return f"{sign}{hours:02d}{colon}{rest:02d}"
