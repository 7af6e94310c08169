"""The sources of a query: what stands in FROM, in joins, and in IN and EXISTS.

The sources of FROM have the aliases t0, t1, … in their order. A subquery that only filters and projects is written into the
query around it; any other becomes a stream of its own, which `Builder` makes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sqlglot import exp

from analytics.errors import SqlError, closest
from analytics.intervals import milliseconds
from analytics.lookups import Lookups
from analytics.places import place_of
from analytics.program import ERROR_STREAM, folded
from analytics.relation import ROWTIME, Field, Relation, Scope
from analytics.resolved import Join, Query, aggregates_of, filtered, resolve
from analytics.unread import unread

JOIN_ROWS_MAX = 100_000
"""Rows of a window in a join: what is looked through in memory with each micro-batch."""
JOINS_MAX = 16
"""Sources of one query: far above what people write, far below what makes planning slow."""


class Builder(Protocol):
    """Makes streams of queries that stand in FROM."""

    def subquery(self, tree: exp.Expr) -> Relation: ...

    def ranked(self, tree: exp.Expr, most: int) -> Query:
        """A query that numbers rows, of which only the first are taken: resolved, over a stream of just these."""
        ...

    def table_function(self, call: exp.Expr, alias: str | None) -> Relation: ...

    def values(self, values: exp.Values) -> Relation: ...


@dataclass(slots=True)
class Relations:
    """Everything that FROM may name, by its name in the program; `views` are queries by name."""

    named: dict[str, Relation]
    lenient: bool = False
    views: Mapping[str, exp.Expr] = field(default_factory=dict)
    updating: set[str] = field(default_factory=set)
    """The tables that pumps fill."""

    def is_table(self, source: exp.Expr) -> bool:
        """Whether a source is the name of a reference table."""
        if not isinstance(source, exp.Table) or not isinstance(source.this, exp.Identifier):
            return False
        found = self.named.get(folded(source.this))
        return found is not None and not found.timed

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
            near = closest(name, [*self.named, *self.views])
            raise SqlError(f"there is no stream or reference table {name}", place_of(table), suggestion=near)
        if found.name in self.updating:
            what = f"{found.name} is a table: its rows change, and a pump cannot follow that"
            raise SqlError(what, place_of(table), expected="a batch query of it")
        return found


@dataclass(slots=True)
class Sources:
    """The sources of one query, as they are found. `read` resolves a subquery."""

    relations: Relations
    builder: Builder
    scope: Scope
    read: Callable[[exp.Expr, Relations, Builder], Query]
    _aliases: Iterator[int] = field(default_factory=itertools.count)

    def first(
        self, source: exp.Expr, most: int | None = None, *, missing: bool = False
    ) -> tuple[Relation, exp.Expr | None, tuple[int, int | None]]:
        """The first source of FROM; a simple subquery gives its own source and its condition. `most`: it is a query that
        numbers rows, and only so many are taken of each key. `missing`: joined rows may have none of it; then its columns
        are NULL, which an expression written in their place would not be."""
        if isinstance(source, exp.Subquery) and most is not None:
            return self._written_in(source, self.builder.ranked(source.this, most))
        if isinstance(source, exp.Subquery) and _plain(source.this):
            inner = self.read(source.this, self.relations, self.builder)
            simple = not missing or all(isinstance(item, exp.Column) for _, item in inner.items)
            if not inner.joined and inner.rowtime is None and inner.stream.timed and not inner.scope.using and simple:
                return self._written_in(source, inner)
        alias = f"t{next(self._aliases)}"
        return self._named(source, alias), None, _reach(source)

    def _written_in(
        self, source: exp.Subquery, inner: Query
    ) -> tuple[Relation, exp.Expr | None, tuple[int, int | None]]:
        """The names of a subquery stand for the expressions behind them."""
        next(self._aliases)
        names = _column_names(source, len(inner.items))
        fields = tuple(
            Field(renamed or name or f"EXPR${i}", "", "", node)
            for i, ((name, node), renamed) in enumerate(zip(inner.items, names, strict=True))
        )
        shown = Relation(_alias(source) or "the subquery", "", fields, True, alias="t0")
        self.scope.add(_alias(source) or "", "", shown, source)
        where = inner.where
        if inner.before is not None:
            where = inner.before if where is None else filtered(inner.before, where)
        return inner.stream, where, _reach(source)

    def join(self, join: exp.Join) -> Join:
        side, kind = (join.side or "").upper(), (join.kind or "").upper()
        method = (join.args.get("method") or "").upper()
        if kind not in ("", "INNER", "OUTER", "CROSS") or method not in ("", "NATURAL", "ASOF"):
            words = " ".join(filter(None, (method, side, kind)))
            raise SqlError(f"{words} JOIN is not supported", place_of(join), expected="INNER, LEFT, RIGHT or FULL JOIN")
        alias = f"t{next(self._aliases)}"
        if int(alias[1:]) > JOINS_MAX:
            raise SqlError(f"a query joins at most {JOINS_MAX} tables", place_of(join))
        known = list(self.scope.sources.values())
        relation = self._named(join.this, alias)
        shared = self._shared(join, method, known, relation)
        on = join.args.get("on")
        condition = None if on is None else resolve(on, self.scope)
        for name in shared:
            left = next(hit for a, r in known if (hit := self.scope.column(a, r, name)) is not None)
            right = self.scope.column(alias, relation, name)
            assert right is not None, "it is shared"
            same = exp.EQ(this=left, expression=right)
            condition = same if condition is None else exp.And(this=condition, expression=same)
            self.scope.using.add(name)
        if condition is not None:
            no_aggregates(condition, "ON")
            no_windows(condition, "ON")
        elif side:
            raise SqlError(f"{side} JOIN needs a condition", place_of(join), expected="ON")
        if method == "ASOF" and (side not in ("", "LEFT") or kind == "CROSS"):
            raise SqlError(
                f"ASOF {side or kind} JOIN is not supported", place_of(join), expected="ASOF JOIN or ASOF LEFT JOIN"
            )
        if not relation.timed and _over(join.this) is not None:
            what = f"{relation.name} is a reference table, whose rows have no time: no window (OVER) stands behind it"
            raise SqlError(what, place_of(join.this))
        reach, rows = _reach(join.this)
        return Join(alias, relation, side, condition, reach, join, asof=method == "ASOF", rows=rows)

    def lookups(self, select: exp.Select) -> list[Join]:
        """Queries in expressions become joins."""
        condition = select.args.get("where")
        lookups = Lookups(self.relations.find, self.scope, lambda: f"t{next(self._aliases)}")
        return lookups.taken([*([] if condition is None else [condition]), *select.expressions])

    def _shared(self, join: exp.Join, method: str, known: list[tuple[str, Relation]], relation: Relation) -> list[str]:
        """The columns of USING, or those that NATURAL finds."""
        names = {each.name for _, other in known for each in other.fields}
        own = [each.name for each in relation.fields]
        if method == "NATURAL":
            return [name for name in own if name in names]
        shared = []
        for identifier in join.args.get("using") or []:
            name = folded(identifier)
            if name not in names or name not in own:
                raise SqlError(
                    f"USING names {name}, which is not a column of both sides",
                    place_of(identifier),
                    suggestion=closest(name, names & set(own)),
                )
            shared.append(name)
        return shared

    def _named(self, source: exp.Expr, alias: str) -> Relation:
        """A source under its name: a stream, a table, a view, a subquery or a table function."""
        view = None
        if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
            view = self.relations.views.get(folded(source.this))
        if view is not None:
            relation = self.builder.subquery(view)
            name = _alias(source) or folded(source.this)
        elif isinstance(source, exp.Subquery):
            relation = self.builder.subquery(source.this)
            name = _alias(source) or ("" if "" not in self.scope.sources else alias)
        elif isinstance(source, exp.Table) and isinstance(source.this, exp.Func | exp.Anonymous):
            relation = self.builder.table_function(source.this, _alias(source))
            name = _alias(source) or ("" if "" not in self.scope.sources else alias)
        elif isinstance(source, exp.Values):
            relation = self.builder.values(source)
            name = _alias(source) or alias
        elif isinstance(source, exp.Table):
            relation = self.relations.find(source)
            name = _alias(source) or relation.name
        else:
            raise SqlError("this is not supported in FROM", place_of(source), expected="a stream or a reference table")
        names = _column_names(source, len(relation.fields))
        if any(names):
            fields = tuple(
                Field(renamed or each.name, each.physical, each.duck)
                for each, renamed in zip(relation.fields, names, strict=True)
            )
            renamed_relation = Relation(relation.name, relation.physical, fields, relation.timed, relation.hidden)
            renamed_relation.used = relation.used
            relation = renamed_relation
        self.scope.add(name, alias, relation, source)
        return relation


def _plain(tree: exp.Expr) -> bool:
    """Whether a subquery only filters and projects one source."""
    while isinstance(tree, exp.Subquery) and not tree.args.get("alias"):
        tree = tree.this
    if not isinstance(tree, exp.Select):
        return False
    if any(tree.args.get(key) for key in ("group", "having", "distinct", "order", "joins", "windows")):
        return False
    source = tree.args.get("from_")
    if source is None or source.this.args.get("joins"):
        return False
    return not any(item.find(exp.AggFunc, exp.Window, exp.Anonymous) for item in tree.expressions)


def _alias(source: exp.Expr) -> str | None:
    alias = source.args.get("alias")
    return None if alias is None or alias.this is None else folded(alias.this)


def _column_names(source: exp.Expr, count: int) -> list[str | None]:
    """The names of ``AS t(c1, c2)``, or None for each column."""
    alias = source.args.get("alias")
    columns = [] if alias is None else alias.args.get("columns") or []
    if not columns:
        return [None] * count
    if len(columns) != count:
        raise SqlError(
            f"{len(columns)} names for columns", place_of(alias), expected=f"{count}, as many as the source has"
        )
    return [folded(column if isinstance(column, exp.Identifier) else column.this) for column in columns]


def _over(source: exp.Expr) -> exp.Expr | None:
    alias = source.args.get("alias")
    window: exp.Expr | None = None if alias is None else alias.meta.get("over")
    return window


def _reach(source: exp.Expr) -> tuple[int, int | None]:
    """How far the window behind a source reaches back: ``OVER (RANGE INTERVAL … PRECEDING)`` in milliseconds, and
    ``OVER (ROWS n PRECEDING)`` in rows."""
    window = _over(source)
    if window is None:
        return 0, None
    spec = window.args.get("spec")
    if window.args.get("partition_by"):
        raise SqlError("a window of a join has no PARTITION BY", place_of(window))
    order = window.args.get("order")
    for each in [] if order is None else order.expressions:
        name = each.this.this if isinstance(each.this, exp.Column) else each.this
        if not isinstance(name, exp.Identifier) or folded(name) != ROWTIME or each.args.get("desc"):
            raise SqlError("a window of a join is in the order of ROWTIME", place_of(each) or place_of(source))
    for part in unread(window):
        raise SqlError(f"{part.what} is not supported", place_of(window) or place_of(source), expected=part.instead)
    if spec is None:
        what = "this window of a join is not supported"
        raise SqlError(what, place_of(window) or place_of(source), expected="OVER (RANGE INTERVAL … PRECEDING)")
    if spec.args.get("start_side") == "FOLLOWING" or spec.args.get("end_side") == "FOLLOWING":
        raise SqlError(
            "a window that reaches ahead (FOLLOWING) is not supported", place_of(window), expected="PRECEDING"
        )
    start = spec.args.get("start")
    if start == "CURRENT ROW":
        return 0, None
    kind = spec.args.get("kind", "").upper()
    if kind == "ROWS" and isinstance(start, exp.Literal) and start.name.isdigit():
        if not 0 < int(start.name) <= JOIN_ROWS_MAX:
            what = f"a window of a join has 1 to {JOIN_ROWS_MAX:,} rows"
            raise SqlError(what, place_of(window), expected="CURRENT ROW or ROWS n PRECEDING")
        return 0, int(start.name)
    if kind != "RANGE" or not isinstance(start, exp.Interval):
        expected = "RANGE INTERVAL … PRECEDING or ROWS n PRECEDING"
        what = "this window of a join is not supported"
        raise SqlError(what, place_of(window) or place_of(source), expected=expected)
    return milliseconds(start), None


def stream_first(listed: list[exp.Expr], relations: Relations, select: exp.Select) -> list[exp.Expr]:
    """The sources of FROM, beginning with a stream: a reference table in front of one changes places with it, where that
    means the same."""
    first, *rest = listed
    starred = any(isinstance(item, exp.Star) for item in select.expressions)
    if not relations.is_table(first) or not rest or not isinstance(rest[0], exp.Join) or starred:
        return listed
    side = (rest[0].side or "").upper()
    if side not in ("", "RIGHT") or relations.is_table(rest[0].this):
        return listed
    swapped = rest[0].copy()
    swapped.set("this", first.copy())
    swapped.set("side", "LEFT" if side == "RIGHT" else None)
    return [rest[0].this, swapped, *rest[1:]]


def no_aggregates(tree: exp.Expr, where: str) -> None:
    for found in aggregates_of(tree):
        raise SqlError(f"an aggregate cannot stand in {where}", place_of(found) or place_of(tree))


def no_windows(tree: exp.Expr, where: str) -> None:
    found = tree.find(exp.Window)
    if found is not None:
        raise SqlError(f"a window (OVER) cannot stand in {where}", place_of(found) or place_of(tree))
