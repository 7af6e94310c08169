"""Queries inside expressions: IN, EXISTS and ``(SELECT …)`` over one reference table, which may name columns around them.

Each becomes a join that gives every row exactly one row more: what the expression is made of. So an expression only ever
names columns, and a reference table is searched by a hash of what is compared, not once for each row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from analytics.errors import SqlError
from analytics.nodes import OnlyRow
from analytics.places import place_of
from analytics.program import folded
from analytics.relation import Field, Relation, Scope, physical
from analytics.resolved import Inner, Join, aggregates_of, resolve

EXPECTED = "a query of one reference table: SELECT column FROM table WHERE …"


@dataclass(slots=True)
class Lookups:
    """Takes the queries out of the expressions of one SELECT, whose names `scope` knows. `find` knows the tables, `alias`
    makes aliases."""

    find: Callable[[exp.Table], Relation]
    scope: Scope
    alias: Callable[[], str]

    def taken(self, trees: list[exp.Expr]) -> list[Join]:
        """The joins; in the trees, which are changed, columns stand in the place of the queries."""
        joins: list[Join] = []
        for tree in trees:
            for node in [each for each in tree.find_all(exp.In, exp.Exists) if _query_of(each) is not None]:
                value, more = self._in(node) if isinstance(node, exp.In) else self._exists(node)
                node.replace(exp.Paren(this=value))
                joins += more
            for query in list(tree.find_all(exp.Subquery)):
                value, more = self._scalar(query)
                alias = query.args.get("alias")
                value = exp.Paren(this=value)
                query.replace(value if alias is None else exp.Alias(this=value, alias=alias))
                joins += more
        return joins

    def _exists(self, node: exp.Expr) -> tuple[exp.Expr, list[Join]]:
        inner, _ = self._inner(node.this, any_columns=True)
        inner.items = [("some", exp.true())]
        join = self._join(inner, node)
        return _given(join, "c0"), [join]

    def _in(self, node: exp.In) -> tuple[exp.Expr, list[Join]]:
        """TRUE with an equal value; else unknown where the query gives a NULL, or where NULL is looked for in anything."""
        query = _query_of(node)
        assert query is not None
        inner, item = self._inner(query)
        if any(aggregates_of(item)):
            raise SqlError("IN compares with a column, not with an aggregate", place_of(query), expected=EXPECTED)
        wanted = resolve(node.this, self.scope)
        equal = exp.EQ(this=wanted, expression=item.copy())
        rest = Inner(inner.relation, inner.alias, [("some", exp.Is(this=item, expression=exp.Null()))], inner.where)
        inner.items = [("some", exp.true())]
        inner.where = equal if inner.where is None else exp.And(this=exp.Paren(this=inner.where), expression=equal)
        found, others = self._join(inner, node), self._join(rest, node)
        nothing = exp.Is(this=physical(others.alias, "c0"), expression=exp.Null())
        unknown = exp.Or(
            this=physical(others.alias, "c0"), expression=exp.Is(this=wanted.copy(), expression=exp.Null())
        )
        arms = [
            exp.If(this=_given(found, "c0"), true=exp.true()),
            exp.If(this=nothing, true=exp.false()),
            exp.If(this=unknown, true=exp.Null()),
        ]
        return exp.Case(ifs=arms, default=exp.false()), [found, others]

    def _scalar(self, node: exp.Subquery) -> tuple[exp.Expr, list[Join]]:
        inner, item = self._inner(node)
        if any(aggregates_of(item)):
            inner.items = [("aggregate", item)]
            join = self._join(inner, node)
            return physical(join.alias, "c0"), [join]
        inner.items = [("first", item), ("rows", exp.true())]
        join = self._join(inner, node)
        return OnlyRow(this=physical(join.alias, "c0"), expression=physical(join.alias, "c1")), [join]

    def _inner(self, tree: exp.Expr, *, any_columns: bool = False) -> tuple[Inner, exp.Expr]:
        """The table and the condition of a query, and what it selects."""
        select = tree.unnest() if isinstance(tree, exp.Subquery) else tree
        source = select.args.get("from_") if isinstance(select, exp.Select) else None
        if source is None or not isinstance(source.this, exp.Table):
            raise SqlError("this query inside an expression is not supported", place_of(tree), expected=EXPECTED)
        relation = self.find(source.this)
        clauses = {key for key, value in select.args.items() if value} - {"expressions", "from_", "where", "hint"}
        if source.this.args.get("joins"):
            clauses.add("joins")
        if relation.timed or clauses - ({"distinct"} if any_columns else set()):
            raise SqlError("this query inside an expression is not supported", place_of(tree), expected=EXPECTED)
        if not any_columns and (len(select.expressions) != 1 or select.find(exp.Star) in select.expressions):
            raise SqlError("a query inside an expression gives one column", place_of(tree), expected=EXPECTED)
        alias = f"q{self.alias()[1:]}"
        scope = Scope(self.scope.lenient, outer=self.scope)
        given = source.this.args.get("alias")
        scope.add(relation.name if given is None or given.this is None else folded(given.this), alias, relation, source)
        condition = select.args.get("where")
        where = None if condition is None else resolve(condition.this, scope)
        if where is not None and any(aggregates_of(where)):
            raise SqlError("an aggregate cannot stand in WHERE", place_of(where) or place_of(tree))
        item = exp.true() if any_columns else resolve(_bare(select.expressions[0]), scope)
        return Inner(relation, alias, [], where), item

    def _join(self, inner: Inner, node: exp.Expr) -> Join:
        fields = tuple(Field(f"c{i}", f"c{i}", "") for i in range(len(inner.items)))
        relation = Relation("the query", "", fields, False)
        return Join(self.alias(), relation, "LEFT", None, 0, node.copy(), inner=inner)


def _query_of(node: exp.Expr) -> exp.Expr | None:
    """The query of IN or EXISTS; None of an IN with a list."""
    found: exp.Expr | None = node.args.get("query") if isinstance(node, exp.In) else node.this
    return found


def _bare(item: exp.Expr) -> exp.Expr:
    return item.this if isinstance(item, exp.Alias) else item


def _given(join: Join, name: str) -> exp.Expr:
    """That a column is TRUE, and not NULL."""
    return exp.Not(this=exp.Is(this=physical(join.alias, name), expression=exp.Null()))
