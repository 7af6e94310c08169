"""What stands behind FROM: streams, reference tables and subqueries, and how a name finds its column.

DuckDB's names ignore case and the language's do not, so nothing keeps its own name there: column 3 of a relation is
``c3``, its ROWTIME ``rt``, and the second source of a FROM is ``t1``. A subquery in FROM has no columns of its own:
its names stand for the expressions behind them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import exp

from analytics.errors import SqlError, closest
from analytics.places import place_of
from analytics.program import folded

ROWTIME = "ROWTIME"
HIDDEN = {
    "APPROXIMATE_ARRIVAL_TIME": ("h_arrival", "TIMESTAMP_MS"),
    "SHARD_ID": ("h_shard", "VARCHAR"),
    "PARTITION_KEY": ("h_key", "VARCHAR"),
    "SEQUENCE_NUMBER": ("h_sequence", "VARCHAR"),
}
"""Columns of an application's input that ``*`` leaves out: name, physical name and type."""


CLOCKS = ("CURRENT_ROW_TIMESTAMP", "LOCALTIMESTAMP", "LOCALTIME")
"""Functions that are written without parentheses, and look like columns."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column: `physical` in DuckDB, of type `duck`; in a subquery, `tree` is what it stands for. `direction` is 1 for one that
    never goes back from row to row, -1 for one that never goes on."""

    name: str
    physical: str
    duck: str
    tree: exp.Expr | None = None
    direction: int | None = None


@dataclass(slots=True)
class Relation:
    """`physical` is what FROM reads in DuckDB. `used` collects the physical columns that queries name, so that the
    input decodes nothing else. A stream has a ROWTIME, `timed`. `alias` is set for a subquery: that of its stream. The
    columns of a `lenient` one were found, not declared: an unquoted name may differ from them in case."""

    name: str
    physical: str
    fields: tuple[Field, ...]
    timed: bool
    hidden: tuple[Field, ...] = ()
    alias: str = ""
    used: set[str] = field(default_factory=set)
    lenient: bool = False

    def find(self, name: str) -> Field | None:
        return next((each for each in (*self.fields, *self.hidden) if each.name == name), None)


