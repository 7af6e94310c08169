"""Where in a program something stands: of a tree, of a token, of the end of the text."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.tokenizer_core import Token

from analytics.errors import Place


def place_of(node: exp.Expr | None) -> Place | None:
    """Where a node stands: the first name or word in it whose place is known."""
    if node is None:
        return None
    places = [
        Place(part.meta["line"], part.meta["col"] - (part.meta["end"] - part.meta["start"]))
        for part in node.walk()
        if "line" in part.meta
    ]
    return min(places, key=lambda place: (place.line, place.column), default=None)


def of_token(token: Token) -> Place:
    """Its first character."""
    width = token.end - token.start
    return Place(token.line, max(1, token.col - width))


def end_of(text: str) -> Place:
    """The place after the last character."""
    lines = text.split("\n")
    return Place(len(lines), len(lines[-1]) + 1)
