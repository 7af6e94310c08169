"""WITH: queries that are named before the one that uses them are written where their names stand."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from analytics.errors import SqlError
from analytics.places import place_of

USES_MAX = 256
"""Places of one statement in which a named query is written: names that use names twice double with each."""


def without_names(tree: exp.Expr) -> exp.Expr:
    """A copy of `tree` without WITH, at any depth. Raises `SqlError` for a query that names itself."""
    tree = tree.copy()
    while (query := next((each for each in tree.find_all(exp.Query) if each.args.get("with_")), None)) is not None:
        clause = query.args["with_"]
        if clause.args.get("recursive"):
            raise SqlError("WITH RECURSIVE is not supported", place_of(clause))
        known: dict[str, tuple[exp.CTE, int]] = {}
        for named in clause.expressions:
            uses = _write(named.this, known)
            known[_name(named.args["alias"].this)] = named, uses
        query.set("with_", None)
        _write(query, known)
    return tree


def _write(tree: exp.Expr, known: Mapping[str, tuple[exp.CTE, int]]) -> int:
    """Puts the queries, `known` with the number of queries in them, in the place of their names; how many there are then."""
    uses = 0
    for table in list(tree.find_all(exp.Table)):
        if not isinstance(table.this, exp.Identifier) or table.args.get("db") is not None:
            continue
        if _name(table.this) not in known:
            continue
        named, more = known[_name(table.this)]
        uses += 1 + more
        if uses > USES_MAX:
            raise SqlError(f"queries of WITH are used in more than {USES_MAX} places", place_of(table))
        alias = table.args.get("alias") or exp.TableAlias()
        if alias.this is None:
            alias.set("this", table.this.copy())
        if not alias.args.get("columns"):
            alias.set("columns", [column.copy() for column in named.args["alias"].args.get("columns") or []])
        table.replace(exp.Subquery(this=named.this.copy(), alias=alias, joins=table.args.get("joins")))
    return uses


def _name(identifier: exp.Expr) -> str:
    return str(identifier.name if identifier.args.get("quoted") else identifier.name.upper())
