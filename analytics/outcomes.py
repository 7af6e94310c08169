"""What conditions come to where parts of them fail.

A part that fails might have been TRUE, FALSE or NULL. Where the condition comes to the same whatever it is, that is what it comes
to, and the row does not fail: ``FALSE AND x``, ``TRUE OR x``, ``7 IN (7, x)``, ``9 BETWEEN x AND 1``. Where rows are chosen
(WHERE, HAVING, ON, WHEN) FALSE and NULL are alike, so there ``NULL AND x`` comes to no row as well.

DuckDB computes the parts of a condition in an order of its own, and stops where it can: what it gives without an error is by this
rule, whatever the order. Once it fails, the conditions are written anew as the range of what they may be, from the least to the
greatest of FALSE < NULL < TRUE, in four bits: AND of ranges is ``&`` then, and OR is ``|``.

    bit   8                     4                  2                  1
          greatest ≥ NULL       greatest = TRUE    least ≥ NULL       least = TRUE
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import duckdb

from analytics.plan import Pump, RowQuery

Tree = dict[str, Any]
"""An expression as DuckDB's json_serialize_sql gives it."""

_RANGE = "coalesce(TRY(coalesce(CAST(CAST(a AS BOOLEAN) AS INTEGER) * 15, 10)), 12)"
_INDEX = "list_position([0, 8, 10, 12, 14, 15], a)"
"""Of a range: FALSE, FALSE or NULL, NULL, anything, NULL or TRUE, TRUE."""
_VALUE = f"CAST(list_extract(['f', '?', NULL, '?', '?', 't'], {_INDEX}) AS BOOLEAN)"
_CHOICE = f"CAST(list_extract(['f', 'f', 'f', '?', '?', 't'], {_INDEX}) AS BOOLEAN)"
"""No text but these is cast to BOOLEAN without an error: the row fails."""
_PLAIN = ("COLUMN_REF", "CONSTANT")
_HARMLESS = ("lower", "upper", "length", "strlen", "left", "strpos", "||", "concat")
"""Functions that no row fails for."""


def patient(connection: duckdb.DuckDBPyConnection, query: RowQuery) -> RowQuery:
    """The query with its conditions written so that, row by row, nothing fails that decides nothing."""
    writer = _Writer(connection)
    return RowQuery(
        tuple((name, writer.value(sql)) for name, sql in query.columns),
        query.joins,
        None if query.condition is None else writer.choice(query.condition),
    )


def met(connection: duckdb.DuckDBPyConnection, condition: str) -> str:
    """SQL of a condition that is not met where it fails."""
    return f"coalesce(TRY({_Writer(connection).choice(condition)}), FALSE)"


def undecided(connection: duckdb.DuckDBPyConnection, pump: Pump) -> Pump:
    """The pump with conditions from which DuckDB concludes nothing ahead of the rows."""
    window = pump.window and replace(pump.window, closing=computed(connection, pump.window.closing))
    return replace(pump, rows=pump.rows and computed(connection, pump.rows), window=window)


def computed(connection: duckdb.DuckDBPyConnection, query: RowQuery) -> RowQuery:
    """The query with a condition in which what may fail is computed. Of two comparisons of one value DuckDB concludes what no
    value meets (``x BETWEEN 1 AND 0``), and of a comparison with a column that LEFT JOIN may leave NULL that it is not met
    there; it then leaves the value out."""
    condition = query.condition
    outer = "LEFT JOIN" in query.joins
    if condition is None or not (outer or re.search(r"\b(AND|OR|BETWEEN)\b", condition)):
        return query
    tree = _Writer(connection).read(condition)
    compared = list(_compared(tree))
    if (not outer or _harmless(tree)) and all(compared.count(value) == 1 for value in compared):
        return query
    return replace(query, condition=f"CASE WHEN t0.rt IS NULL THEN FALSE ELSE {condition} END")


def _compared(tree: Tree) -> Iterator[str]:
    """What may fail, as often as a part of the condition compares it."""
    if tree["class"] == "CONJUNCTION" or tree["type"] == "OPERATOR_NOT":
        for part in tree["children"]:
            yield from _compared(part)
        return
    values = [tree["input"]] * 2 if tree["class"] == "BETWEEN" else []
    values += [tree["left"], tree["right"]] if tree["class"] == "COMPARISON" else []
    yield from (json.dumps(_replaced(value, {})) for value in values if not _harmless(value))


def _harmless(tree: Tree) -> bool:
    """Whether no row fails for it."""
    if tree["class"] == "FUNCTION":
        parts = [part["expression"] for part in tree["arguments"]]
        return tree["function_name"] in _HARMLESS and all(map(_harmless, parts))
    if tree["class"] == "COMPARISON":
        return _harmless(tree["left"]) and _harmless(tree["right"])
    if tree["class"] == "BETWEEN":
        return all(_harmless(tree[part]) for part in ("input", "lower", "upper"))
    if tree["class"] in ("CONJUNCTION", "OPERATOR"):
        return all(map(_harmless, tree["children"]))
    return tree["class"] in _PLAIN


