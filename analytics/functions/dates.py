"""Times in Java's SimpleDateFormat: parsed as far as the pattern goes, formatted in English and UTC."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import lru_cache

PATTERNS_MAX = 256
"""Patterns that are remembered; a program has few."""

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ZONES_H = {
    "UTC": 0, "GMT": 0, "Z": 0, "UT": 0, "WET": 0, "CET": 1, "CEST": 2, "BST": 1, "EET": 2, "EEST": 3, "MSK": 3, "IST": 5.5,
    "JST": 9, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
}  # fmt: skip
"""Names of zones, in hours from UTC."""

EPOCH = dt.datetime(1970, 1, 1)
PIVOT_YEARS = 20
"""A year of two digits lies at most so far ahead of the present one, and at most 80 years back."""

_LETTERS = "GyYMLdHkKhmsSaEDzZXwWFu"
_TEXTUAL = "GaEzZX"


@dataclass(frozen=True, slots=True)
class _Part:
    """A run of one letter, or text as it stands (letter empty)."""

    letter: str
    count: int
    text: str = ""


@lru_cache(PATTERNS_MAX)
def _parts(pattern: str) -> tuple[_Part, ...]:
    parts: list[_Part] = []
    index = 0
    while index < len(pattern):
        char = pattern[index]
        if char == "'":
            end = index + 1
            text = ""
            while end < len(pattern) and (pattern[end] != "'" or pattern[end : end + 2] == "''"):
                text += pattern[end]
                end += 2 if pattern[end] == "'" else 1
            if end >= len(pattern):
                raise ValueError(f"a quote is not closed in the format {pattern!r}")
            parts.append(_Part("", 0, text or "'"))
            index = end + 1
        elif char.isascii() and char.isalpha():
            if char not in _LETTERS:
                raise ValueError(f"the format {pattern!r} has the letter {char}, which stands for nothing")
            count = len(pattern[index:]) - len(pattern[index:].lstrip(char))
            parts.append(_Part(char, count))
            index += count
        else:
            parts.append(_Part("", 0, char))
            index += 1
    return tuple(parts)


def check(pattern: str) -> None:
    """Raises `ValueError` for what is no format."""
    _parts(pattern)


def check_parse(pattern: str) -> None:
    """Raises `ValueError` for what is no format, and for letters of which no time can be made."""
    for part in _parts(pattern):
        if part.letter in ("W", "F"):
            raise ValueError(f"the format {pattern!r} has the letter {part.letter}, which is written and not read")


@lru_cache(PATTERNS_MAX)
def _expression(pattern: str) -> tuple[re.Pattern[str], tuple[str, ...]]:
    parts, groups, letters = _parts(pattern), [], []
    for number, part in enumerate(parts):
        if not part.letter:
            groups.append(r"\s+" if part.text.isspace() else re.escape(part.text))
            continue
        following = parts[number + 1] if number + 1 < len(parts) else None
        abutting = following is not None and following.letter not in ("", *_TEXTUAL) and following.letter != "E"
        letters.append(f"{part.letter}{part.count}")
        groups.append(f"({_digits(part, abutting)})")
    return re.compile("".join(groups), re.IGNORECASE), tuple(letters)


def _digits(part: _Part, abutting: bool) -> str:
    match part.letter:
        case "M" | "L" if part.count >= 3:
            return "|".join([*MONTHS, *(name[:3] for name in MONTHS)])
        case "E":
            return "|".join([*DAYS, *(name[:3] for name in DAYS)])
        case "a":
            return "AM|PM"
        case "G":
            return "AD|BC"
        case "z" | "Z" | "X":
            return r"(?:GMT)?[+-]\d\d:?\d\d|[+-]\d\d|[A-Za-z]{1,5}(?:/[A-Za-z_]+)?"
    return rf"\s*\d{{{part.count}}}" if abutting else r"\s*[+-]?\d+" if part.letter in "yY" else r"\s*\d+"


def parse(pattern: str, text: str) -> int:
    """Milliseconds since 1970 of a text in Java's format; what follows the pattern is ignored. Fields that the pattern leaves
    out are those of 1970-01-01 00:00:00. Raises `ValueError`."""
    expression, letters = _expression(pattern)
    found = expression.match(text)
    if found is None:
        raise ValueError(f"{text[:80]!r} is not in the format {pattern!r}")
    fields: dict[str, str] = {}
    for name, value in zip(letters, found.groups(), strict=True):
        fields[name[0]] = value.strip()
        if name[0] in "yY" and name[1:] == "2" and len(value.strip()) == 2 and value.strip().isdigit():
            fields["y"] = str(_pivoted(int(value)))
    try:
        return _milliseconds(fields)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:80]!r} in the format {pattern!r} is no time that there is") from None


def _pivoted(year: int) -> int:
    latest = dt.datetime.now(dt.UTC).year + PIVOT_YEARS
    return latest - (latest - year) % 100


def _milliseconds(fields: dict[str, str]) -> int:
    def number(letter: str, default: int) -> int:
        return int(fields.get(letter, default))

    year = number("y", number("Y", 1970))
    month = _month(fields.get("M", fields.get("L", "1")))
    hour = number("H", 0)
    if "k" in fields:
        hour = number("k", 0) % 24
    for letter in "hK":
        if letter in fields:
            hour = number(letter, 0)
    if "a" in fields:
        hour = hour % 12 + (12 if fields["a"].upper() == "PM" else 0)
    if "w" in fields and not fields.keys() & {"M", "L", "d", "D"}:
        day = _day_of_week(year, number("w", 1), fields)
    elif "D" in fields:
        day = _day_of_year(year, number("D", 1))
    else:
        day = dt.datetime(year, month, number("d", 1))
    time = day.replace(hour=hour, minute=number("m", 0), second=number("s", 0))
    zone = fields.get("z", fields.get("Z", fields.get("X")))
    result = (time - EPOCH) // dt.timedelta(milliseconds=1) + number("S", 0)
    return result if zone is None else result - _zone_ms(zone, time)


def _day_of_year(year: int, day: int) -> dt.datetime:
    return dt.datetime(year, 1, 1) + dt.timedelta(days=day - 1)


def _day_of_week(year: int, week: int, fields: dict[str, str]) -> dt.datetime:
    """Weeks begin on Sundays, and the first has the first of January, as Java has them in English."""
    first = dt.datetime(year, 1, 1)
    sunday = first - dt.timedelta(days=first.isoweekday() % 7)
    number = int(fields.get("u", 7)) % 7
    if "E" in fields:
        number = (1 + next(i for i, name in enumerate(DAYS) if name[:3].lower() == fields["E"][:3].lower())) % 7
    return sunday + dt.timedelta(days=7 * (week - 1) + number)


def _month(text: str) -> int:
    if text.isdigit():
        return int(text)
    return 1 + next(number for number, name in enumerate(MONTHS) if name[:3].lower() == text[:3].lower())


def _zone_ms(zone: str, time: dt.datetime) -> int:
    offset = re.fullmatch(r"(?:GMT)?([+-])(\d\d):?(\d\d)?", zone, re.IGNORECASE)
    if offset:
        minutes = int(offset[2]) * 60 + int(offset[3] or 0)
        return minutes * 60_000 * (-1 if offset[1] == "-" else 1)
    if zone.upper() in ZONES_H:
        return round(ZONES_H[zone.upper()] * 3_600_000)
    import zoneinfo

    try:
        known = zoneinfo.ZoneInfo(zone).utcoffset(time)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        known = None
    if known is None:
        raise ValueError(f"there is no time zone {zone}")
    return known // dt.timedelta(milliseconds=1)


def format_time(pattern: str | None, milliseconds: int | None) -> str | None:
    """A time in Java's format, in UTC. The text ``null`` for no time. Raises `ValueError`."""
    if pattern is None:
        return None
    if milliseconds is None:
        return "null"
    time = EPOCH + dt.timedelta(milliseconds=milliseconds)
    return "".join(part.text if not part.letter else _formatted(part, time) for part in _parts(pattern))


