"""Functions of text that have a syntax of their own, as DuckDB SQL."""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import exp

from analytics.errors import SqlError
from analytics.functions import patterns
from analytics.guards import Writes, guarded, once, text
from analytics.operands import number, string
from analytics.places import place_of
from analytics.types import family


def substring(self: Writes, node: exp.Expr) -> str:
    (value, duck), start, length = self.typed(node.this), node.args.get("start"), node.args.get("length")
    if family(duck) != "binary":
        string(self, node.this, "SUBSTRING", node)
    if start is not None and family(self.typed(start)[1]) == "text":
        checked(start, patterns.compiled)
        return f"kda_regex_first({value}, {self.write(start)})"
    if family(duck) == "binary":
        return _bytes(self, value, start, length)
    first = "1" if start is None else number(self, start, "SUBSTRING", node)
    count = "" if length is None else number(self, length, "SUBSTRING", node)

    def part(value: str, first: str, count: str) -> str:
        end = f", greatest({count} + least({first}, 1) - 1, 0)" if count else ""
        found = f"substring({value}, greatest({first}, 1){end})"
        # Past the end SUBSTRING(s FROM n) is empty and SUBSTRING(s, n) is NULL.
        if node.meta.get("comma"):
            found = f"CASE WHEN {first} > length({value}) THEN NULL ELSE {found} END"
        return _strict(found, node.this, (start, first), (length, count))

    if length is None:
        return once(lambda value, first: part(value, first, ""), value, first)
    return once(part, value, first, count)


_STRICT = (exp.Column, exp.Identifier, exp.Literal, exp.Paren, exp.Neg, exp.Add, exp.Sub, exp.StrPosition, exp.Length)
"""What is NULL only where a column in it is."""


def _strict(sql: str, value: exp.Expr, *numbers: tuple[exp.Expr | None, str]) -> str:
    """`sql`, or NULL where one of the numbers in it is: greatest() and least() pass over a NULL. Numbers that are computed
    of the text itself are NULL only where it is, and need no look."""
    columns = {value} if isinstance(value, exp.Column) else set()
    missing = [
        f"{number} IS NULL"
        for node, number in numbers
        if node is not None
        and not (all(isinstance(each, _STRICT) for each in node.walk()) and set(node.find_all(exp.Column)) <= columns)
    ]
    return f"CASE WHEN {' OR '.join(missing)} THEN NULL ELSE {sql} END" if missing else sql


def _bytes(self: Writes, value: str, start: exp.Expr | None, length: exp.Expr | None) -> str:
    """A part of bytes, which DuckDB's substring does not take."""
    first = "1" if start is None else self.write(start)
    end = "-1" if length is None else f"{first} + {self.write(length)} - 1"
    return f"({value})[greatest({first}, 1):{end}]"


def checked(pattern: exp.Expr, check: Callable[[str], object]) -> None:
    """A literal is looked at before anything runs; anything else when it is computed."""
    if isinstance(pattern, exp.Literal) and pattern.is_string:
        try:
            check(pattern.name)
        except ValueError as error:
            raise SqlError(str(error), place_of(pattern) or place_of(pattern.parent)) from error


def substring_similar(self: Writes, node: exp.Expr) -> str:
    escape = node.args["escape"]
    if isinstance(escape, exp.Literal):
        checked(node.expression, lambda pattern: patterns.parts(pattern, escape.name))
    value, pattern, sign = (string(self, tree, "SUBSTRING", node) for tree in (node.this, node.expression, escape))
    return f"kda_substring_similar({value}, {pattern}, {sign})"


def overlay(self: Writes, node: exp.Expr) -> str:
    begin, size = node.args["from_"], node.args.get("for_")
    value, placed = (string(self, tree, "OVERLAY", node) for tree in (node.this, node.expression))
    start = number(self, begin, "OVERLAY", node)
    count = "" if size is None else number(self, size, "OVERLAY", node)

    def overlaid(value: str, placed: str, start: str, count: str) -> str:
        made = (
            f"(left({value}, greatest({start} - 1, 0)) || {placed} || "
            f"substring({value}, greatest(greatest({start}, 1) + {count} + least({start} - 1, 0), 1)))"
        )
        made = _strict(made, node.this, (begin, start), (size, count))
        if size is None or isinstance(size, exp.Literal):
            return made
        return guarded(made, lambda _: f"{count} < 0", "OVERLAY replaces 0 characters or more", "VARCHAR")

    if size is None:
        return once(lambda v, p, s: overlaid(v, p, s, f"length({p})"), value, placed, start)
    return once(overlaid, value, placed, start, count)


def similar(self: Writes, node: exp.Expr, escape: exp.Expr | None = None) -> str:
    sign = "" if escape is None else escape.name
    pattern = node.expression
    value, wanted = (string(self, tree, "SIMILAR TO", node) for tree in (node.this, pattern))
    if not isinstance(pattern, exp.Literal):
        return f"kda_similar({value}, {wanted}, {text(sign)})"
    try:
        translated = patterns.translate(pattern.name, sign)
        re.compile(translated)
    except ValueError as error:
        raise SqlError(str(error), place_of(pattern) or place_of(node)) from error
    except re.error as error:
        what = f"{pattern.name!r} is no pattern of SIMILAR TO: {error}"
        raise SqlError(what, place_of(pattern) or place_of(node)) from error
    if "(?!" in translated:
        return f"kda_similar({value}, {wanted}, {text(sign)})"
    return f"regexp_full_match({value}, {text(translated)}, 's')"


def like(self: Writes, node: exp.Expr, escape: exp.Expr | None = None) -> str:
    sign = "" if escape is None else f" ESCAPE {self.write(escape)}"
    word = "NOT LIKE" if node.args.get("negate") else "LIKE"
    return f"({self.write(node.this)} {word} {self.write(node.expression)}{sign})"


def escape(self: Writes, node: exp.Expr) -> str:
    sign = node.expression
    if not isinstance(sign, exp.Literal) or not sign.is_string or len(sign.name) != 1:
        raise SqlError("ESCAPE takes one character", place_of(node), found=sign.sql(), expected="ESCAPE '!'")
    written = similar if isinstance(node.this, exp.SimilarTo) else like
    return written(self, node.this, sign)


def trim(self: Writes, node: exp.Expr) -> str:
    given = node.args.get("expression")
    if isinstance(given, exp.Literal) and len(given.name) != 1:
        raise SqlError("TRIM takes one character", place_of(node), found=f"'{given.name}'")
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or "BOTH").upper(), "trim")
    if given is None:
        return f"{name}({self.write(node.this)})"
    sign = self.write(given)
    value = self.write(node.this)
    trimmed = f"{name}({value}, {sign})"
    if isinstance(given, exp.Literal):
        return trimmed
    return guarded(trimmed, lambda _: f"length({sign}) <> 1", "TRIM takes one character", "VARCHAR")


def unicode(self: Writes, node: exp.Expr) -> str:
    """``u&'\\0009'``: four hexadecimal digits behind the escape character are a character, and it twice is itself."""
    escape = node.args.get("escape")
    sign = escape.name if isinstance(escape, exp.Literal) else "\\"
    given = node.this.name if isinstance(node.this, exp.Expr) else str(node.this)
    pattern = re.compile(re.escape(sign) + r"([0-9A-Fa-f]{4}|" + re.escape(sign) + ")")
    return text(pattern.sub(lambda found: sign if found[1] == sign else chr(int(found[1], 16)), given))
