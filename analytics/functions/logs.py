"""Log lines into columns. Each function gives the columns as texts, or None where the line does not fit."""

from __future__ import annotations

import re
from functools import lru_cache

from analytics.functions.dates import MONTHS
from analytics.functions.patterns import compiled

PATTERNS_MAX = 256
"""Compiled patterns that are remembered; a program has few."""


def by_regex(text: str, pattern: str) -> list[str | None] | None:
    """REGEX_LOG_PARSE: the groups of the first match anywhere in the line."""
    found = compiled(pattern).search(text)
    return None if found is None else list(found.groups())


def by_delimiter(text: str, count: int, delimiter: str, escape: str, quote: str) -> list[str | None] | None:
    """VARIABLE_COLUMN_LOG_PARSE: `count` fields; the last takes what is left. `escape` and `quote` are empty where there
    are none; a quote of two characters begins with one and ends with the other."""
    if not delimiter:
        raise ValueError("VARIABLE_COLUMN_LOG_PARSE needs a delimiter")
    fields: list[str | None] = []
    field, index, quoted = "", 0, False
    while index < len(text):
        char = text[index]
        if escape and char == escape and index + 1 < len(text):
            field += text[index + 1]
            index += 2
        elif quote and char == quote[-1 if quoted else 0]:
            quoted = not quoted
            index += 1
        elif not quoted and len(fields) < count - 1 and text.startswith(delimiter, index):
            fields.append(field)
            field = ""
            index += len(delimiter)
        else:
            field += char
            index += 1
    fields.append(field)
    return [*fields, *([None] * (count - len(fields)))]


_SYSLOG = re.compile(r"(?:<\d+>)?([A-Z][a-z]{2})\s+(\d{1,2})\s+(\d\d:\d\d:\d\d)\s+(.*)", re.DOTALL)


def syslog(text: str, rowtime_ms: int) -> list[str | None] | None:
    """SYS_LOG_PARSE: the time, which is without a year in the line and so in the latest one that is not ahead of the row's
    ROWTIME by more than a day, and the rest."""
    import datetime as dt

    found = _SYSLOG.fullmatch(text)
    month = None if found is None else next((n for n, name in enumerate(MONTHS, 1) if name[:3] == found[1]), None)
    if found is None or month is None:
        return None
    now = dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=rowtime_ms)
    for year in range(now.year + 1, now.year - 9, -1):
        try:
            time = dt.datetime.fromisoformat(f"{year:04d}-{month:02d}-{int(found[2]):02d} {found[3]}")
        except ValueError:
            continue
        if time <= now + dt.timedelta(days=1):
            return [f"{time:%Y-%m-%d %H:%M:%S}", found[4]]
    return None


W3C_FORMATS = {
    "COMMON": '%h %l %u %t "%r" %>s %b',
    "COMMON WITH VHOST": '%v %h %l %u %t "%r" %>s %b',
    "NCSA EXTENDED": '%h %l %u %t "%r" %>s %b "%[Referer]i" "%[User-agent]i"',
    "REFERER": "%[Referer]i ---> %U",
    "AGENT": "%[User-agent]i",
    "IIS": "%h %u %{date}i %{time}i %v %A %h %T %I %B %>s %m %U %q",
}
"""The formats that have a name, as Apache writes them."""

_SPECIFIER = re.compile(r"%[<>!0-9,]*(?:[{\[][^}\]]*[}\]])?[A-Za-z]")


@lru_cache(PATTERNS_MAX)
def w3c_specifiers(name: str) -> tuple[str, ...]:
    """The specifiers of a format, in order, each as its letter."""
    return tuple(found[0][-1] for found in _SPECIFIER.finditer(W3C_FORMATS.get(name.upper(), name)))


@lru_cache(PATTERNS_MAX)
def _w3c(name: str) -> re.Pattern[str]:
    pattern, end = W3C_FORMATS.get(name.upper(), name).replace('\\"', '"'), 0
    parts = []
    for found in _SPECIFIER.finditer(pattern):
        parts.append(re.escape(pattern[end : found.start()]))
        before = pattern[found.start() - 1 : found.start()]
        if found[0][-1] == "t":
            parts.append(r"([^\]]*)" if before == "[" else r"(\[[^\]]*\])")
        else:
            parts.append(r'((?:[^"\\]|\\.)*)' if before == '"' else r"(\S*)")
        end = found.end()
    if not parts:
        raise ValueError(f"the format {name!r} has no specifier")
    return re.compile("".join([*parts, re.escape(pattern[end:])]))


def w3c(text: str, name: str) -> list[str | None] | None:
    """W3C_LOG_PARSE: the fields of a line of a web server's log."""
    found = _w3c(name).match(text)
    return None if found is None else list(found.groups())
