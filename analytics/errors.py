"""`SqlError`: what is wrong with a program, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from streams.core.errors import HeadraceError


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the program's text: line and column, both from 1."""

    line: int
    column: int


class SqlError(HeadraceError):
    """A program that does not parse, validate or compile; nothing of it runs.

    `what` says it in a sentence; `found` and `expected` where the two can be named; `suggestion` is what was probably
    meant. `message` is all of it on one line, beginning with the place.
    """

    def __init__(
        self,
        what: str,
        place: Place | None = None,
        *,
        found: str | None = None,
        expected: str | None = None,
        suggestion: str | None = None,
    ) -> None:
        text = what if place is None else f"line {place.line}, column {place.column}: {what}"
        if found is not None:
            text += f"; found {found}"
        if expected is not None:
            text += f"; expected {expected}"
        if suggestion is not None:
            text += f"; did you mean {suggestion}?"
        super().__init__(text)
        self.what = what
        self.place = place
        self.found = found
        self.expected = expected
        self.suggestion = suggestion

    @property
    def line(self) -> int | None:
        return None if self.place is None else self.place.line

    @property
    def column(self) -> int | None:
        return None if self.place is None else self.place.column


def closest(name: str, among: Iterable[str]) -> str | None:
    """The name that was probably meant, as it must be written in SQL; None if nothing is near."""
    names = list(among)
    same = [other for other in names if other.lower() == name.lower()]
    if not same:
        lower = {other.lower(): other for other in names}
        same = [lower[near] for near in difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)]
    return spelled(same[0]) if same else None


def spelled(name: str) -> str:
    """A name as SQL must write it: quoted unless folding to upper case leaves it as it is."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and not name[:1].isdigit() and name == name.upper()
    return name if plain else '"' + name.replace('"', '""') + '"'
