"""Operands of types that do not go together: refused before anything runs, with both types and what would be right.

DuckDB casts one of them where it can, row by row: a text that is no number then fails its row, and one that is equals a number
that it was not written as. The language casts nothing by itself but numbers into other numbers, and dates into times; the text
of a time beside a time is one as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from analytics.casting import CASTS
from analytics.errors import SqlError, spelled
from analytics.guards import Writes
from analytics.intervals import fields_of
from analytics.literals import FORMS, is_literal
from analytics.places import place_of
from analytics.types import family, said

Operand = tuple[exp.Expr, str]
"""A tree and its type in DuckDB."""

_ALIKE = frozenset({"timestamp", "date"})
_MOMENTS = ("timestamp", "date", "time")
_TRUTHS = {"1": "TRUE", "TRUE": "TRUE", "0": "FALSE", "FALSE": "FALSE"}


def together(self: Writes, trees: Sequence[exp.Expr], refusal: str, near: exp.Expr) -> list[str]:
    """The SQL of operands that are compared, or are values of one expression. `refusal` says what is wrong with two that are not
    alike: their types stand in the place of its ``{}``."""
    written = [self.typed(tree) for tree in trees]
    alike([(tree, duck) for tree, (_, duck) in zip(trees, written, strict=True)], refusal, near)
    return [sql for sql, _ in written]


def alike(operands: Sequence[Operand], refusal: str, near: exp.Expr) -> None:
    """Raises `SqlError` at the first that does not go with the one before it; the text of a time goes with a time."""
    known = [operand for operand in operands if family(operand[1]) != "null"]
    timed = next((operand for operand in known if family(operand[1]) in _MOMENTS), None)
    first = timed or next(iter(known), None)
    for other in known:
        assert first is not None, "it is one of them"
        if not _go_together(first, other):
            one, two = sorted((first, other), key=known.index)
            what = refusal.format(said(one[1]), said(two[1]))
            raise SqlError(what, place_of(two[0]) or place_of(near), expected=_instead(one, two))


_COMPUTED: dict[str, frozenset[tuple[str, str]]] = {
    "+": frozenset(
        {("number", "number"), ("interval", "interval")}
        | {(moment, "interval") for moment in _MOMENTS}
        | {("interval", moment) for moment in _MOMENTS}
    ),
    "-": frozenset(
        {("number", "number"), ("interval", "interval")}
        | {(moment, "interval") for moment in _MOMENTS}
        | {(one, other) for one in _ALIKE for other in _ALIKE}
        | {("time", "time")}
    ),
    "*": frozenset({("number", "number"), ("interval", "number"), ("number", "interval")}),
    "/": frozenset({("number", "number"), ("interval", "number")}),
}
"""What is computed of which families of types."""


def computable(sign: str, left: Operand, right: Operand, near: exp.Expr) -> None:
    """Raises `SqlError` for operands that the sign does not take."""
    kinds = family(left[1]), family(right[1])
    if "null" in kinds or kinds in _COMPUTED[sign]:
        return
    what = f"{sign} does not take {said(left[1])} and {said(right[1])}"
    wrong = next((each for each in (left, right) if family(each[1]) not in ("number", "interval")), left)
    raise SqlError(what, place_of(wrong[0]) or place_of(near), expected=_computed_instead(left, right))


def number(self: Writes, tree: exp.Expr, name: str, near: exp.Expr) -> str:
    """The SQL of an argument that is a number."""
    return _argument(self, tree, name, near, "number")


def string(self: Writes, tree: exp.Expr, name: str, near: exp.Expr) -> str:
    """The SQL of an argument that is a text."""
    return _argument(self, tree, name, near, "text")


def _argument(self: Writes, tree: exp.Expr, name: str, near: exp.Expr, kind: str) -> str:
    sql, duck = self.typed(tree)
    if family(duck) not in (kind, "null"):
        what = f"{name} of a {family(duck)}"
        raise SqlError(what, place_of(tree) or place_of(near), expected=f"a {kind}")
    return sql


def _go_together(one: Operand, other: Operand) -> bool:
    kinds = {family(one[1]), family(other[1])}
    if len(kinds) == 1 or kinds == _ALIKE:
        return True
    return "text" in kinds and any(_is_time_of(a, b) for a, b in ((one, other), (other, one)))


def _is_time_of(text: Operand, moment: Operand) -> bool:
    """Whether one is the literal of a text that is a time of the other's type."""
    tree, kind = text[0].unnest(), family(moment[1]).upper()
    if kind not in FORMS or not isinstance(tree, exp.Literal) or not tree.is_string:
        return False
    return is_literal(kind, tree.name) or (kind == "TIMESTAMP" and is_literal("DATE", tree.name))


def _computed_instead(left: Operand, right: Operand) -> str | None:
    texts = [each for each in (left, right) if family(each[1]) == "text"]
    if texts:
        others = [said(each[1]) for each in (left, right) if family(each[1]) == "number"]
        return _number_of(texts[0][0], (others or ["INTEGER"])[0])
    if family(left[1]) in _MOMENTS and family(right[1]) == "number":
        return (
            f"an interval, as in INTERVAL '{_shown(right[0])}' DAY"
            if isinstance(right[0], exp.Literal)
            else "an interval"
        )
    return None


def _instead(one: Operand, other: Operand) -> str | None:
    """What would be right in the place of one of two."""
    for (tree, duck), (beside, wanted) in ((one, other), (other, one)):
        literal, kind, to = isinstance(tree.unnest(), exp.Literal), family(duck), family(wanted)
        if literal and to == "interval":
            fields = fields_of(beside)
            return None if fields is None else f"INTERVAL '{tree.unnest().name}' {' TO '.join(dict.fromkeys(fields))}"
        if literal and to == "boolean":
            return _TRUTHS.get(tree.unnest().name.upper(), "TRUE or FALSE")
        if literal and kind == "number" and to == "text":
            quoted = f"'{tree.unnest().name}'"
            return quoted if isinstance(beside.unnest(), exp.Literal) else f"{quoted}, or {_cast(beside, said(duck))}"
        if literal and kind == "text" and to == "number":
            return _number_of(tree, said(wanted))
        if literal and kind == "text" and to.upper() in FORMS:
            return f"{to.upper()} '{FORMS[to.upper()][1]}'"
    for (tree, duck), (_, wanted) in ((one, other), (other, one)):
        if family(duck) == "number" and family(wanted) == "timestamp":
            return f"TO_TIMESTAMP({_shown(tree)})"
        if family(duck) == "text" and "text" in CASTS.get(family(wanted), ()) and family(wanted) != "interval":
            return _cast(tree, said(wanted))
    for (tree, duck), (_, wanted) in ((one, other), (other, one)):
        if family(wanted) in CASTS.get(family(duck), ()):
            return _cast(tree, said(wanted))
    return None


def _number_of(tree: exp.Expr, duck: str) -> str:
    """A text as a number: what stands in the quotes of one that is."""
    literal = tree.unnest()
    if not isinstance(literal, exp.Literal):
        return _cast(tree, duck)
    try:
        float(literal.name)
    except ValueError:
        return "a number"
    return f"{literal.name.strip()}"


def _cast(tree: exp.Expr, to: str) -> str:
    return f"CAST({_shown(tree)} AS {to})"


def _shown(tree: exp.Expr) -> str:
    """A name or a literal as it is written; of what is computed, that it is there."""
    tree = tree.unnest()
    if isinstance(tree, exp.Literal):
        return str(tree.sql())
    return spelled(tree.meta["name"]) if "name" in tree.meta else "…"
