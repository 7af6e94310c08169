"""What queries see of an application: the last rows of its streams, its tables as they are, its reference tables.

Each in-application stream has a table ``kept_…`` beside the state, with its last `ROWS_KEPT` rows, and each table of the
program one with all of its rows. They are written in the transaction that commits a micro-batch, so whoever reads them in
one transaction sees the application as it was after one commit. The table ``shown`` says what there is, by the program's
names, so that a reader needs the database alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import msgspec
import numpy as np
import pyarrow as pa

from analytics.errors import SqlError, closest
from analytics.operators.work import Change
from analytics.plan import Plan, StreamPlan
from analytics.relation import ROWTIME

ROWS_KEPT = 10_000
"""The last rows of a stream that queries see: enough to look at, and a few megabytes."""
REFERENCES = "refs"
"""The database in memory that holds the reference tables."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A table that queries see: its name in the program, *stream*, *table* or *reference*, and its columns' names and types
    in DuckDB."""

    name: str
    kind: str
    columns: Mapping[str, str]


@dataclass(slots=True)
class Showing:
    """Of one application at work. `rows` are kept of each stream; 0: none."""

    connection: duckdb.DuckDBPyConnection
    streams: Sequence[StreamPlan]
    rows: int = ROWS_KEPT
    _next: dict[str, int] = field(default_factory=dict)
    _first: dict[str, int] = field(default_factory=dict)

    def open(self, plan: Plan) -> None:
        """Creates what is not there, and says what there is."""
        run = self.connection.execute
        run(
            "CREATE OR REPLACE TABLE shown (name VARCHAR, kind VARCHAR, source VARCHAR, columns VARCHAR, fields VARCHAR)"
        )
        for stream in self.streams:
            table, shape = stream.kept, [(f"c{i}", c.type.duck) for i, c in enumerate(stream.columns)]
            if stream.retain is None:
                columns = ", ".join(
                    f"{name} {duck}" for name, duck in (("n", "BIGINT"), ("rt", "TIMESTAMP_MS"), *shape)
                )
                run(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
                sql = f"SELECT coalesce(min(n), 1), coalesce(max(n), 0) FROM {table}"
                ((self._first[stream.physical], last),) = run(sql).fetchall()
                self._next[stream.physical] = last + 1
            names = {ROWTIME: "TIMESTAMP_MS", **{c.name: c.type.duck for c in stream.columns}}
            kind = "stream" if stream.retain is None else "table"
            self._show(stream.name, kind, table, names, ["rt", *(name for name, _ in shape)])
        for name, relation in plan.references.items():
            fields = {each.name: each.duck for each in relation.fields}
            source = f"{REFERENCES}.main.{relation.physical}"
            self._show(name, "reference", source, fields, [each.physical for each in relation.fields])

    def _show(self, name: str, kind: str, source: str, columns: Mapping[str, str], fields: Sequence[str]) -> None:
        texts = [msgspec.json.encode(each).decode() for each in (columns, fields)]
        self.connection.execute("INSERT INTO shown VALUES (?, ?, ?, ?, ?)", [name, kind, source, *texts])

    def changes(self, made: Mapping[str, pa.Table]) -> Iterable[Change]:
        """What a micro-batch does to the rows that are kept; `made` are the rows of streams by physical name."""
        for stream in self.streams:
            rows = made.get(stream.physical)
            if rows is None or not self.rows or stream.retain is not None:
                continue
            table, last = stream.kept, self._next[stream.physical] + len(rows)
            rows = rows.slice(max(0, len(rows) - self.rows))
            names = ["rt", *(f"c{number}" for number in range(len(stream.columns)))]
            numbered = rows.select(names).add_column(0, "n", pa.array(np.arange(last - len(rows), last)))
            listed = ", ".join(["n", *names])
            yield Change(f"INSERT INTO {table} ({listed}) SELECT {listed} FROM added", numbered)
            self._next[stream.physical] = last
            # Deleting costs as much for a row as for many.
            if last - self._first[stream.physical] > 2 * self.rows:
                self._first[stream.physical] = last - self.rows
                yield Change(f"DELETE FROM {table} WHERE n < {last - self.rows}")


def shown(connection: duckdb.DuckDBPyConnection) -> list[Shown]:
    """What the database of an application has for queries."""
    rows = connection.execute("SELECT name, kind, columns FROM shown ORDER BY rowid").fetchall()
    return [Shown(name, kind, msgspec.json.decode(columns)) for name, kind, columns in rows]


def read(
    connection: duckdb.DuckDBPyConnection, wanted: Mapping[str, Sequence[str] | None], rows: int = ROWS_KEPT
) -> dict[str, pa.Table]:
    """Tables by name, with the columns that are named (None: all), as they were after one commit. Raises `SqlError`."""
    connection.execute("BEGIN")
    try:
        found = connection.execute("SELECT name, kind, source, columns, fields FROM shown").fetchall()
        known = {name: rest for name, *rest in found}
        result = {}
        for name, columns in wanted.items():
            if name not in known:
                raise SqlError(f"there is no in-application stream {name}", suggestion=closest(name, known))
            kind, source, shown_columns, fields = known[name]
            names = list(msgspec.json.decode(shown_columns))
            physical = dict(zip(names, msgspec.json.decode(fields), strict=True))
            for column in columns or ():
                if column not in physical:
                    raise SqlError(f"{name} has no column {column}", suggestion=closest(column, names))
            listed = [physical[column] for column in (names if columns is None else columns)]
            sql = f"SELECT {', '.join(listed) or '1 AS nothing'} FROM {source}"
            if kind == "table":  # the same whatever changed last
                sql += f" ORDER BY {', '.join(msgspec.json.decode(fields))}"
            elif kind == "stream":
                sql += f" WHERE n > (SELECT max(n) FROM {source}) - {rows} ORDER BY n"
            table = connection.sql(sql).to_arrow_table()
            result[name] = table.rename_columns(names if columns is None else list(columns)) if listed else table
        return result
    finally:
        connection.execute("COMMIT")
