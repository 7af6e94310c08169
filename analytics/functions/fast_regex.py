"""FAST_REGEX_LOG_PARSE: patterns in a language of their own, matched lazily and without looking back.

A pattern is a series of expressions: what is in a group, and what stands between groups. What is of a fixed length at the
beginning of an expression belongs to the one before it, where it ends the search; ``x+`` is ``x`` and ``x*``. Each is matched
as short as it can be, and what it has matched is not taken back:

    (.*)_+(._.*)    →  (.*)_  _*(._  .*)     Mary_had_a_little_lamb: "Mary_", then "_*._" does not match "had_…": no result

The whole text must be accounted for, so the last one goes as far as the end. Grammar: ``.`` any character, ``@`` any text,
``#`` nothing, ``"…"`` text as it stands, ``[a-z]`` and ``[^a-z]``, ``<Digit>`` a class, ``<n-m>`` a number, ``\\x``,
``* + ? {n} {n,} {n,m}``, ``|``, ``( )``. A group within a group, and one that is repeated, is a column as well.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

PATTERNS_MAX = 256
"""Compiled patterns that are remembered; a program has few."""

_CLASSES = {
    "digit": "[0-9]", "alpha": "[a-zA-Z]", "alnum": "[a-zA-Z0-9]", "space": r"[ \t\n\f\r\v]", "upper": "[A-Z]",
    "lower": "[a-z]", "xdigit": "[0-9a-fA-F]", "ascii": r"[\x00-\x7f]", "blank": r"[ \t]", "cntrl": r"[\x00-\x1f\x7f]",
    "punct": "[!-/:-@\\[-`{-~]", "print": "[!-~]", "graph": "[!-~]",
}  # fmt: skip
_QUANTIFIER = re.compile(r"[*+?]|\{\d+(?:,\d*)?\}")
_NUMBER_MAX = 100_000


@dataclass(slots=True)
class _Item:
    """A part of an expression. A group that is matched in pieces has `inside` and a number."""

    text: str
    fixed: bool = False
    inside: list[_Item] = field(default_factory=list)
    group: int | None = None


@dataclass(frozen=True, slots=True)
class FastRegex:
    """A compiled pattern; `columns` are the names of the groups of a column: one, or where it begins and where it ends."""

    expression: re.Pattern[str]
    columns: tuple[tuple[str, ...], ...]

    def fields(self, text: str) -> list[str | None] | None:
        """The columns, or None where the pattern does not account for the whole text."""
        found = self.expression.match(text)
        if found is None:
            return None
        return [
            found[names[0]] if len(names) == 1 else text[found.start(names[0]) : found.start(names[1])]
            for names in self.columns
        ]


def by_fast_regex(text: str, pattern: str) -> list[str | None] | None:
    return compiled(pattern).fields(text)


@lru_cache(PATTERNS_MAX)
def compiled(pattern: str) -> FastRegex:
    """Raises `ValueError`, also for ``&`` and ``~``, the intersection and the complement of languages."""
    reading = _Reading(pattern)
    items = reading.sequence(nested=False)
    pieces = "".join(_pieces(items))
    try:
        return FastRegex(re.compile(pieces, re.DOTALL), tuple(reading.columns))
    except re.error as error:
        raise ValueError(f"{pattern!r} is no pattern of FAST_REGEX_LOG_PARSE: {error}") from None


def _pieces(items: list[_Item]) -> Iterator[str]:
    """The expressions one after the other, each of which keeps what it has matched."""
    piece, begun = "", False

    def cut(run: list[_Item]) -> Iterator[str]:
        nonlocal piece, begun
        variable = False
        for item in run:
            if not item.fixed and not variable:
                variable = True
                if begun:
                    yield f"(?>{piece})"
                    piece = ""
                begun = True
            piece += item.text

    for grouped, run in itertools.groupby(items, lambda item: item.group):
        members = list(run)
        if grouped is None:
            yield from cut(members)
        else:
            piece += f"(?P<b{grouped}>)"
            yield from cut(members[0].inside)
            piece += f"(?P<e{grouped}>)"
    yield f"(?>{piece}\\Z)"


class _Reading:
    """Reads a pattern from the left."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self.columns: list[tuple[str, ...]] = []

    def sequence(self, *, nested: bool) -> list[_Item]:
        """Up to the end, or to the ) of a group."""
        branches: list[list[_Item]] = [[]]
        while self._at < len(self._pattern):
            char = self._pattern[self._at]
            if char == ")":
                if nested:
                    break
                raise ValueError(f"a ) in {self._pattern!r} closes nothing")
            if char == "|":
                self._at += 1
                branches.append([])
            elif char == "(":
                branches[-1] += self._group(nested=nested)
            else:
                branches[-1] += self._repeated(self._atom(char))
        if len(branches) == 1:
            return branches[0]
        return [_Item("(?:" + "|".join(_plain(branch, self.columns) for branch in branches) + ")")]

    def _group(self, *, nested: bool) -> list[_Item]:
        self._at += 1
        number = len(self.columns)
        self.columns.append((f"b{number}", f"e{number}"))
        inside = self.sequence(nested=True)
        if self._at >= len(self._pattern):
            raise ValueError(f"a ( is not closed in {self._pattern!r}")
        self._at += 1
        if not nested and not _QUANTIFIER.match(self._pattern, self._at):
            return [_Item("", inside=inside, group=number)]
        whole = _plain([_Item("", inside=inside, group=number)], self.columns)
        return self._repeated(_Item(whole))

    def _repeated(self, atom: _Item) -> list[_Item]:
        found = _QUANTIFIER.match(self._pattern, self._at)
        if found is None:
            return [atom]
        self._at = found.end()
        if found[0] == "+" and atom.fixed:
            return [atom, _Item(f"{atom.text}*?")]
        return [_Item(f"{atom.text}{found[0]}?", atom.fixed and re.fullmatch(r"\{\d+\}", found[0]) is not None)]

    def _atom(self, char: str) -> _Item:
        pattern, begin = self._pattern, self._at
        if char == '"':
            return _Item(f"(?:{re.escape(self._until(char, begin + 1))})", fixed=True)
        if char == "<":
            return self._angle(self._until(">", begin + 1))
        if char == "[":
            inside = self._until("]", begin + 2)
            return _Item(f"[{pattern[begin + 1]}{inside}]".replace("[[", r"[\["), fixed=True)
        if char == "\\":
            self._at += 2
            if begin + 1 == len(pattern):
                raise ValueError(f"nothing follows the \\ at the end of {pattern!r}")
            return _Item(re.escape(pattern[begin + 1]), fixed=True)
        if char in "&~":
            what = f"{char} in a pattern of FAST_REGEX_LOG_PARSE is not supported"
            raise ValueError(f"{what}: REGEX_LOG_PARSE looks ahead with (?=…) and (?!…)")
        if _QUANTIFIER.match(pattern, begin):
            raise ValueError(f"{char} in {pattern!r} repeats nothing")
        self._at += 1
        if char in "@#":
            return _Item("(?:.*?)" if char == "@" else "(?!)")
        return _Item(char if char == "." else re.escape(char), fixed=True)

    def _until(self, end: str, begin: int) -> str:
        """The text from `begin` to what closes it."""
        found = self._pattern.find(end, begin)
        if found < 0:
            raise ValueError(f"a {self._pattern[self._at]} is not closed in {self._pattern!r}")
        self._at = found + 1
        return self._pattern[begin:found]

    def _angle(self, inside: str) -> _Item:
        interval = re.fullmatch(r"(\d+)-(\d+)", inside)
        if interval is None:
            known = _CLASSES.get(inside.lower().strip(":"))
            if known is None:
                raise ValueError(f"<{inside}> in {self._pattern!r} is no class of characters")
            return _Item(known, fixed=True)
        low, high = int(interval[1]), int(interval[2])
        if not low <= high < _NUMBER_MAX:
            raise ValueError(
                f"the interval <{inside}> in {self._pattern!r} goes from a number to a greater one below {_NUMBER_MAX:,}"
            )
        numbers = sorted((str(number) for number in range(low, high + 1)), key=len, reverse=True)
        return _Item(f"(?:0*(?:{'|'.join(numbers)}))")


def _plain(items: list[_Item], columns: list[tuple[str, ...]]) -> str:
    """Items as one expression, whose groups are groups of it."""
    found = ""
    for item in items:
        if item.group is not None:
            columns[item.group] = (f"g{item.group}",)
            found += f"(?P<g{item.group}>{_plain(item.inside, columns)})"
        else:
            found += item.text
    return found
