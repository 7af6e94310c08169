"""Statements over rows of which some may fail: those rows become rows of the error stream, the others come out."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from analytics import faults, outcomes
from analytics.plan import Pump, RowQuery
from analytics.sentences import kind, sentence
from connectors.formats.json import encode_json

MESSAGES_MAX = 20
"""Faulty rows of a query and batch that are run alone to learn their message; the others repeat the first of them, for
a query a row would make a batch of bad rows a hundred times slower."""
FAULTY_KEPT_MAX = 10_000
"""Faulty rows of a query and batch that keep their own bytes in the error stream; more are counted in one row."""


class Attempts:
    """`names` are those of columns in the program, by the physical names of stream and column."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, names: Mapping[str, Mapping[str, str]]) -> None:
        self._connection = connection
        self._names = names
        self._patient: dict[RowQuery, RowQuery] = {}

    def rows(self, query: RowQuery, source: str, pump: Pump, faulty: list[pa.Table], now_ms: int) -> pa.Table:
        """The fast statement first; where it fails, without the rows that make it fail, which become faults."""
        try:
            return self._table(query.select(source))
        except duckdb.Error as error:
            first = error
        connection = self._connection
        if query not in self._patient:
            self._patient[query] = outcomes.patient(connection, query)
        patient = self._patient[query]
        # From what a table holds DuckDB concludes what is never NULL, and does not compute it; of a batch it knows nothing.
        connection.execute(f"CREATE OR REPLACE TEMP TABLE tried AS SELECT *, row_number() OVER () AS rn FROM {source}")
        connection.execute("SET disabled_optimizers = 'statistics_propagation'")
        try:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE faulty AS {patient.guard('tried')}")
            rows = self._table(patient.tried("tried"))
            bad = self._table("SELECT * FROM tried WHERE rn IN (SELECT rn FROM faulty) ORDER BY rn")
            faulty.append(self._faults(query, bad, pump, first, now_ms))
            return rows
        finally:
            connection.execute("RESET disabled_optimizers")
            connection.execute("DROP TABLE IF EXISTS tried")
            connection.execute("DROP TABLE IF EXISTS faulty")

    def _faults(self, query: RowQuery, bad: pa.Table, pump: Pump, first: duckdb.Error, now_ms: int) -> pa.Table:
        kept = bad.slice(0, FAULTY_KEPT_MAX)
        messages = []
        for number in kept.column("rn").to_pylist()[:MESSAGES_MAX]:
            try:
                self._table(query.select(f"(SELECT * FROM tried WHERE rn = {number})"))
                messages.append(sentence(first))
            except duckdb.Error as error:
                messages.append(sentence(error))
        messages += [messages[0] if messages else sentence(first)] * (len(kept) - len(messages))
        times = kept.column("rt").cast(pa.timestamp("ms")).cast(pa.int64()).to_pylist()
        data = encode_json(self.readable(kept.drop_columns(["rn"]), pump)).to_pylist()
        if len(bad) > len(kept):
            messages.append(f"{len(bad) - len(kept):,} more rows of this batch failed")
            times.append(None)
            data.append(b"")
        return faults.rows(now_ms, [kind(message) for message in messages], messages, times, data, pump.name)

    def readable(self, rows: pa.Table, pump: Pump) -> pa.RecordBatch:
        """Rows as the program names them."""
        known = self._names.get(pump.source, {})
        rows = rows.drop_columns([name for name in ("rt",) if name in rows.column_names])
        if pump.window is None or "w" not in rows.column_names:
            rows = rows.rename_columns([known.get(name, name) for name in rows.column_names])
        return (
            rows.combine_chunks().to_batches()[0] if len(rows) else pa.RecordBatch.from_pylist([], schema=rows.schema)
        )

    def _table(self, sql: str) -> pa.Table:
        return self._connection.sql(sql).to_arrow_table()
