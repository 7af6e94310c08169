"""What the stages of a query share: the protocol of what makes streams and pumps, and ways to rewrite trees.

Each stage computes what it needs in columns of a hidden stream, reads that, and makes another; the trees of the query are
then rewritten to name the new columns. Errors of rows so happen where expressions are computed, never in an operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import duckdb
from sqlglot import exp

from analytics import grouping
from analytics.expressions import Expressions
from analytics.inferred import Types
from analytics.operators.buffer import Buffer
from analytics.operators.work import Operator
from analytics.plan import Pump
from analytics.relation import Relation, physical
from analytics.resolved import Query
from analytics.types import of_duck

TIME = "TIMESTAMP_MS"


@dataclass(slots=True)
class Final:
    """A query after its stages: what computes its select list. `group` is set for one whose groups are still to be made;
    with `merged`, the rows of its stream are groups already; with
    `keys`, it goes into a table, and they are the columns (name, type) that say of which group a row is."""

    query: Query
    expressions: Expressions
    group: grouping.Grouped | None
    keys: tuple[tuple[str, str], ...] = ()
    merged: bool = False

    @property
    def grouped(self) -> bool:
        return self.merged or self.group is not None

    @property
    def items(self) -> list[tuple[str | None, exp.Expr]]:
        return self.query.items


class Stages(Protocol):
    """Makes hidden streams, and the pumps and operators between them (`analytics.lowering`)."""

    connection: duckdb.DuckDBPyConnection
    types: Types
    pumps: list[Pump]
    pump: str

    def stream(self, columns: Sequence[tuple[str, str]], extra: Sequence[tuple[str, str]] = ()) -> Relation:
        """A hidden stream with columns (name, type), known as c0, c1, …; `extra` are further physical ones."""
        ...

    def buffer(self, columns: Sequence[tuple[str, str]]) -> Buffer: ...

    def table(self) -> str:
        """The name of another table of the state."""
        ...

    def operate(self, operator: Operator, target: Relation, *sources: Relation) -> None: ...

    def project(self, final: Final, trees: Sequence[tuple[str, exp.Expr]]) -> Relation:
        """A hidden stream of the values of some trees, by name."""
        ...

    def subquery(self, tree: exp.Expr) -> Relation:
        """The rows of a query that stands in FROM, as a hidden stream."""
        ...

    def grouped(self, stream: Relation, keys: Sequence[exp.Expr], items: Sequence[tuple[str, exp.Expr]]) -> Relation:
        """The groups of a stream by keys, of which one is a window of its time."""
        ...


def kept(duck: str) -> str:
    """The type in which a hidden stream keeps values of a type."""
    if duck.startswith(("STRUCT", "INTERVAL", "TIME")) and not duck.startswith("TIMESTAMP"):
        return duck
    return of_duck(duck).duck


def columns_of(relation: Relation) -> list[tuple[str, str]]:
    return [(each.physical, each.duck) for each in relation.fields]


def shown(relation: Relation) -> list[tuple[str, str]]:
    return [(each.name, each.duck) for each in relation.fields]


def used(query: Query) -> dict[tuple[str, str], exp.Column]:
    """The physical columns that the query names, by (alias, name); the time of the row to come is not among them."""
    found: dict[tuple[str, str], exp.Column] = {}
    for tree in query.trees():
        for column in tree.find_all(exp.Column):
            if not column.meta.get("bare"):
                found.setdefault((column.args["table"].name, column.name), column)
    return found


def renamed(names: Mapping[tuple[str, str], str]) -> Callable[[exp.Expr], exp.Expr]:
    """A change of trees: columns by (alias, name) become columns of t0."""

    def change(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Column) or node.meta.get("bare"):
            return node
        key = (node.args["table"].name, node.name)
        if key not in names:
            return node
        column = physical("t0", names[key])
        column.meta.update(node.meta)
        column.meta.pop("direction", None)  # behind a join rows come in another order
        return column

    return lambda tree: tree.copy().transform(change, copy=False)


def columns_in(tree: exp.Expr) -> set[tuple[str, str]]:
    return {(column.args["table"].name, column.name) for column in tree.find_all(exp.Column)}


def placed(tree: exp.Expr, names: Mapping[tuple[str, str], str]) -> exp.Expr:
    """A copy with columns by (alias, name) under other aliases."""

    def change(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Column):
            return node
        to = names.get((node.args["table"].name, node.name))
        if to is None:
            return node
        alias, _, name = to.partition(".")
        column = physical(alias, name)
        column.meta.update(node.meta)
        column.meta["bare"] = False
        return column

    return tree.copy().transform(change, copy=False)
