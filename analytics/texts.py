"""Functions of text that have a syntax of their own, as DuckDB SQL."""

from __future__ import annotations

import re

from sqlglot import exp

from analytics.dialect import place_of
from analytics.errors import SqlError
from analytics.functions import patterns
from analytics.guards import Writes, guarded, text
from analytics.types import family


def substring(self: Writes, node: exp.Expr) -> str:
    value, start, length = self.write(node.this), node.args.get("start"), node.args.get("length")
    if start is not None and family(self.typed(start)[1]) == "text":
        return f"kda_regex_first({value}, {self.write(start)})"
    first = "1" if start is None else self.write(start)
    if length is None:
        found = f"substring({value}, greatest({first}, 1))"
    else:
        count = self.write(length)
        found = f"substring({value}, greatest({first}, 1), greatest({count} + least({first}, 1) - 1, 0))"
    # Past the end SUBSTRING(s FROM n) is empty and SUBSTRING(s, n) is NULL.
    if node.meta.get("comma"):
        found = f"CASE WHEN {first} > length({value}) THEN NULL ELSE {found} END"
    return _strict(found, node.this, (start, first), (length, "" if length is None else count))


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


def substring_similar(self: Writes, node: exp.Expr) -> str:
    return f"kda_substring_similar({self.write(node.this)}, {self.write(node.expression)}, {self.write(node.args['escape'])})"


def overlay(self: Writes, node: exp.Expr) -> str:
    begin, size = node.args["from_"], node.args.get("for_")
    value, placed, start = self.write(node.this), self.write(node.expression), self.write(begin)
    count = f"length({placed})" if size is None else self.write(size)
    made = (
        f"(left({value}, greatest({start} - 1, 0)) || {placed} || "
        f"substring({value}, greatest(greatest({start}, 1) + {count} + least({start} - 1, 0), 1)))"
    )
    made = _strict(made, node.this, (begin, start), (size, count))
    if size is None or isinstance(size, exp.Literal):
        return made
    return guarded(made, f"{count} < 0", "OVERLAY replaces 0 characters or more", "VARCHAR")


def similar(self: Writes, node: exp.Expr, escape: exp.Expr | None = None) -> str:
    sign = "" if escape is None else escape.name
    value, pattern = self.write(node.this), node.expression
    if not isinstance(pattern, exp.Literal):
        return f"kda_similar({value}, {self.write(pattern)}, {text(sign)})"
    try:
        translated = patterns.translate(pattern.name, sign)
        re.compile(translated)
    except (ValueError, re.error) as error:
        raise SqlError(str(error), place_of(pattern) or place_of(node)) from error
    if "(?!" in translated:
        return f"kda_similar({value}, {self.write(pattern)}, {text(sign)})"
    return f"regexp_full_match({value}, {text(translated)}, 's')"


def escape(self: Writes, node: exp.Expr) -> str:
    if isinstance(node.this, exp.SimilarTo):
        return similar(self, node.this, node.expression)
    return (
        f"({self.write(node.this.this)} LIKE {self.write(node.this.expression)} ESCAPE {self.write(node.expression)})"
    )


def trim(self: Writes, node: exp.Expr) -> str:
    given = node.args.get("expression")
    if isinstance(given, exp.Literal) and len(given.name) != 1:
        raise SqlError("TRIM takes one character", place_of(node), found=f"'{given.name}'")
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or "BOTH").upper(), "trim")
    given_sql = "" if given is None else f", {self.write(given)}"
    return f"{name}({self.write(node.this)}{given_sql})"


def unicode(self: Writes, node: exp.Expr) -> str:
    """``u&'\\0009'``: four hexadecimal digits behind the escape character are a character, and it twice is itself."""
    escape = node.args.get("escape")
    sign = escape.name if isinstance(escape, exp.Literal) else "\\"
    given = node.this.name if isinstance(node.this, exp.Expr) else str(node.this)
    pattern = re.compile(re.escape(sign) + r"([0-9A-Fa-f]{4}|" + re.escape(sign) + ")")
    return text(pattern.sub(lambda found: sign if found[1] == sign else chr(int(found[1], 16)), given))
