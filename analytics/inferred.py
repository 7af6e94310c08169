"""The type of an expression: DuckDB is asked, nothing is modelled."""

from __future__ import annotations

import re

import duckdb
from sqlglot import exp

from analytics.errors import SqlError
from analytics.places import place_of
from analytics.types import said


class Types:
    """The type that DuckDB gives an expression over some FROM."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._known: dict[tuple[str, str], str] = {}

    def of(self, sql: str, source: str, node: exp.Expr) -> str:
        """Raises `SqlError` where there is none, at the place of `node`."""
        if (sql, source) not in self._known:
            try:
                (kind,) = self._connection.sql(f"SELECT {sql} AS x {source}").types
            except duckdb.Error as error:
                raise SqlError(_sentence(error), place_of(node)) from error
            self._known[sql, source] = str(kind)
        return self._known[sql, source]


_NO_FUNCTION = re.compile(r"No function matches the given name and argument types '(.+?)\((.*)\)'")
_NO_BEST = re.compile(r'Could not choose a best candidate function for the function call "(.+?)\((.*)\)"')
_NAMES = {"length": "CHAR_LENGTH", "~~": "LIKE", "strpos": "POSITION"}


def _sentence(error: duckdb.Error) -> str:
    first = str(error).split("\n", 1)[0].strip()
    found = _NO_FUNCTION.search(first) or _NO_BEST.search(first)
    if found is not None:
        name = _NAMES.get(found[1]) or found[1].removeprefix("kda_").upper()
        taken = [said(each.strip()) for each in re.split(r",(?![^(]*\))", found[2])]
        return f"{name} does not take {' and '.join(taken)}: expected a CAST"
    return re.sub(r"^(Binder|Catalog|Conversion|Parser|Invalid Input) Error: ", "", first).rstrip(".")
