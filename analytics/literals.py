"""Literals of DATE, TIME and TIMESTAMP: what is written in a program is looked at before anything runs."""

from __future__ import annotations

import datetime as dt
import re

_DATE = r"(\d{1,4})-(\d{1,2})-(\d{1,2})"
_TIME = r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.\d+)?"
FORMS = {
    "DATE": (_DATE, "yyyy-MM-dd"),
    "TIME": (_TIME, "HH:mm:ss"),
    "TIMESTAMP": (f"{_DATE} {_TIME}", "yyyy-MM-dd HH:mm:ss"),
}
"""How each is written, for a machine and for people; a time may have a fraction of a second."""


def is_literal(kind: str, text: str) -> bool:
    """Whether `text` is a value of a type of `FORMS`."""
    found = re.fullmatch(FORMS[kind][0], text.strip())
    if found is None:
        return False
    numbers = [int(part) for part in found.groups()]
    try:
        dt.datetime(*numbers) if kind != "TIME" else dt.time(*numbers)  # type: ignore[arg-type]  # as many as it takes
    except ValueError:
        return False
    return True
