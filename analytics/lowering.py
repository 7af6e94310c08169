"""From a resolved query to pumps: joins, windows and the like become operators, with hidden streams between them.

Each stage computes what it needs in columns of a hidden stream, reads that, and makes another; the trees of the query are
then rewritten to name the new columns. Errors of rows so happen where expressions are computed, never in an operator.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import duckdb
from sqlglot import exp

from analytics import tables
from analytics.errors import SqlError
from analytics.expressions import Expressions
from analytics.grouping import tumbling
from analytics.inferred import Types
from analytics.monotonic import direction
from analytics.operands import alike, together
from analytics.operators.buffer import Buffer
from analytics.operators.retention import Retain
from analytics.operators.work import Operator
from analytics.places import place_of
from analytics.plan import Pump, RowQuery
from analytics.reading import read
from analytics.relation import ROWTIME, Field, Relation, Scope
from analytics.resolved import Query
from analytics.sources import Relations
from analytics.stages.arranging import arrange
from analytics.stages.base import TIME, Final, kept
from analytics.stages.groups import group
from analytics.stages.joins import join
from analytics.stages.ranking import rank
from analytics.stages.sliding import slide
from analytics.stages.updating import keep

PARTS_MAX = 2_000
"""Hidden streams and tables of a program: views that read views twice double with each."""


@dataclass(slots=True)
class Lowering:
    """Collects the pumps of one program. `pump` is the name of the pump that is being compiled."""

    connection: duckdb.DuckDBPyConnection
    types: Types
    relations: Relations
    pumps: list[Pump] = field(default_factory=list)
    hidden: dict[str, dict[str, str]] = field(default_factory=dict)
    pump: str = ""
    retain: Retain | None = None
    changing: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """Hidden streams of groups that change, with the columns of their keys."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def number(self) -> int:
        number = next(self._numbers)
        if number > PARTS_MAX:
            raise SqlError(f"the program comes to more than {PARTS_MAX:,} streams and tables between its pumps")
        return number

    def stream(self, columns: Sequence[tuple[str, str]], extra: Sequence[tuple[str, str]] = ()) -> Relation:
        """A hidden stream with columns (name, type), known as c0, c1, …; `extra` are further physical ones."""
        name = f"x{self.number()}"
        fields = tuple(Field(shown, f"c{i}", duck) for i, (shown, duck) in enumerate(columns))
        declared = [f"c{i} {duck}" for i, (_, duck) in enumerate(columns)] + [f"{n} {duck}" for n, duck in extra]
        self.connection.execute(f"CREATE TEMP TABLE {name} ({', '.join([f'rt {TIME}', *declared])})")
        self.hidden[name] = {f"c{i}": shown for i, (shown, _) in enumerate(columns)}
        return Relation(name, name, fields, True)

    def buffer(self, columns: Sequence[tuple[str, str]]) -> Buffer:
        return Buffer(f"b{self.number()}", tuple(columns))

    def table(self) -> str:
        """The name of another table of the state."""
        return f"b{self.number()}"

    def operate(self, operator: Operator, target: Relation, *sources: Relation) -> None:
        first, *more = (source.physical for source in sources)
        self.pumps.append(Pump(self.pump, first, target.physical, None, None, operator, tuple(more)))

    def lower(self, tree: exp.Expr, *, promoted: bool = False, retain: Retain | None = None) -> Final:
        """The stages of a query; the pump that computes its select list is left to `fill`, and, with `promoted`, AS ROWTIME
        too. With `retain` it goes into a table."""
        before, self.retain = self.retain, retain
        try:
            query = read(tree, self.relations, self)
        finally:
            self.retain = before
        join(self, query)
        slide(self, query)
        if retain is not None:
            return keep(self, query, retain, self.changing.get(query.stream.physical))
        final = group(self, query)
        if promoted and query.rowtime is not None:
            if query.distinct or query.order:
                what = "AS ROWTIME into a stream with a WATERMARK goes with neither DISTINCT nor ORDER BY"
                raise SqlError(what, place_of(query.rowtime) or place_of(query.tree), expected="a subquery in FROM")
            return final
        return arrange(self, final) if query.rowtime is not None or query.distinct or query.order else final

    def fill(self, final: Final, target: str, columns: Sequence[tuple[str, str]]) -> None:
        """The pump that computes columns (physical name, SQL) into a stream."""
        rows = (("rt", "t0.rt"), *columns)
        query, groups = final.query, final.group
        if groups is None:
            where = None if query.where is None else final.expressions.condition(query.where, "WHERE")
            self.pumps.append(Pump(self.pump, query.stream.physical, target, RowQuery(rows, query.joins, where)))
            return
        window = tumbling(f"w{self.number()}", groups, RowQuery(rows, "", groups.having))
        self.pumps.append(Pump(self.pump, query.stream.physical, target, groups.rows, window))

    def project(self, final: Final, trees: Sequence[tuple[str, exp.Expr]]) -> Relation:
        """A hidden stream of the values of some trees, by name."""
        written = [(name, *final.expressions.typed(tree)) for name, tree in trees]
        columns = [(name, kept(duck)) for name, _, duck in written]
        relation = self.stream(columns)
        values = [
            (f"c{i}", sql if duck == columns[i][1] else f"CAST({sql} AS {columns[i][1]})")
            for i, (_, sql, duck) in enumerate(written)
        ]
        self.fill(final, relation.physical, values)
        return relation

    def subquery(self, tree: exp.Expr) -> Relation:
        """The rows of a query that stands in FROM, as a hidden stream."""
        sides = [self.lower(side) for side in sides_of(tree)]
        first = sides[0]
        names = [name or f"EXPR${i}" for i, (name, _) in enumerate(first.items)]
        written = [[side.expressions.typed(item) for _, item in side.items] for side in sides]
        for side, columns in zip(sides, written, strict=True):
            if len(columns) != len(names):
                raise SqlError(
                    f"a side of UNION ALL has {len(columns)} columns",
                    place_of(side.query.tree),
                    expected=f"{len(names)}, as many as the first",
                )
        for i in range(len(names)):
            column = [(side.items[i][1], columns[i][1]) for side, columns in zip(sides, written, strict=True)]
            alike(column, "a column of UNION ALL is of one type, not of {} and {}", first.query.tree)
        kinds = [self._common([columns[i][1] for columns in written], first.query.tree) for i in range(len(names))]
        relation = self.stream(list(zip(names, kinds, strict=True)))
        if _keeps_order(sides_of(tree)):
            fields = zip(relation.fields, first.items, strict=True)
            relation.fields = tuple(replace(each, direction=direction(item) or None) for each, (_, item) in fields)
        for side, columns in zip(sides, written, strict=True):
            values = [(f"c{i}", f"CAST({sql} AS {kinds[i]})") for i, (sql, _) in enumerate(columns)]
            self.fill(side, relation.physical, values)
        return relation

    def _common(self, kinds: Sequence[str], near: exp.Expr) -> str:
        """The type that holds all of some types."""
        if len(set(kinds)) == 1:
            return kept(kinds[0])
        listed = ", ".join(f"CAST(NULL AS {kept(kind)})" for kind in kinds)
        return kept(self.types.of(f"coalesce({listed})", "", near))

    def values(self, values: exp.Values) -> Relation:
        """``(VALUES (1, 'a'), …)`` as a table."""
        writer = Expressions(self.types, "")
        rows = [row.expressions for row in values.expressions]
        if len({len(row) for row in rows}) != 1:
            raise SqlError("the rows of VALUES are not of one length", place_of(values))
        refusal = "a column of VALUES is of one type, not of {} and {}"
        written = [together(writer, column, refusal, values) for column in zip(*rows, strict=True)]
        listed = ", ".join(f"({', '.join(row)})" for row in zip(*written, strict=True))
        columns = ", ".join(f"col{i} AS c{i}" for i in range(len(written)))
        name = f"(SELECT {columns} FROM (VALUES {listed}))"
        fields = tuple(
            Field(f"EXPR${i}", f"c{i}", self.types.of(f"t0.c{i}", f"FROM {name} AS t0", values))
            for i in range(len(written))
        )
        return Relation("VALUES", name, fields, False)

    def grouped(self, stream: Relation, keys: Sequence[exp.Expr], items: Sequence[tuple[str, exp.Expr]]) -> Relation:
        """The groups of a stream by keys, of which one is a window of its time."""
        query = Query(stream, 0, [], Scope(), None, None, list(items), None, list(keys), None, None, [], exp.Select())
        return self.project(group(self, query), items)

    def ranked(self, tree: exp.Expr, most: int) -> Query:
        retain, self.retain = self.retain, None
        try:
            query = read(tree, self.relations, self)
        finally:
            self.retain = retain
        join(self, query)
        keys = rank(self, query, most, retain)
        if retain is not None:
            self.changing[query.stream.physical] = keys
        return query

    def table_function(self, call: exp.Expr, alias: str | None) -> Relation:
        return tables.lowered(self, call)


