"""What a program compiles to: for each pump a piece of DuckDB SQL around a machine that keeps its state."""

from __future__ import annotations

from dataclasses import dataclass, field

from analytics.folding import Fold
from analytics.operators.retention import Retain
from analytics.operators.work import Operator, Shape
from analytics.program import Declared
from analytics.relation import Relation
from analytics.scripts import Script


@dataclass(frozen=True, slots=True)
class RowQuery:
    """SQL over the rows of one table that is given as `source` when it runs (a name, or a query in parentheses).

    `sources` is the FROM around it with ``{source}`` for the table, alias t0. `select` makes the rows: an ``rt`` and
    ``c0``, ``c1``, …. A row for which `condition` or an output fails is found by running `guard`, which gives the
    numbers (``t0.rn``) of such rows.
    """

    columns: tuple[tuple[str, str], ...]
    joins: str
    condition: str | None

    def select(self, source: str) -> str:
        listed = ", ".join(f"{sql} AS {name}" for name, sql in self.columns)
        where = "" if self.condition is None else f" WHERE {self.condition}"
        return f"SELECT {listed} FROM {source} AS t0{self.joins}{where}"

    def tried(self, source: str) -> str:
        """`select` without what fails. Of a row that meets several of a reference table, the pairs that do not fail are
        there; and a condition may fail for rows of the table that none meets, of which DuckDB asks it ahead of the join."""
        listed = ", ".join(f"x.{name} AS {name}" for name, _ in self.columns)
        where = "" if self.condition is None else f" WHERE coalesce(TRY({self.condition}), FALSE)"
        packed = f"SELECT {self._packed} AS x FROM {source} AS t0{self.joins}{where}"
        return f"SELECT {listed} FROM ({packed}) WHERE x IS NOT NULL"

    @property
    def _packed(self) -> str:
        return "TRY({" + ", ".join(f"'{name}': {sql}" for name, sql in self.columns) + "})"

    def guard(self, source: str) -> str:
        failed = f"{self._packed} IS NULL"
        if self.condition is not None:
            failed = (
                f"(TRY({{'x': {self.condition}}}) IS NULL OR (coalesce(TRY({self.condition}), FALSE) AND {failed}))"
            )
        return f"SELECT DISTINCT t0.rn FROM {source} AS t0{self.joins} WHERE {failed}"


@dataclass(frozen=True, slots=True)
class Window:
    """The state of a tumbling GROUP BY: `table` keeps partial rows (`analytics.partials`), one a group and micro-batch.

    state     (column, type) of the table
    partial   from the rows of the pump's row query to partial rows; ``{base}`` is the number of rows before
    merge     over partial rows: what `closing` reads, with ``rt``, the end of the window
    end       when a window is over, an expression over ``w``
    compact   from partial rows to fewer of them; None where the rows themselves are the state
    grouping  columns by which they become fewer
    numbered  rows have numbers, the greatest of which is in column ``n``
    fold      what `partial` does, over Arrow; None where that is for DuckDB
    stamp     the ``rt`` of `merge`, an expression over ``w``, where `fold` can do what `merge` does
    """

    table: str
    state: tuple[tuple[str, str], ...]
    partial: str
    merge: str
    end: str
    closing: RowQuery
    compact: str | None
    numbered: bool
    grouping: tuple[str, ...] = ()
    fold: Fold | None = None
    stamp: str | None = None


@dataclass(frozen=True, slots=True)
class Pump:
    """`source` and `target` are physical names of streams. A pump either computes `rows`, which go to the target as they are
    or through a window; or it has an operator, which reads `sources`."""

    name: str
    source: str
    target: str
    rows: RowQuery | None
    window: Window | None = None
    operator: Operator | None = None
    more: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source, *self.more)


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """An in-application stream: its name in the program, its physical name, its columns. With `retain` it is a table, whose
    groups are those of `keys`."""

    name: str
    physical: str
    columns: tuple[Declared, ...]
    retain: Retain | None = None
    keys: Shape = ()
    changed: tuple[str, ...] = ()
    """The columns of the keys in the stream that its pump reads."""

    @property
    def kept(self) -> str:
        """The table of the database in which queries see its rows."""
        return f"kept_{self.physical}"

    @property
    def shape(self) -> Shape:
        """The columns of a table's rows there."""
        columns = ((f"c{number}", column.type.duck) for number, column in enumerate(self.columns))
        return (*self.keys, ("rt", "TIMESTAMP_MS"), *columns)


@dataclass(frozen=True, slots=True)
class Plan:
    """`pumps` in the order of the data; `inputs` and `references` by their names in the program, as they are used; `hidden`
    are the columns of streams between the operators, physical name → name; `scripts` are functions in Python."""

    pumps: tuple[Pump, ...]
    streams: dict[str, StreamPlan]
    inputs: dict[str, Relation]
    references: dict[str, Relation]
    hidden: dict[str, dict[str, str]] = field(default_factory=dict)
    scripts: tuple[Script, ...] = ()
