"""Clauses and expressions that the language has and sqlglot's grammar has not; `analytics.dialect` has the statements."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from sqlglot import exp, parser
from sqlglot.tokenizer_core import Token, TokenType

from analytics import group_windows
from analytics.nodes import Cursor, Elapsed, Step, SubstringSimilar

INTERVAL_UNITS = ("SECOND", "MINUTE", "HOUR", "DAY", "MONTH", "YEAR")
"""Units of an interval between two times."""


NAMED = frozenset(
    {"INITCAP", "LOG10", "TO_TIMESTAMP", "UNIX_TIMESTAMP", "TSDIFF", "REGEXP_REPLACE", "TO_CHAR", "TIME_TO_CHAR"}
)
"""Functions that are known by their name, whatever sqlglot would make of them."""


class Clauses(parser.Parser):
    """STEP, MONOTONIC, windows of GROUP BY, windows behind the sources of FROM, WINDOWED BY STAGGER, CURSOR, intervals between times."""

    SUPPORTS_NTH_VALUE_FROM_MODIFIER = True

    FUNCTIONS: ClassVar[dict[str, Any]] = {
        name: build for name, build in parser.Parser.FUNCTIONS.items() if name not in NAMED
    }
    NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        name: parse for name, parse in parser.Parser.NO_PAREN_FUNCTION_PARSERS.items() if name != "ANY"
    }
    FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        **{name: parse for name, parse in parser.Parser.FUNCTION_PARSERS.items() if name not in NAMED},
        "STEP": lambda self: self._kda_step(),
        "CURSOR": lambda self: Cursor(this=self._parse_select()),
        "SUBSTRING": lambda self: self._kda_substring(),
        "ANY": lambda self: exp.LogicalOr(this=self._parse_assignment()),
        "EVERY": lambda self: exp.LogicalAnd(this=self._parse_assignment()),
        **group_windows.parsers(),
        "STD_DEV": lambda self: exp.Stddev(this=self._parse_assignment()),
        "CHAR_LENGTH": lambda self: exp.Length(this=self._parse_bitwise()),
        "CHARACTER_LENGTH": lambda self: exp.Length(this=self._parse_bitwise()),
    }

    def _parse_hint(self) -> exp.Hint | None:
        # The one place right behind the word SELECT.
        if is_word(self._curr, "STREAM"):
            self._advance()
            return exp.Hint(expressions=[exp.var("STREAM")])
        return None

    def _kda_step(self) -> exp.Expr:
        this = self._parse_bitwise()
        if not self._match_text_seq("BY"):
            raise self._kda_unexpected("STEP(value BY step)", "BY")
        return Step(this=this, expression=self._parse_bitwise())

    def _kda_unexpected(self, what: str, expected: str) -> Exception:
        raise NotImplementedError

    def _kda_substring(self) -> exp.Expr:
        index = self._index
        this = self._parse_bitwise()
        if not self._match_text_seq("SIMILAR"):
            # What follows FROM is a place or a pattern; behind a comma it is a place.
            comma = bool(self._curr) and self._curr.token_type == TokenType.COMMA
            self._retreat(index)
            substring = self._parse_substring()
            substring.meta["comma"] = comma
            return substring
        pattern = self._parse_bitwise()
        if not self._match(TokenType.ESCAPE):
            raise self._kda_unexpected("SUBSTRING(text SIMILAR pattern ESCAPE character)", "ESCAPE")
        return SubstringSimilar(this=this, expression=pattern, escape=self._parse_bitwise())

    def _parse_paren(self) -> exp.Expr | None:
        this = super()._parse_paren()
        if isinstance(this, exp.Paren) and isinstance(this.this, exp.Sub) and self._kda_unit_ahead():
            unit = exp.var(self._curr.text.upper())
            self._advance()
            return Elapsed(this=this, unit=unit)
        return this

    def _kda_unit_ahead(self) -> bool:
        return bool(self._curr) and self._curr.token_type == TokenType.VAR and self._curr.text.upper() in INTERVAL_UNITS

    def _parse_table(self, *args: Any, **options: Any) -> exp.Expr | None:
        index = self._index
        if (
            self._curr
            and self._curr.text.upper() == "TABLE"
            and self._next
            and self._next.token_type == TokenType.L_PAREN
        ):
            self._advance(2)
            function = self._parse_function()
            if function is None:
                self._retreat(index)
                return super()._parse_table(*args, **options)
            self._match_r_paren()
            table = exp.Table(this=function)
            alias = self._parse_table_alias()
            if alias:
                table.set("alias", alias)
            return table
        return super()._parse_table(*args, **options)

    def _parse_table_alias(self, alias_tokens: Collection[TokenType] | None = None) -> exp.TableAlias | None:
        if not self._curr or self._curr.token_type != TokenType.OVER:
            return super()._parse_table_alias(alias_tokens)
        window = self._parse_window(exp.Null())
        alias = super()._parse_table_alias(alias_tokens) or exp.TableAlias()
        alias.meta["over"] = window
        return alias

    def _parse_group(self, skip_group_by_token: bool = False) -> exp.Group | None:
        if not (is_word(self._next, "STAGGER") and self._curr and self._curr.token_type == TokenType.GROUP_BY):
            return super()._parse_group(skip_group_by_token)
        self._advance(2)
        if not self._match(TokenType.L_PAREN):
            raise self._kda_unexpected("WINDOWED BY STAGGER (PARTITION BY … RANGE INTERVAL …)", "(")
        if not self._match(TokenType.PARTITION_BY):
            raise self._kda_unexpected("WINDOWED BY STAGGER (PARTITION BY … RANGE INTERVAL …)", "PARTITION BY")
        keys = self._parse_csv(self._parse_assignment)
        if not self._match(TokenType.RANGE):
            raise self._kda_unexpected("WINDOWED BY STAGGER (PARTITION BY … RANGE INTERVAL …)", "RANGE")
        length = self._parse_interval()
        if length is None:
            raise self._kda_unexpected("WINDOWED BY STAGGER (PARTITION BY … RANGE INTERVAL …)", "INTERVAL 'n' unit")
        if not self._match(TokenType.R_PAREN):
            raise self._kda_unexpected("WINDOWED BY STAGGER (PARTITION BY … RANGE INTERVAL …)", ")")
        group = exp.Group(expressions=keys)
        group.meta["stagger"] = length
        return group


def is_word(token: Token | None, word: str) -> bool:
    """Whether a token is a word that is no keyword of its own."""
    return bool(token) and token is not None and token.token_type == TokenType.VAR and token.text.upper() == word


def rearranged(given: list[Token]) -> list[Token]:
    """Tokens in the order of the grammar: ``SELECT DISTINCT STREAM`` becomes ``SELECT STREAM DISTINCT``, and ``WINDOWED BY
    STAGGER`` stands where GROUP BY does."""
    result = group_windows.named(given)
    for index in range(2, len(result)):
        first, second, third = result[index - 2 : index + 1]
        if (
            first.token_type == TokenType.SELECT
            and second.token_type in (TokenType.DISTINCT, TokenType.ALL)
            and is_word(third, "STREAM")
        ):
            result[index - 1], result[index] = third, second
    found: list[Token] = []
    index = 0
    while index < len(result):
        token = result[index]
        following = [each.text.upper() for each in result[index + 1 : index + 3]]
        if is_word(token, "WINDOWED") and following == ["BY", "STAGGER"]:
            found.append(
                Token(TokenType.GROUP_BY, "WINDOWED BY", token.line, token.col, token.start, result[index + 1].end, [])
            )
            index += 2
            continue
        found.append(token)
        index += 1
    return found
