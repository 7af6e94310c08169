"""FROM, WHERE and the select list of one query, with every name resolved."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import exp

from analytics.dialect import place_of
from analytics.errors import Place, SqlError, closest
from analytics.expressions import Expressions, Types
from analytics.program import ERROR_STREAM, folded
from analytics.relation import Field, Relation, Scope

JOINS_MAX = 16
"""Sources of one query: far above what people write, far below what makes planning slow."""

_REFUSED = {
    "with_": "WITH",
    "distinct": "SELECT DISTINCT",
    "order": "ORDER BY",
    "limit": "LIMIT",
    "offset": "OFFSET",
    "windows": "WINDOW",
    "qualify": "QUALIFY",
    "laterals": "LATERAL",
    "into": "SELECT INTO",
}
_SUPPORTED = {"hint", "expressions", "from_", "joins", "where", "group", "having", "kind"}


@dataclass(slots=True)
class Relations:
    """Everything that FROM may name, by its name in the program."""

    named: dict[str, Relation]
    lenient: bool = False

    def find(self, table: exp.Table) -> Relation:
        if not isinstance(table.this, exp.Identifier) or table.args.get("db") is not None:
            raise SqlError("this is not supported in FROM", place_of(table), expected="a stream or a reference table")
        name = folded(table.this)
        if name.lower() == ERROR_STREAM:
            raise SqlError(f"{ERROR_STREAM} cannot be read by the program", place_of(table))
        found = self.named.get(name)
        if found is None and self.lenient and not table.this.quoted:
            found = self.named.get(table.this.name)
            same = [other for other in self.named if other.lower() == name.lower()]
            if found is None and len(same) == 1:
                found = self.named[same[0]]
        if found is None:
            raise SqlError(
                f"there is no stream or reference table {name}", place_of(table), suggestion=closest(name, self.named)
            )
        return found


@dataclass(slots=True)
class Query:
    """One query, resolved: the trees in it name physical columns. `stream` is what it reads, alias t0; `joins` follow
    in DuckDB's words. `items` are the select list as (name or None, tree)."""

    stream: Relation
    joins: str
    scope: Scope
    where: exp.Expr | None
    items: list[tuple[str | None, exp.Expr]]
    tree: exp.Select
    _aliases: Iterator[int] = field(default_factory=itertools.count)

    @property
    def source(self) -> str:
        return f"FROM {self.stream.physical} AS t0{self.joins}"

    def resolved(self, tree: exp.Expr) -> exp.Expr:
        """A copy with every name resolved."""
        return resolve(tree, self.scope)


def read(tree: exp.Expr, relations: Relations, types: Types) -> Query:
    """Raises `SqlError` for what does not resolve and for clauses that are not supported."""
    select = _select(tree)
    aliases: Iterator[int] = itertools.count()
    scope = Scope(relations.lenient)
    from_ = select.args.get("from_")
    if from_ is None:
        raise SqlError("a query reads from a stream", place_of(select) or None, expected="FROM")
    first = from_.this
    if isinstance(first, exp.Subquery):
        inner = read(first.this, relations, types)
        stream, joins, where = inner.stream, inner.joins, inner.where
        if inner.tree.args.get("group") or any(node.find(exp.AggFunc) for _, node in inner.items):
            raise SqlError("a grouped query in FROM is not supported: make it a pump of its own", place_of(first))
        aliases = inner._aliases
        fields = tuple(Field(name or f"EXPR${i}", "", "", node) for i, (name, node) in enumerate(inner.items))
        scope.add(
            _alias(first) or "", "", Relation(_alias(first) or "the subquery", "", fields, True, alias="t0"), first
        )
    else:
        stream, joins, where = relations.find(first), "", None
        if not stream.timed:
            raise SqlError(f"{stream.name} is a reference table", place_of(first), expected="the stream first in FROM")
        next(aliases)
        scope.add(_alias(first) or stream.name, "t0", stream, first)
    for join in [*(first.args.get("joins") or []), *(select.args.get("joins") or [])]:
        joins += _join(join, relations, scope, f"t{next(aliases)}", joins, stream, types)
    condition = select.args.get("where")
    if condition is not None:
        own = resolve(condition.this, scope)
        _no_aggregates(own, "WHERE")
        where = own if where is None else exp.And(this=where, expression=own)
    return Query(stream, joins, scope, where, list(_items(select, scope)), select, aliases)


