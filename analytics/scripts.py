"""Functions of a program that are written in Python: row by row, or over Arrow arrays.

    CREATE FUNCTION distance (a DOUBLE, b DOUBLE) RETURNS DOUBLE LANGUAGE PYTHON AS $$
    import math
    def distance(a, b):
        return math.hypot(a, b)
    $$;

The text is a module; it has a function of the SQL function's name, in any case. `LANGUAGE ARROW` gives it pyarrow Arrays and
takes one of the same length. What a function raises becomes the fault of the row (`analytics.limits` bounds its time).
"""

from __future__ import annotations

import ast
import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from analytics.errors import Place, SqlError
from analytics.limits import Limits, TimeIsUp
from analytics.nodes import CreateFunction
from analytics.places import place_of
from analytics.types import SqlType, declared

SQL, PYTHON, ARROW = "SQL", "PYTHON", "ARROW"
VALUE_SHOWN_MAX = 60
"""Characters of a value in a message."""


@dataclass(frozen=True, slots=True)
class Script:
    """A function in Python. `physical` is its name in DuckDB, `arrow`: it takes whole arrays; `strict`: a NULL argument gives
    NULL without a call."""

    name: str
    physical: str
    source: str
    takes: tuple[SqlType, ...]
    gives: SqlType
    arrow: bool
    strict: bool
    place: Place | None = None

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(kind.duck for kind in self.takes)


def script_of(name: str, statement: CreateFunction, number: int) -> Script:
    """Raises `SqlError` for a text that is no module with such a function."""
    source, place = _dedented(str(statement.args["source"])), place_of(statement.this)
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        where = f" in its line {error.lineno}" if isinstance(error, SyntaxError) else ""
        what = error.msg if isinstance(error, SyntaxError) else error
        raise SqlError(f"function {name} is no Python{where}: {what}", place) from error
    found = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name.upper() == name.upper()]
    takes = tuple(declared(each.args["kind"], each.this) for each in statement.expressions)
    if not found:
        raise SqlError(f"the text of function {name} has no def {name.lower()}", place)
    given = found[-1].args
    least = len(given.posonlyargs + given.args) - len(given.defaults)
    most = len(given.posonlyargs + given.args) if given.vararg is None else len(takes)
    if not least <= len(takes) <= most or any(default is None for default in given.kw_defaults):
        raise SqlError(f"function {name} is declared with {len(takes)} parameters, and def takes others", place)
    gives = declared(statement.args["kind"], statement.this)
    arrow = statement.args["language"] == ARROW
    strict = bool(statement.args.get("strict"))
    return Script(name, f"script_{number}", source, takes, gives, arrow, strict, place)


def declare(connection: duckdb.DuckDBPyConnection, scripts: Sequence[Script]) -> None:
    """Makes their types known, for compiling: nothing of a user's runs."""
    for script in scripts:
        kind = script.gives.arrow
        _create(connection, script, lambda *columns, kind=kind: pa.nulls(len(columns[0]) if columns else 1, kind))


def register(connection: duckdb.DuckDBPyConnection, scripts: Sequence[Script], limits: Limits) -> None:
    """Makes the functions themselves known. Raises `SqlError` where a module fails as it is loaded."""
    for script in scripts:
        called = _loaded(script, limits)
        run = _over_arrays(script, called, limits) if script.arrow else _over_rows(script, called, limits)
        _create(connection, script, run)


def _create(connection: duckdb.DuckDBPyConnection, script: Script, call: Callable[..., pa.Array]) -> None:
    with contextlib.suppress(duckdb.Error):
        connection.remove_function(script.physical)
    names = [inspect.Parameter(f"a{i}", inspect.Parameter.POSITIONAL_ONLY) for i in range(len(script.takes))]

    def run(*columns: pa.ChunkedArray) -> pa.Array:
        return call(*columns)

    run.__signature__ = inspect.Signature(names)  # type: ignore[attr-defined]  # DuckDB counts the parameters
    connection.create_function(
        script.physical,
        run,
        list(script.types),
        script.gives.duck,
        type=PythonUDFType.ARROW,
        null_handling=FunctionNullHandling.SPECIAL,
        side_effects=False,  # a row that fails is found by TRY, which takes nothing else
    )


def _loaded(script: Script, limits: Limits) -> Callable[..., Any]:
    module: dict[str, Any] = {"__name__": f"function_{script.name.lower()}"}
    try:
        with limits.call(script.name):
            exec(compile(script.source, f"<function {script.name}>", "exec"), module)  # noqa: S102  # that is what it is for
    except Exception as error:
        raise SqlError(f"function {script.name}: its text fails: {_said(error, limits)}", script.place) from error
    called: Callable[..., Any] = next(
        value for name, value in reversed(module.items()) if name.upper() == script.name.upper() and callable(value)
    )
    return called


