"""WITH: queries that are named before the one that uses them are written where their names stand."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from analytics.dialect import place_of
from analytics.errors import SqlError

USES_MAX = 256
"""Places of one statement in which a named query is written: names that use names twice double with each."""


def without_names(tree: exp.Expr) -> exp.Expr:
    """A copy of `tree` without WITH, at any depth. Raises `SqlError` for a query that names itself."""
    tree, uses = tree.copy(), 0
    while (query := next((each for each in tree.find_all(exp.Query) if each.args.get("with_")), None)) is not None:
        clause = query.args["with_"]
        if clause.args.get("recursive"):
            raise SqlError("WITH RECURSIVE is not supported", place_of(clause))
        known: dict[str, exp.CTE] = {}
        for named in clause.expressions:
            uses += _write(named.this, known)
            known[_name(named.args["alias"].this)] = named
        query.set("with_", None)
        uses += _write(query, known)
        if uses > USES_MAX:
            raise SqlError(f"queries of WITH are used in more than {USES_MAX} places", place_of(clause))
    return tree


def _write(tree: exp.Expr, known: Mapping[str, exp.CTE]) -> int:
    """Puts the queries in the place of their names; how many."""
    uses = 0
    for table in list(tree.find_all(exp.Table)):
        if not isinstance(table.this, exp.Identifier) or table.args.get("db") is not None:
            continue
        named = known.get(_name(table.this))
        if named is None:
            continue
        alias = table.args.get("alias") or exp.TableAlias()
        if alias.this is None:
            alias.set("this", table.this.copy())
        if not alias.args.get("columns"):
            alias.set("columns", [column.copy() for column in named.args["alias"].args.get("columns") or []])
        table.replace(exp.Subquery(this=named.this.copy(), alias=alias, joins=table.args.get("joins")))
        uses += 1
    return uses


def _name(identifier: exp.Expr) -> str:
    return str(identifier.name if identifier.args.get("quoted") else identifier.name.upper())
