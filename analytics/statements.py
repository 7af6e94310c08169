"""The statements of a program: its text as trees, and what sqlglot says of it in words of the language."""

from __future__ import annotations

from typing import Any

from sqlglot import exp
from sqlglot.errors import ParseError, TokenError

from analytics.dialect import Kda
from analytics.errors import Place, SqlError
from analytics.places import end_of, place_of
from analytics.unread import unread

PROGRAM_SIZE_MAX = 102_400
"""Characters of a program: the limit of the API."""

TOO_DEEP = "the program is nested too deeply"

_FIRST_WORDS = ("CREATE", "ALTER", "DROP")
"""What only a statement begins with: where one of them is in the way, the one before has no end."""


def parse_statements(text: str) -> list[exp.Expr]:
    """The statements of a program, without empty ones. Raises `SqlError`."""
    if len(text) > PROGRAM_SIZE_MAX:
        raise SqlError(f"the program has {len(text):,} characters; at most {PROGRAM_SIZE_MAX:,} are allowed")
    dialect = Kda()
    try:
        found = dialect.parse(text)
    except TokenError as error:
        raise SqlError("the text ends inside a quoted name, a string or a comment", end_of(text)) from error
    except ParseError as error:
        raise from_sqlglot(error, text) from error
    except RecursionError:
        raise SqlError(TOO_DEEP) from None
    statements = [
        statement for statement in found if statement is not None and not isinstance(statement, exp.Semicolon)
    ]
    for statement in statements:
        _check(statement)
    return statements


def streaming(select: exp.Expr) -> bool:
    """Whether the query says SELECT STREAM."""
    hint = select.args.get("hint")
    return hint is not None and any(part.name == "STREAM" for part in hint.expressions)


def _check(statement: exp.Expr) -> None:
    for part in unread(statement):
        node: exp.Expr | None = part.node
        while node is not None and place_of(node) is None:
            node = node.parent
        raise SqlError(f"{part.what} is not supported", place_of(node), expected=part.instead)
    for node in statement.walk():
        assert not isinstance(node, exp.Command), "a statement fell through the grammar"
        if isinstance(node, exp.Column | exp.Alias):
            name = node.args.get("alias") if isinstance(node, exp.Alias) else node.this
            assert not (isinstance(name, exp.Identifier) and not name.quoted and name.name.upper() == "STREAM"), (
                "the keyword STREAM became a name"
            )


def from_sqlglot(error: ParseError, text: str) -> SqlError:
    """sqlglot's error as ours."""
    detail: dict[str, Any] = error.errors[0] if error.errors else {}
    found = detail.get("highlight") or None
    what = _plain(str(detail.get("description") or "the program does not parse"))
    line, column = detail.get("line"), detail.get("col")
    if line is None or column is None:
        return SqlError(what, end_of(text))
    expected = "; before the next statement" if (found or "").upper() in _FIRST_WORDS else None
    return SqlError(what, Place(line, max(1, column - len(found or " ") + 1)), found=found, expected=expected)


def _plain(description: str) -> str:
    """sqlglot's description in words of the language."""
    if description.startswith("Required keyword"):
        return "an expression is missing after this"
    if description.startswith("Expected table name"):
        return "the name of a stream or table is missing after this"
    if description.startswith("Failed to parse any statement following CTE"):
        return "a query is missing behind WITH"
    if description.startswith("Invalid expression"):
        return "this does not belong here"
    return description.rstrip(". ")
