"""What an operator is given for one micro-batch, and the protocol of operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import duckdb
import pyarrow as pa

from analytics.offered import Offered

END = 2**62
"""The frontier of an input that has ended."""

Shape = tuple[tuple[str, str], ...]
"""Columns as (name, DuckDB type)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One statement of the transaction that commits a micro-batch; `rows` stand in it as the table ``added``."""

    sql: str
    rows: pa.Table | None = None

    def apply(self, offered: Offered) -> None:
        if self.rows is None:
            offered.connection.execute(self.sql)
        else:
            offered.execute(self.sql, self.rows)


@dataclass(frozen=True, slots=True)
class Refused:
    """Rows (``rt``, ``c0``…) with the name of their error and the sentence."""

    rows: pa.Table
    name: str
    message: str


@dataclass(slots=True)
class Work:
    """`fresh` are the new rows of each source (None: none), `at` the frontier of each (None: none yet). `changes` collects
    what happens to the state, `refused` rows that become rows of the error stream."""

    connection: duckdb.DuckDBPyConnection
    fresh: Sequence[pa.Table | None]
    at: Sequence[int | None]
    now_ms: int
    changes: list[Change] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    @property
    def joint(self) -> int | None:
        """The least frontier of all sources."""
        known = [at for at in self.at if at is not None]
        return min(known) if len(known) == len(self.at) else None

    def table(self, sql: str, **tables: pa.Table) -> pa.Table:
        """The result of a query over the state and over Arrow tables, by name."""
        for name, rows in tables.items():
            self.connection.register(name, rows)
        try:
            return self.connection.sql(sql).to_arrow_table()
        finally:
            for name in tables:
                self.connection.unregister(name)

    def value(self, sql: str) -> int | None:
        """The one number that a query gives."""
        ((value,),) = self.connection.execute(sql).fetchall()
        return value

    def value_of(self, sql: str, **tables: pa.Table) -> int | None:
        """The one number that a query over Arrow tables gives."""
        return self.table(sql, **tables).column(0)[0].as_py()

    def refuse(self, rows: pa.Table, name: str, message: str) -> None:
        if len(rows):
            self.refused.append(Refused(rows, name, message))

    def delete(self, table: str, condition: str) -> None:
        self.changes.append(Change(f"DELETE FROM {table} WHERE {condition}"))

    def insert(self, table: str, rows: pa.Table) -> None:
        if len(rows):
            names = ", ".join(rows.column_names)
            self.changes.append(Change(f"INSERT INTO {table} ({names}) SELECT {names} FROM added", rows))


class Operator(Protocol):
    """Runs in one thread. Its state is in its tables alone; what it remembers beside them it can find again there."""

    @property
    def tables(self) -> Mapping[str, Shape]: ...

    def step(self, work: Work) -> pa.Table | None:
        """The rows that come out. Reads the state and changes nothing: `work.changes` says what is to change."""
        ...

    def frontier(self, work: Work) -> int | None:
        """How far time has come behind the operator, after `step`."""
        ...

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        """The first instant at which time alone makes a difference; None if there is none."""
        ...


def before(at: int) -> str:
    """The SQL of an instant; of one after all others for `END`."""
    return "TIMESTAMP_MS 'infinity'" if at >= END else f"make_timestamp_ms({at})"
