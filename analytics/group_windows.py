"""How windows of GROUP BY are written: HOP, CUMULATE, SESSION and TUMBLE, in streaming and in batch SQL."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from sqlglot import exp, parser
from sqlglot.tokenizer_core import Token, TokenType

from analytics.errors import SqlError
from analytics.nodes import GroupWindow, Step
from analytics.places import of_token

GROUP_WINDOWS = {
    "HOP": ("HOP(ROWTIME, INTERVAL step, INTERVAL size)", 2),
    "CUMULATE": ("CUMULATE(ROWTIME, INTERVAL step, INTERVAL size)", 2),
    "SESSION": ("SESSION(ROWTIME, INTERVAL gap)", 1),
    "TUMBLE": ("TUMBLE(ROWTIME, INTERVAL size)", 1),
}
"""How each is written, and how many intervals it has."""


def parsers() -> dict[str, Callable[[Any], exp.Expr]]:
    """What reads the arguments of each of their functions, by its name."""
    return {
        f"{kind}{part}": _reads(kind, part.removeprefix("_"))
        for kind in GROUP_WINDOWS
        for part in ("", "_START", "_END")
    }


def named(given: list[Token]) -> list[Token]:
    """Tokens in which SESSION in front of a parenthesis is a name."""
    result = list(given)
    for index, (token, following) in enumerate(itertools.pairwise(given)):
        if token.text.upper() == "SESSION" and following.token_type == TokenType.L_PAREN:
            result[index] = Token(TokenType.VAR, token.text, token.line, token.col, token.start, token.end, [])
    return result


def _reads(kind: str, part: str) -> Callable[[parser.Parser], exp.Expr]:
    return lambda self: _read(self, kind, part)


def _read(self: parser.Parser, kind: str, part: str) -> exp.Expr:
    if self._curr and self._curr.text.upper() == "TABLE":
        raise SqlError(
            "a window stands in GROUP BY",
            of_token(self._curr),
            found="TABLE",
            expected=f"GROUP BY {GROUP_WINDOWS[kind][0]}",
        )
    given = self._parse_csv(self._parse_bitwise)
    shown, count = GROUP_WINDOWS[kind]
    if len(given) != count + 1:
        raise SqlError(f"{kind} has {count + 1} arguments", of_token(self._prev), expected=shown)
    this, *intervals = given
    if kind != "TUMBLE":
        return GroupWindow(this=this, expressions=intervals, kind=kind, part=part)
    start = Step(this=this, expression=intervals[0])
    return exp.Paren(this=exp.Add(this=start, expression=intervals[0].copy())) if part == "END" else start
