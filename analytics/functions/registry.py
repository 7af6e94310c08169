"""From a function of values to a function of columns that DuckDB calls."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from analytics import intervals
from analytics.functions import dates, fast_regex, logs, patterns

Value = Any


@dataclass(frozen=True, slots=True)
class Function:
    """`call` takes the arguments of one row, none of them NULL unless `nulls`; `takes` and `gives` are DuckDB's types."""

    name: str
    call: Callable[..., Value]
    takes: tuple[str, ...]
    gives: str
    arrow: pa.DataType
    nulls: bool = False


TEXT = pa.string()
TEXTS = pa.list_(pa.string())

FUNCTIONS = (
    Function("kda_initcap", patterns.initcap, ("VARCHAR",), "VARCHAR", TEXT),
    Function(
        "kda_regex_replace", patterns.replace, ("VARCHAR", "VARCHAR", "VARCHAR", "BIGINT", "BIGINT"), "VARCHAR", TEXT
    ),
    Function("kda_regex_first", patterns.first, ("VARCHAR", "VARCHAR"), "VARCHAR", TEXT),
    Function("kda_substring_similar", patterns.substring, ("VARCHAR", "VARCHAR", "VARCHAR"), "VARCHAR", TEXT),
    Function("kda_similar", patterns.similar, ("VARCHAR", "VARCHAR", "VARCHAR"), "BOOLEAN", pa.bool_()),
    Function("kda_regex_log", logs.by_regex, ("VARCHAR", "VARCHAR"), "VARCHAR[]", TEXTS),
    Function("kda_fast_regex_log", fast_regex.by_fast_regex, ("VARCHAR", "VARCHAR"), "VARCHAR[]", TEXTS),
    Function(
        "kda_delimited", logs.by_delimiter, ("VARCHAR", "BIGINT", "VARCHAR", "VARCHAR", "VARCHAR"), "VARCHAR[]", TEXTS
    ),
    Function("kda_syslog", logs.syslog, ("VARCHAR", "BIGINT"), "VARCHAR[]", TEXTS),
    Function("kda_w3c", logs.w3c, ("VARCHAR", "VARCHAR"), "VARCHAR[]", TEXTS),
    Function("kda_parse_time", dates.parse, ("VARCHAR", "VARCHAR"), "BIGINT", pa.int64()),
    Function("kda_interval_text", intervals.shown, ("BIGINT", "VARCHAR"), "VARCHAR", TEXT),
    Function("kda_interval", intervals.length, ("VARCHAR", "VARCHAR"), "BIGINT", pa.int64()),
    Function("kda_format_time", dates.format_time, ("VARCHAR", "BIGINT"), "VARCHAR", TEXT, nulls=True),
)


def register(connection: duckdb.DuckDBPyConnection, sql: str | None = None) -> None:
    """Makes the functions known to a database, or those that `sql` names: each takes a millisecond. They are the same for
    the same arguments, so that TRY takes them."""
    for function in FUNCTIONS:
        if sql is not None and function.name not in sql:
            continue
        with contextlib.suppress(duckdb.Error):
            connection.remove_function(function.name)
        connection.create_function(
            function.name,
            _vectorised(function),
            list(function.takes),
            function.gives,
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
            side_effects=False,
        )


def _vectorised(function: Function) -> Callable[..., pa.Array]:
    """Each combination of arguments is computed once a batch: logs and dates repeat themselves."""

    def call(*columns: pa.ChunkedArray) -> pa.Array:
        known: dict[tuple[Value, ...], Value] = {}
        results = []
        for row in zip(*(column.to_pylist() for column in columns), strict=True):
            if row not in known:
                known[row] = None if None in row and not function.nulls else function.call(*row)
            results.append(known[row])
        return pa.array(results, function.arrow)

    parameters = [inspect.Parameter(f"a{i}", inspect.Parameter.POSITIONAL_ONLY) for i in range(len(function.takes))]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # DuckDB counts the parameters
    return call
