"""A query, resolved: what it reads, and its clauses as trees in which every name is a physical column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from analytics.errors import SqlError
from analytics.places import place_of
from analytics.relation import Relation, Scope


@dataclass(slots=True)
class Inner:
    """A query inside an expression, over one reference table whose columns have `alias`. `items` are what it gives a row
    around it, as (kind, tree): *some*: whether the tree holds for any row, NULL where there is none; *first*: of the first
    row; *rows*: their number; *aggregate*: a tree of aggregates."""

    relation: Relation
    alias: str
    items: list[tuple[str, exp.Expr]]
    where: exp.Expr | None


@dataclass(slots=True)
class Join:
    """A source behind the first. `side` is empty (inner), LEFT, RIGHT or FULL; `reach_ms` is the window of OVER, or `rows`
    the number of rows before the last one that are in it. With `asof`, the last row in time is the
    only match."""

    alias: str
    relation: Relation
    side: str
    on: exp.Expr | None
    reach_ms: int
    node: exp.Expr
    inner: Inner | None = None
    rows: int | None = None
    asof: bool = False


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
    rows: int | None = None
    """The window of the first source in a join, where it is one of rows."""
    joins: str = ""
    """Joins with reference tables, in DuckDB's words, once they are compiled."""

    @property
    def source(self) -> str:
        return f"FROM {self.stream.physical} AS t0{self.joins}"

    def trees(self) -> list[exp.Expr]:
        """Every tree of every clause."""
        found = [tree for _, tree in self.items] + self.keys + [tree for tree, _ in self.order]
        found += [join.on for join in self.joined if join.on is not None]
        for inner in self._inners():
            found += [tree for _, tree in inner.items] + ([] if inner.where is None else [inner.where])
        return found + [tree for tree in (self.before, self.where, self.rowtime, self.having) if tree is not None]

    def change(self, change: Callable[[exp.Expr], exp.Expr]) -> None:
        """Puts another tree in the place of every one."""

        def maybe(tree: exp.Expr | None) -> exp.Expr | None:
            return None if tree is None else change(tree)

        self.change_results(change)
        for join in self.joined:
            join.on = maybe(join.on)
        for inner in self._inners():
            inner.items = [(kind, change(tree)) for kind, tree in inner.items]
            inner.where = maybe(inner.where)
        self.before, self.where = maybe(self.before), maybe(self.where)

    def change_results(self, change: Callable[[exp.Expr], exp.Expr]) -> None:
        """The same for the trees of what the joined rows become, and not of which rows they are."""
        self.items = [(name, change(tree)) for name, tree in self.items]
        self.keys = [change(tree) for tree in self.keys]
        self.order = [(change(tree), descending) for tree, descending in self.order]
        self.rowtime = None if self.rowtime is None else change(self.rowtime)
        self.having = None if self.having is None else change(self.having)

    def _inners(self) -> list[Inner]:
        return [join.inner for join in self.joined if join.inner is not None]

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
        what = "a query inside an expression is not supported here"
        raise SqlError(what, place_of(inner), expected="it in WHERE or in the select list, or a JOIN")
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


_HARMLESS = (
    exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Not, exp.And, exp.Or, exp.Is, exp.In,
    exp.Between, exp.Predicate, exp.Coalesce, exp.Nullif, exp.Case, exp.If, exp.Upper, exp.Lower, exp.Length, exp.DPipe,
)  # fmt: skip


def harmless(tree: exp.Expr) -> bool:
    """Whether no row fails for it; other expressions may."""
    return all(isinstance(node, _HARMLESS) or _is_negative(node) for node in tree.walk())


def _is_negative(node: exp.Expr) -> bool:
    return isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal)


def filtered(first: exp.Expr | None, then: exp.Expr) -> exp.Expr:
    """The condition of a query over a query with the condition `first`: of rows that did not get through, nothing is asked
    that they could fail for. AND would leave the order to DuckDB."""
    if first is None:
        return then
    if harmless(then):
        return exp.And(this=first, expression=then)
    return exp.Case(ifs=[exp.If(this=first, true=then)], default=exp.false())