def _formatted(part: _Part, time: dt.datetime) -> str:
    match part.letter:
        case "y" | "Y":
            year = time.isocalendar().year if part.letter == "Y" else time.year
            return f"{year % 100:02d}" if part.count == 2 else f"{year:0{part.count}d}"
        case "M" | "L" if part.count >= 3:
            name = MONTHS[time.month - 1]
            return name if part.count >= 4 else name[:3]
        case "E":
            name = DAYS[time.weekday()]
            return name if part.count >= 4 else name[:3]
        case "a":
            return "PM" if time.hour >= 12 else "AM"
        case "G":
            return "AD"
        case "z":
            return "Coordinated Universal Time" if part.count >= 4 else "UTC"
        case "Z":
            return "+0000"
        case "X":
            return "Z"
    return f"{_number(part.letter, time):0{part.count}d}"


def _number(letter: str, time: dt.datetime) -> int:
    first_weekday = (time.replace(day=1).weekday() + 1) % 7  # Sunday is the first day of a week
    year_weekday = (time.replace(month=1, day=1).weekday() + 1) % 7
    day_of_year = time.timetuple().tm_yday
    numbers = {
        "M": time.month,
        "L": time.month,
        "d": time.day,
        "H": time.hour,
        "k": time.hour or 24,
        "K": time.hour % 12,
        "h": time.hour % 12 or 12,
        "m": time.minute,
        "s": time.second,
        "S": time.microsecond // 1000,
        "D": day_of_year,
        "F": (time.day - 1) // 7 + 1,
        "u": time.isoweekday(),
        "w": (day_of_year + year_weekday - 1) // 7 + 1,
        "W": (time.day + first_weekday - 1) // 7 + 1,
    }
    return numbers[letter]