def _over_rows(script: Script, called: Callable[..., Any], limits: Limits) -> Callable[..., pa.Array]:
    """Each combination of arguments is computed once a call of DuckDB's; one that failed is not tried again in a batch."""
    kind = script.gives.arrow

    def call(*columns: pa.ChunkedArray) -> pa.Array:
        known: dict[tuple[Any, ...], Any] = {}
        results = []
        with limits.call(script.name):
            for row in zip(*(column.to_pylist() for column in columns), strict=True):
                if row not in known:
                    known[row] = _one(script, called, row, limits)
                results.append(known[row])
        try:
            return pa.array(results, kind)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            raise ValueError(_misfit(script, results, kind)) from None

    return call


def _one(script: Script, called: Callable[..., Any], row: tuple[Any, ...], limits: Limits) -> Any:
    key = (script.physical, row)
    if key in limits.failed:
        raise ValueError(limits.failed[key])
    if script.strict and None in row:
        return None
    try:
        value = called(*row)
        if isinstance(value, Decimal) and pa.types.is_decimal(script.gives.arrow):
            value = value.quantize(Decimal(1).scaleb(-script.gives.arrow.scale))
        return value
    except Exception as error:
        limits.failed[key] = f"function {script.name}: {_said(error, limits)}"
        raise ValueError(limits.failed[key]) from None


def _misfit(script: Script, results: Sequence[Any], kind: pa.DataType) -> str:
    for value in results:
        try:
            pa.array([value], kind)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            shown = repr(value)[:VALUE_SHOWN_MAX]
            return f"function {script.name}: {shown} is no {script.gives}"
    return f"function {script.name}: its values are no {script.gives}"


def _over_arrays(script: Script, called: Callable[..., Any], limits: Limits) -> Callable[..., pa.Array]:
    kind, failed = script.gives.arrow, limits.failed

    def call(*columns: pa.ChunkedArray) -> pa.Array:
        arrays = [column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column for column in columns]
        count = len(arrays[0]) if arrays else 1
        key = (script.physical, tuple(array[0].as_py() for array in arrays)) if count == 1 else None
        if key is not None and key in failed:
            raise ValueError(failed[key])
        try:
            with limits.call(script.name):
                return _taken(script, called, arrays, count, kind)
        except Exception as error:
            message = f"function {script.name}: {_said(error, limits)}"
            if key is not None:
                failed[key] = message
            raise ValueError(message) from None

    return call


def _taken(
    script: Script, called: Callable[..., Any], arrays: list[pa.Array], count: int, kind: pa.DataType
) -> pa.Array:
    places: list[int | None] | None = None
    if script.strict and any(array.null_count for array in arrays):
        here = pa.RecordBatch.from_arrays(arrays, [f"a{i}" for i in range(len(arrays))])
        full = [index for index in range(count) if all(array[index].is_valid for array in arrays)]
        arrays = here.take(pa.array(full, pa.int64())).columns
        order = {index: number for number, index in enumerate(full)}
        places = [order.get(index) for index in range(count)]
    result = called(*arrays)
    if isinstance(result, pa.ChunkedArray):
        result = result.combine_chunks()
    wanted = count if places is None else len(order)
    if not isinstance(result, pa.Array) or len(result) != wanted:
        what = f"an Array of {len(result)}" if isinstance(result, pa.Array) else type(result).__name__
        raise ValueError(f"it gives {what} for {wanted} rows, and not a pyarrow Array of as many")
    result = result.cast(kind)
    return result if places is None else result.take(pa.array(places, pa.int64()))


def _said(error: Exception, limits: Limits) -> str:
    """An exception in a line."""
    if isinstance(error, TimeIsUp):
        return str(error) or f"it took longer than {limits.call_s:g} s"
    text = str(error).split("\n", 1)[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _dedented(source: str) -> str:
    """A module without the indentation that its first line has."""
    lines = source.split("\n")
    first = next((line for line in lines if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip())]
    return "\n".join(line.removeprefix(indent) for line in lines)


def scripts_of(functions: Mapping[str, Sequence[CreateFunction]]) -> list[Script]:
    """The functions in Python of a program, in the order of their names in it; each gets its physical name."""
    found: list[Script] = []
    for name, overloads in functions.items():
        for statement in overloads:
            if statement.args.get("language", SQL) != SQL:
                found.append(script_of(name, statement, len(found)))
                statement.set("physical", found[-1].physical)
    return found
