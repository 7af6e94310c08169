"""Clauses and expressions that the language has and sqlglot's grammar has not; `analytics.dialect` has the statements."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from sqlglot import exp, parser
from sqlglot.tokenizer_core import Token, TokenType

from analytics import group_windows
from analytics.errors import SqlError
from analytics.nodes import Cursor, Elapsed, Step, SubstringSimilar
from analytics.places import of_token

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
        "ANY": lambda self: self._kda_any(),
        "CEILING": parser.Parser.FUNCTION_PARSERS["CEIL"],
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

    def _kda_any(self) -> exp.Expr:
        if self._curr and self._curr.token_type == TokenType.SELECT:
            raise self._kda_unexpected("ANY is an aggregate, and compares with no query", "value IN (SELECT …)")
        return exp.LogicalOr(this=self._parse_assignment())

    def _parse_order(self, this: exp.Expr | None = None, skip_order_token: bool = False) -> exp.Expr | None:
        order = super()._parse_order(this, skip_order_token)
        if is_word(self._curr, "WITHIN"):
            what = "ORDER BY … WITHIN is not supported: rows that come late are put in order where they come in"
            raise self._kda_unexpected(what, "the lateness of the input, or a WATERMARK of the stream")
        return order

    def _parse_ordered(self, parse_method: Any = None) -> exp.Ordered | None:
        ordered = super()._parse_ordered(parse_method)
        words = [token.text.upper() for token in self._tokens[max(0, self._index - 2) : self._index]]
        if words == ["NULLS", "FIRST"]:
            raise SqlError(
                "NULLS FIRST is not supported: NULL is behind all values", of_token(self._prev), expected="NULLS LAST"
            )
        return ordered

    def _kda_step(self) -> exp.Expr:
        this = self._parse_bitwise()
        if not self._match_text_seq("BY"):
            raise self._kda_unexpected("STEP(value BY step)", "BY")
        return Step(this=this, expression=self._parse_bitwise())

    def _kda_unexpected(self, what: str, expected: str) -> Exception:
        raise NotImplementedError

    def _kda_substring(self) -> exp.Expr:
        this = self._parse_bitwise()
        if not self._match_text_seq("SIMILAR"):
            # What follows FROM is a place or a pattern; behind a comma it is a place.
            comma = bool(self._match(TokenType.COMMA))
            given = [this, *(self._parse_csv(self._parse_bitwise) if comma else [])]
            if self._match(TokenType.FROM):
                given.append(self._parse_bitwise())
            if self._match(TokenType.FOR):
                given += [*([exp.Literal.number(1)] if len(given) == 1 else []), self._parse_bitwise()]
            substring = self.validate_expression(exp.Substring.from_arg_list(given), given)
            substring.meta["comma"] = comma
            return substring
        pattern = self._parse_bitwise()
        if not self._match(TokenType.ESCAPE):
            raise self._kda_unexpected("SUBSTRING(text SIMILAR pattern ESCAPE character)", "ESCAPE")
        return SubstringSimilar(this=this, expression=pattern, escape=self._parse_bitwise())

    def _parse_paren(self) -> exp.Expr | None:
        this = super()._parse_paren()
        if isinstance(this, exp.Paren) and isinstance(this.this, exp.Sub) and self._kda_unit_ahead():
            return Elapsed(this=this, unit=self._kda_qualifier())
        return this

    def _kda_qualifier(self) -> exp.Expr:
        """``SECOND(3)``, or ``DAY TO SECOND``; TO and a unit that is not finer belong to a FLOOR around it."""
        unit = self._kda_unit()
        index = self._index
        if self._match_text_seq("TO") and self._kda_unit_ahead():
            last = self._kda_unit()
            if INTERVAL_UNITS.index(last.name) < INTERVAL_UNITS.index(unit.name):
                return exp.IntervalSpan(this=unit, expression=last)
        self._retreat(index)
        return unit

    def _kda_unit(self) -> exp.Var:
        unit = exp.var(self._curr.text.upper())
        self._advance()
        index = self._index
        if not (self._match(TokenType.L_PAREN) and self._match(TokenType.NUMBER) and self._match(TokenType.R_PAREN)):
            self._retreat(index)
        return unit

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


_VARYING = {"CHAR": TokenType.VARCHAR, "CHARACTER": TokenType.VARCHAR, "BINARY": TokenType.VARBINARY}


def rearranged(given: list[Token]) -> list[Token]:
    """Tokens in the order of the grammar: ``SELECT DISTINCT STREAM`` becomes ``SELECT STREAM DISTINCT``, ``WINDOWED BY
    STAGGER`` stands where GROUP BY does, and ``CHAR VARYING`` is one word. Raises `SqlError` for other windows."""
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
        if is_word(token, "WINDOWED") and following[:1] == ["BY"]:
            if following[1:] != ["STAGGER"]:
                at = result[min(index + 2, len(result) - 1)]
                raise SqlError("WINDOWED BY what", of_token(at), found=at.text, expected="STAGGER, or GROUP BY")
            found.append(_merged(TokenType.GROUP_BY, "WINDOWED BY", token, result[index + 1]))
            index += 2
            continue
        if following[:1] == ["VARYING"] and token.text.upper() in _VARYING:
            found.append(_merged(_VARYING[token.text.upper()], f"{token.text} VARYING", token, result[index + 1]))
            index += 2
            continue
        found.append(token)
        index += 1
    return found


def _merged(kind: TokenType, text: str, first: Token, last: Token) -> Token:
    return Token(kind, text, first.line, first.col, first.start, last.end, [])