def _keeps_order(sides: Sequence[exp.Expr]) -> bool:
    """Whether rows come out as they came in: what went on with them goes on."""
    (first, *others) = sides
    source = first.args.get("from_")
    if others or source is None or source.this.args.get("joins"):
        return False
    promoted = any(isinstance(item, exp.Alias) and item.alias.upper() == ROWTIME for item in first.expressions)
    return not promoted and not any(first.args.get(part) for part in ("joins", "group", "having", "order"))


def sides_of(tree: exp.Expr) -> list[exp.Expr]:
    """The queries that UNION ALL puts together; a query alone is one. Raises `SqlError` for other set operations."""
    while isinstance(tree, exp.Subquery) and not tree.args.get("alias"):
        tree = tree.this
    if not isinstance(tree, exp.SetOperation):
        return [tree]
    if not isinstance(tree, exp.Union) or tree.args.get("distinct"):
        name = "UNION" if isinstance(tree, exp.Union) else tree.key.upper()
        raise SqlError(f"{name} of streams is not supported", place_of(tree), expected="UNION ALL")
    order = tree.args.get("order")
    if order is None:
        return [*sides_of(tree.this), *sides_of(tree.expression)]
    plain = tree.copy()
    plain.set("order", None)
    return [exp.select("*").from_(exp.Subquery(this=plain)).order_by(*order.expressions)]