def resolve(tree: exp.Expr, scope: Scope) -> exp.Expr:
    """A copy of `tree` in which every name is the physical column that it stands for."""
    inner = tree.find(exp.Query)
    if inner is not None:
        raise SqlError("a query inside an expression is not supported", place_of(inner), expected="a JOIN")
    return tree.copy().transform(lambda node: scope.resolve(node) if _is_name(node) else node, copy=False)


def _is_name(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and "name" not in node.meta


def _select(tree: exp.Expr) -> exp.Select:
    while isinstance(tree, exp.Subquery) and not tree.args.get("alias"):
        tree = tree.this
    if isinstance(tree, exp.SetOperation):
        raise SqlError(f"{tree.key.upper()} is not supported", place_of(tree))
    if not isinstance(tree, exp.Select):
        raise SqlError("this is not a query", place_of(tree), expected="SELECT")
    for key, value in tree.args.items():
        if value and key not in _SUPPORTED:
            raise SqlError(f"{_REFUSED.get(key, key.upper())} is not supported", _place_of_any(value) or place_of(tree))
    for node in tree.find_all(exp.Window):
        raise SqlError("a sliding window (OVER) is not supported", place_of(node))
    if not tree.expressions:
        raise SqlError("the query selects nothing", place_of(tree), expected="columns after SELECT")
    return tree


def _place_of_any(value: object) -> Place | None:
    return place_of(value) if isinstance(value, exp.Expr) else None


def _alias(source: exp.Expr) -> str | None:
    alias = source.args.get("alias")
    if alias is None or alias.this is None:
        return None
    if alias.args.get("columns"):
        raise SqlError("a list of column names behind an alias is not supported", place_of(alias))
    return folded(alias.this)


def _join(
    join: exp.Join, relations: Relations, scope: Scope, alias: str, before: str, stream: Relation, types: Types
) -> str:
    side, kind = (join.side or "").upper(), (join.kind or "").upper()
    if side not in ("", "LEFT") or kind not in ("", "INNER", "OUTER", "CROSS") or join.args.get("method"):
        words = " ".join(filter(None, ((join.method or "").upper(), side, kind)))
        raise SqlError(f"{words} JOIN is not supported", place_of(join), expected="INNER JOIN or LEFT JOIN")
    if join.args.get("using"):
        raise SqlError("USING is not supported", place_of(join), expected="ON")
    if not isinstance(join.this, exp.Table):
        raise SqlError("a join with a query is not supported", place_of(join), expected="a reference table")
    relation = relations.find(join.this)
    if relation.timed:
        raise SqlError("a join of two streams is not supported", place_of(join), expected="a reference table")
    if int(alias[1:]) > JOINS_MAX:
        raise SqlError(f"a query joins at most {JOINS_MAX} tables", place_of(join))
    scope.add(_alias(join.this) or relation.name, alias, relation, join)
    on = join.args.get("on")
    if on is None:
        if side:
            raise SqlError("LEFT JOIN needs a condition", place_of(join), expected="ON")
        return f" CROSS JOIN {relation.physical} AS {alias}"
    resolved = resolve(on, scope)
    _no_aggregates(resolved, "ON")
    source = f"FROM {stream.physical} AS t0{before} CROSS JOIN {relation.physical} AS {alias}"
    condition = Expressions(types, source).write(resolved)
    return f" {side or 'INNER'} JOIN {relation.physical} AS {alias} ON {condition}"


def _no_aggregates(tree: exp.Expr, where: str) -> None:
    found = tree.find(exp.AggFunc)
    if found is not None:
        raise SqlError(f"an aggregate cannot stand in {where}", place_of(found) or place_of(tree))


def _items(select: exp.Select, scope: Scope) -> Iterator[tuple[str | None, exp.Expr]]:
    for item in select.expressions:
        if isinstance(item, exp.Star):
            yield from scope.star(None)
        elif isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
            yield from scope.star(item.args["table"])
        elif isinstance(item, exp.Alias):
            name = folded(item.args["alias"])
            if name == "ROWTIME":
                what = "AS ROWTIME is not supported: choose the time of the rows at the application's input"
                raise SqlError(what, place_of(item.args["alias"]))
            yield name, resolve(item.this, scope)
        else:
            yield (folded(item.this) if isinstance(item, exp.Column) else None), resolve(item, scope)