@dataclass(slots=True)
class Scope:
    """The sources of one SELECT by the name that the query gives them, in order. `lenient` lets an unquoted name find
    the one column that differs from it only in case: for queries that stand alone, whose columns nobody declared."""

    lenient: bool = False
    sources: dict[str, tuple[str, Relation]] = field(default_factory=dict)
    using: set[str] = field(default_factory=set)
    """Columns that a join by USING or NATURAL made one."""
    outer: Scope | None = None
    """The names around a query that stands in an expression."""

    def add(self, name: str, alias: str, relation: Relation, node: exp.Expr) -> None:
        if name in self.sources:
            raise SqlError(f"{name} stands twice in FROM", place_of(node), expected="an alias for one of them")
        self.sources[name] = (alias, relation)

    def streams(self) -> list[tuple[str, Relation]]:
        return [(alias, relation) for alias, relation in self.sources.values() if relation.timed]

    def resolve(self, column: exp.Column) -> exp.Expr:
        """What a name stands for, by physical names. A bare ROWTIME is the one of the stream, and says so in its meta."""
        try:
            return self._resolved(column)
        except SqlError as error:
            if self.outer is None:
                raise
            try:
                return self.outer.resolve(column)
            except SqlError:
                raise error from None

    def _resolved(self, column: exp.Column) -> exp.Expr:
        if column.args.get("catalog") is not None:
            raise SqlError("a name has three parts at most", place_of(column), expected="source.column.field")
        if column.args.get("db") is not None:
            return self._field(exp.Column(this=column.args["table"], table=column.args["db"]), column.this)
        qualifier = column.args.get("table")
        if qualifier is not None and not self._is_source(qualifier) and self._is_row(qualifier):
            return self._field(exp.Column(this=qualifier), column.this)
        name, quoted, qualifier = folded(column.this), column.this.quoted, column.args.get("table")
        among = list(self.sources.values()) if qualifier is None else [self._source(qualifier)]
        if qualifier is None and not quoted and name in CLOCKS and not any(r.find(name) for _, r in among):
            return exp.Anonymous(this=name)
        if name == ROWTIME and qualifier is None:
            among = self.streams()[:1] or among
        hits = [hit for hit in (self._hit(alias, relation, name, quoted) for alias, relation in among) if hit]
        if not hits:
            raise self._unknown(column, name, [relation for _, relation in among])
        if len(hits) > 1 and name in self.using:
            return self._shared(name)
        if len(hits) > 1:
            raise SqlError(f"column {name} is in more than one source", place_of(column), expected=f"source.{name}")
        found, place = hits[0], place_of(column)
        if place is not None:
            found.meta.update(line=place.line, col=place.column, start=0, end=0)
        found.meta.update(bare=name == ROWTIME and qualifier is None, name=name)
        return found

    def star(self, qualifier: exp.Expr | None) -> Iterator[tuple[str, exp.Expr]]:
        """Every column of every source, or of one, by name."""
        if qualifier is None:
            yield from ((name, self._shared(name)) for name in sorted(self.using))
        among = self.sources.values() if qualifier is None else [self._source(qualifier)]
        for alias, relation in among:
            for each in relation.fields:
                if qualifier is not None or each.name not in self.using:
                    yield each.name, self._tree(alias, relation, each)

    def _shared(self, name: str) -> exp.Expr:
        """A column of a join by USING: that of whichever side has the row."""
        parts = [self._hit(alias, relation, name, True) for alias, relation in self.sources.values()]
        first, *rest = [part for part in parts if part is not None]
        return exp.Coalesce(this=first, expressions=rest)

    def _is_source(self, qualifier: exp.Expr) -> bool:
        name = folded(qualifier)
        return name in self.sources or any(key.lower() == name.lower() for key in self.sources)

    def _is_row(self, name: exp.Expr) -> bool:
        """Whether a name is that of a column that is a row itself."""
        return any(
            each.name == folded(name) and each.duck.startswith("STRUCT")
            for _, relation in self.sources.values()
            for each in relation.fields
        )

    def _field(self, row: exp.Column, name: exp.Expr) -> exp.Expr:
        return exp.Dot(this=self.resolve(row), expression=exp.to_identifier(folded(name), quoted=True))

    def _source(self, qualifier: exp.Expr) -> tuple[str, Relation]:
        name = folded(qualifier)
        if name in self.sources:
            return self.sources[name]
        same = [key for key in self.sources if key.lower() == name.lower()]
        if self.lenient and not qualifier.args.get("quoted") and len(same) == 1:
            return self.sources[same[0]]
        raise SqlError(
            f"{name} is no source of this query",
            place_of(qualifier),
            expected=" or ".join(self.sources),
            suggestion=closest(name, self.sources),
        )

    def column(self, alias: str, relation: Relation, name: str) -> exp.Expr | None:
        """The column of that very name of one source."""
        return self._hit(alias, relation, name, True)

    def _hit(self, alias: str, relation: Relation, name: str, quoted: bool) -> exp.Expr | None:
        if name == ROWTIME and relation.timed:
            return physical(relation.alias or alias, "rt")
        found = relation.find(name)
        if found is None and (self.lenient or relation.lenient) and not quoted:
            same = [each for each in relation.fields if each.name.lower() == name.lower()]
            found = same[0] if len(same) == 1 else None
        return None if found is None else self._tree(alias, relation, found)

    def _tree(self, alias: str, relation: Relation, found: Field) -> exp.Expr:
        if found.tree is not None:
            return found.tree.copy()
        relation.used.add(found.physical)
        column = physical(alias, found.physical)
        column.meta["direction"] = found.direction
        return column

    def _unknown(self, column: exp.Column, name: str, among: list[Relation]) -> SqlError:
        known = [each.name for relation in among for each in relation.fields]
        where = " or ".join(relation.name for relation in among) or "a query without FROM"
        return SqlError(f"{where} has no column {name}", place_of(column), suggestion=closest(name, known))


def physical(alias: str, name: str) -> exp.Expr:
    """A column as DuckDB knows it."""
    column = exp.column(exp.to_identifier(name, quoted=True), exp.to_identifier(alias, quoted=True))
    column.meta["name"] = name
    return column
