"""Reference tables: files that a stream is joined with, read whole when an application starts."""

from __future__ import annotations

import io
import logging
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from analytics.mapping import Mapping
from connectors.formats.json import decode_json, infer_columns
from connectors.formats.json_plan import sql_type
from connectors.formats.schema import Column
from streams.core.errors import ValidationError

log = logging.getLogger("headrace.analytics")

SIZE_MAX = 1 << 30
"""Bytes of a file: the API's limit, and what a process can hold beside its stream."""

MEMORY_FACTOR = 5
"""Memory that a file takes while it becomes a table, in its own size: 4.6 for a gigabyte of CSV."""

FORMATS = {"csv": "csv", "parquet": "parquet", "json": "json", "ndjson": "json", "jsonl": "json"}
"""File ending → format."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A table `name` in the program. `url` is a path or an fsspec URL; `format` is csv (with a header), parquet or json
    (an object a line), told by the ending unless given. Names of columns stay exactly as they are in the file."""

    name: str
    url: str
    format: str | None = None
    columns: Sequence[Column] | None = None
    mapping: Mapping | None = None
    """How the file becomes `columns`, where the application says so; rows that do not fit are left out."""


def load(reference: Reference) -> pa.Table:
    """The file as a table of column types. Raises `ValidationError` for a file that is missing, malformed or too big."""
    kind = "csv" if reference.mapping else reference.format or FORMATS.get(reference.url.rsplit(".", 1)[-1].lower(), "")
    if kind not in FORMATS.values():
        raise ValidationError(
            f"reference table {reference.name}: format of {reference.url} is not csv, parquet or json"
        )
    try:
        data = _contents(reference)
    except FileNotFoundError:
        raise ValidationError(f"reference table {reference.name}: there is no file {reference.url}") from None
    except (MemoryError, ValidationError):
        raise
    except Exception as error:  # whatever the store behind the URL raises
        raise ValidationError(f"reference table {reference.name}: {reference.url} cannot be read: {error}") from error
    if reference.mapping is not None:
        assert reference.columns is not None, "a mapping has columns"
        decoded = reference.mapping.decode(pa.array([data], pa.binary()), range(len(reference.columns)))
        if decoded.faults:
            first = decoded.faults[0].message
            log.warning("reference table %s: %d rows are left out: %s", reference.name, len(decoded.faults), first)
        return pa.Table.from_batches([decoded.rows])
    try:
        return _typed(_read(kind, data, reference))
    except (pa.ArrowException, ValueError) as error:
        raise ValidationError(
            f"reference table {reference.name}: {reference.url} does not read as {kind}: {error}"
        ) from error


def _contents(reference: Reference) -> bytes:
    """The bytes of the file, of which no more are read than there may be: a store may not say how many there are, or be
    wrong, and what is no file (a pipe, a device) may never end."""
    filesystem, path = fsspec.core.url_to_fs(reference.url)
    known = filesystem.info(path)
    if known["type"] != "file":
        raise ValueError(f"it is no file but of the kind {known['type']}")
    size = known.get("size") or 0
    data = b""
    if size <= SIZE_MAX:
        memory, _ = resource.getrlimit(resource.RLIMIT_DATA)
        if memory != resource.RLIM_INFINITY and size * MEMORY_FACTOR > memory:
            raise MemoryError  # now, in words: Arrow would end the process without any
        with filesystem.open(path, "rb") as file:
            data = _read_all(file)
    if max(size, len(data)) > SIZE_MAX:
        raise ValidationError(f"reference table {reference.name}: {reference.url} has more than {SIZE_MAX:,} bytes")
    return data


def _read_all(file: BinaryIO) -> bytes:
    """As much as there may be and one byte more. A file over HTTP gives less at a time than it is asked for."""
    parts, left = [], SIZE_MAX + 1
    while left and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _read(kind: str, data: bytes, reference: Reference) -> pa.Table:
    if kind == "csv":
        options = None
        if reference.columns is not None:
            types = {column.name: column.type for column in reference.columns}
            options = pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=True)
        return pyarrow.csv.read_csv(io.BytesIO(data), convert_options=options)
    if kind == "parquet":
        file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        size = sum(group.total_byte_size for group in groups)
        if size > SIZE_MAX:
            raise ValueError(f"it becomes {size:,} bytes, and a table has at most {SIZE_MAX:,}")
        return file.read()
    lines = pa.array([line for line in data.split(b"\n") if line.strip()], pa.binary())
    decoded = decode_json(lines, reference.columns if reference.columns is not None else infer_columns(lines))
    if decoded.faults:
        first = decoded.faults[0]
        raise ValueError(f"line {first.index + 1}: {first.message}")
    return pa.Table.from_batches([decoded.rows])


def _typed(table: pa.Table) -> pa.Table:
    """Every column in a type that SQL rows have."""
    columns = []
    for column in table.columns:
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if pa.types.is_timestamp(kind):
            column = column.cast(pa.timestamp("ms"), safe=False)
        elif pa.types.is_unsigned_integer(kind):
            column = column.cast(pa.int64())
        elif pa.types.is_date(kind):
            column = column.cast(pa.date32())
        elif pa.types.is_large_binary(kind):
            column = column.cast(pa.binary())
        try:
            sql_type(column.type)
        except ValidationError:
            column = column.cast(pa.string())
        columns.append(column)
    return pa.Table.from_arrays(columns, names=table.column_names)