class _Writer:
    """DuckDB reads the SQL, and writes it again."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._templates: dict[str, Tree] = {}
        self._bound = 0

    def value(self, sql: str) -> str:
        return self._written(self._value(self.read(sql)))

    def choice(self, sql: str) -> str:
        return self._written(self._choice(self.read(sql)))

    def read(self, sql: str) -> Tree:
        tree: Tree = self._selected(sql)["statements"][0]["node"]["select_list"][0]
        return tree

    def _selected(self, sql: str) -> Tree:
        ((text,),) = self._connection.execute("SELECT json_serialize_sql(?)", [f"SELECT {sql}"]).fetchall()
        select: Tree = json.loads(text)
        return select

    def _written(self, tree: Tree) -> str:
        select = self._selected("NULL")
        select["statements"][0]["node"]["select_list"] = [tree]
        ((text,),) = self._connection.execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(select)]).fetchall()
        return str(text).removeprefix("SELECT ")

    def _filled(self, template: str, **parts: Tree) -> Tree:
        """The template with trees in the place of the columns of their names."""
        if template not in self._templates:
            self._templates[template] = self.read(template)
        filled: Tree = _replaced(self._templates[template], parts)
        return filled

    def _value(self, tree: Tree, form: str = _VALUE) -> Tree:
        return self._filled(form, a=self._range(tree, False)) if _decided(tree) else self._inside(tree)

    def _choice(self, tree: Tree) -> Tree:
        return self._value(tree, _CHOICE)

    def _inside(self, tree: Tree) -> Tree:
        """The tree with the conditions in it written anew."""
        return {key: self._choice(part) if key == "when_expr" else self._part(part) for key, part in tree.items()}

    def _part(self, part: Any) -> Any:
        if isinstance(part, list):
            return [self._part(each) for each in part]
        if not isinstance(part, dict):
            return part
        return self._value(part) if "class" in part else self._inside(part)

    def _range(self, tree: Tree, negated: bool) -> Tree:
        if tree["type"] == "OPERATOR_NOT":
            return self._range(tree["children"][0], not negated)
        if tree["class"] == "CONJUNCTION":
            return self._joined(
                [self._range(part, negated) for part in tree["children"]], tree["type"] == "CONJUNCTION_AND", negated
            )
        if not _decided(tree):
            whole = self._value(tree)
            return self._filled(_RANGE, a=self._filled("NOT a", a=whole) if negated else whole)
        if tree["class"] == "CASE":
            return self._filled("coalesce(TRY(a), 12)", a=self._branches(tree, negated))
        if tree["class"] == "BETWEEN":
            return self._compared(tree["input"], [(">=", tree["lower"]), ("<=", tree["upper"])], True, negated)
        first, *others = tree["children"]
        return self._compared(first, [("=", other) for other in others], False, negated)

    def _branches(self, tree: Tree, negated: bool) -> Tree:
        """CASE with the range of the branch that is taken."""
        checks = [
            {"when_expr": self._choice(check["when_expr"]), "then_expr": self._range(check["then_expr"], negated)}
            for check in tree["case_checks"]
        ]
        return {**tree, "case_checks": checks, "else_expr": self._range(tree["else_expr"], negated)}

    def _compared(self, value: Tree, others: list[tuple[str, Tree]], all_: bool, negated: bool) -> Tree:
        """The range of comparisons of one value, which is computed once."""
        if value["class"] not in _PLAIN:
            self._bound += 1
            name = f"v{self._bound}"
            inner = self._compared(self.read(name), others, all_, negated)
            bound = self._filled(
                f"list_extract(list_transform([a], lambda {name}: b), 1)", a=self._value(value), b=inner
            )
            return self._filled("coalesce(TRY(a), 12)", a=bound)
        sign = "NOT (a {} b)" if negated else "a {} b"
        tests = [self._filled(sign.format(word), a=value, b=self._value(other)) for word, other in others]
        return self._joined([self._filled(_RANGE, a=test) for test in tests], all_, negated)

    def _joined(self, ranges: list[Tree], all_: bool, negated: bool) -> Tree:
        sign = "&" if all_ is not negated else "|"
        made = ranges[0]
        for other in ranges[1:]:
            made = self._filled(f"a {sign} b", a=made, b=other)
        return made


def _decided(tree: Tree) -> bool:
    """Whether a part alone may decide it."""
    if tree["type"] == "OPERATOR_NOT":
        return _decided(tree["children"][0])
    if tree["class"] == "CASE":
        return any(map(_decided, [tree["else_expr"], *(check["then_expr"] for check in tree["case_checks"])]))
    if tree["class"] == "BETWEEN":
        return any(tree[side]["class"] not in _PLAIN for side in ("lower", "upper"))
    if tree["type"] == "COMPARE_IN":
        return any(item["class"] not in _PLAIN for item in tree["children"][1:])
    return bool(tree["class"] == "CONJUNCTION")


def _replaced(part: Any, trees: dict[str, Tree]) -> Any:
    if isinstance(part, list):
        return [_replaced(each, trees) for each in part]
    if not isinstance(part, dict):
        return part
    if part.get("class") == "COLUMN_REF" and len(part["column_names"]) == 1:
        return trees.get(part["column_names"][0], part)
    return {key: _replaced(each, trees) for key, each in part.items() if not key.startswith("query_location")}
