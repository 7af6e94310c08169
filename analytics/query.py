"""A query, resolved: what it reads, and its clauses as trees in which every name is a physical column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from analytics.dialect import place_of
from analytics.errors import SqlError
from analytics.relation import Relation, Scope


@dataclass(slots=True)
class Join:
    """A source behind the first. `side` is empty (inner), LEFT, RIGHT or FULL; `reach_ms` is the window of OVER."""

    alias: str
    relation: Relation
    side: str
    on: exp.Expr | None
    reach_ms: int
    node: exp.Expr


@dataclass(slots=True)
class Query:
    """`stream` is the first source, alias t0; `reach_ms` its window in a join. `before` is the condition of a subquery that
    was written into this one. `items` are the select list as (name or None, tree); `keys` those of GROUP BY, or of WINDOWED
    BY STAGGER, whose windows are `stagger_ms` long; `order` is (tree, descending)."""

    stream: Relation
    reach_ms: int
    joined: list[Join]
    scope: Scope
    before: exp.Expr | None
    where: exp.Expr | None
    items: list[tuple[str | None, exp.Expr]]
    rowtime: exp.Expr | None
    keys: list[exp.Expr]
    stagger_ms: int | None
    having: exp.Expr | None
    order: list[tuple[exp.Expr, bool]]
    tree: exp.Select
    joins: str = ""
    """Joins with reference tables, in DuckDB's words, once they are compiled."""

    @property
    def source(self) -> str:
        return f"FROM {self.stream.physical} AS t0{self.joins}"

    def trees(self) -> list[exp.Expr]:
        """Every tree of every clause."""
        found = [tree for _, tree in self.items] + self.keys + [tree for tree, _ in self.order]
        found += [join.on for join in self.joined if join.on is not None]
        return found + [tree for tree in (self.before, self.where, self.rowtime, self.having) if tree is not None]

    def change(self, change: Callable[[exp.Expr], exp.Expr]) -> None:
        """Puts another tree in the place of every one."""

        def maybe(tree: exp.Expr | None) -> exp.Expr | None:
            return None if tree is None else change(tree)

        self.items = [(name, change(tree)) for name, tree in self.items]
        self.keys = [change(tree) for tree in self.keys]
        self.order = [(change(tree), descending) for tree, descending in self.order]
        for join in self.joined:
            join.on = maybe(join.on)
        self.before, self.where, self.rowtime = maybe(self.before), maybe(self.where), maybe(self.rowtime)
        self.having = maybe(self.having)

    @property
    def distinct(self) -> bool:
        return bool(self.tree.args.get("distinct"))

    @property
    def grouped(self) -> bool:
        """Whether there are groups: GROUP BY, HAVING, or an aggregate in the select list."""
        if self.keys or self.having is not None:
            return True
        return any(aggregates_of(tree) for _, tree in self.items)


def resolve(tree: exp.Expr, scope: Scope) -> exp.Expr:
    """A copy of `tree` in which every name is the physical column that it stands for."""
    inner = tree.find(exp.Query)
    if inner is not None:
        raise SqlError("a query inside an expression is not supported", place_of(inner), expected="a JOIN")
    return tree.copy().transform(lambda node: scope.resolve(node) if _is_name(node) else node, copy=False)


def _is_name(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and "name" not in node.meta


def aggregates_of(tree: exp.Expr) -> list[exp.Expr]:
    """The aggregates of a tree that belong to no window (OVER)."""
    return [
        found
        for found in tree.find_all(exp.AggFunc)
        if not isinstance(found.parent, exp.Window | exp.IgnoreNulls | exp.RespectNulls)
    ]
