"""What a destination refers to by name, and that has to exist: a function, a jq program that compiles, a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from firehose.configuration import Destination
from firehose.context import Context
from firehose.conversion import Conversion
from firehose.drift import TAG, DriftPolicy
from firehose.events import ColumnSpec
from firehose.hive import arrow_type
from firehose.query import check_query
from streams.core.errors import InvalidArgument
from streams.core.scope import Scope

EVOLVED = "headrace.evolved"
"""The parameter of a column that came by schema drift: it is "true"."""


def check_resources(
    context: Context, scope: Scope, kind: str, configuration: Mapping[str, Any], tags: Mapping[str, str]
) -> tuple[tuple[ColumnSpec, ...], str]:
    """The schema's columns where rows are written, and the table's version. Raises `InvalidArgument` for what delivery
    could not use."""
    destination = Destination.of(kind, configuration)
    if destination.function is not None and destination.function.arn not in context.functions:
        raise InvalidArgument(
            f"Function {destination.function.name} does not exist: create it, or name it in the setting 'functions'."
        )
    if destination.query is not None:
        check_query(destination.query)
    conversion = destination.conversion
    if conversion is None:
        DriftPolicy.of(tags)
        return (), ""
    database, name = conversion.table
    table = context.book.catalog.tables.table(scope, database, name)
    if table is None:
        raise InvalidArgument(f"Table {database}.{name} was not found in the data catalog.")
    version = table.current if conversion.version is None else table.version(conversion.version)
    if version is None:
        raise InvalidArgument(
            f"Version {conversion.version} of table {database}.{name} was not found in the data catalog."
        )
    columns = table_columns(f"{database}.{name}", version.input)
    check_drift(tags, conversion, columns)
    return columns, str(version.number)


def check_drift(tags: Mapping[str, str], conversion: Conversion, columns: Sequence[ColumnSpec]) -> None:
    """Raises `InvalidArgument` where the tags ask for a policy of schema drift that a table with these columns cannot
    have."""
    drift = DriftPolicy.of(tags)
    label = ".".join(conversion.table)
    if drift.policy == "evolve" and conversion.version is not None:
        raise InvalidArgument(f"Table {label} cannot evolve at version {conversion.version}: VersionId must be LATEST.")
    if drift.policy == "text" and not any(
        (spec.name.lower(), spec.type.lower()) == (drift.column, "string") for spec in columns
    ):
        raise InvalidArgument(f"Table {label} needs a column {drift.column} of type string, where tag {TAG} is text.")


def table_columns(label: str, table: Mapping[str, Any]) -> tuple[ColumnSpec, ...]:
    """Of a Glue table. Raises `InvalidArgument` where rows cannot have them."""
    storage = table.get("StorageDescriptor", {})
    columns = tuple(
        ColumnSpec(column["Name"], column.get("Type", "string"), column.get("Parameters", {}).get(EVOLVED) == "true")
        for column in storage.get("Columns", ())
    )
    if not columns:
        raise InvalidArgument(f"Table {label} has no columns.")
    for column in columns:
        try:
            arrow_type(column.type)
        except ValueError as error:
            raise InvalidArgument(f"Column {column.name} of table {label}: {error}.") from error
    return columns
